"""The point of it all: what online read, the target reads too."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

import pytest
from support.mirror import Mirror, Passage
from support.sessions import Multiset, multiset
from support.topology import Topology

SAMPLED = {"sessions": 2000, "concurrency": 50, "turns": 2, "max_bytes": 200, "source_port_base": 4000}


@pytest.fixture(scope="module")
def cached() -> dict[str, Passage]:
    """Runs that several tests look at."""
    return {}


@pytest.fixture
def passage(mirror: Mirror, cached: dict[str, Passage]) -> Passage:
    """500 sessions of up to 20 turns of random size, 50 at a time."""
    if "500" not in cached:
        cached["500"] = mirror.pass_sessions(sessions=500, concurrency=50, turns=20, max_bytes=8192)
    return cached["500"]


def test_hop_client_saw_every_byte_echoed(passage: Passage) -> None:
    assert passage.driven.errors == []
    assert passage.driven.sent.total() == 500


def test_hop_online_service_read_what_the_client_sent(passage: Passage) -> None:
    assert passage.at_online == passage.driven.sent


def test_hop_copy_saw_every_session(passage: Passage) -> None:
    assert sum(passage.seen.values()) == 500
    assert passage.seen == {name: len(entries) for name, entries in passage.online_entries.items()}


def test_hop_copy_mirrored_every_session(passage: Passage) -> None:
    assert {word: count for word, count in passage.outcomes.items() if count} == {"mirrored": 500}


def test_hop_assistant_got_answers_to_its_own_copies_only(passage: Passage) -> None:
    for name, responses in passage.responses.items():
        assert responses["packets"] > 0, name
        assert responses["no_owner"] == 0, name


def test_hop_target_service_read_what_online_read(passage: Passage) -> None:
    missing, extra = passage.at_online - passage.at_target, passage.at_target - passage.at_online
    assert (missing.total(), extra.total()) == (0, 0), f"missing {missing.most_common(3)}, extra {extra.most_common(3)}"


def test_each_part_of_the_client_network_has_the_sessions_of_its_online_host(
    passage: Passage, topology: Topology
) -> None:
    arrived = [entry for entries in passage.target_entries.values() for entry in entries]
    assert len(arrived) == 500
    for name, network in topology.client_networks.items():
        of_network = [entry for entry in arrived if ipaddress.IPv4Address(entry["peer"]) in network]
        assert multiset(of_network) == multiset(passage.online_entries[name]), name


def test_target_saw_sessions_end_as_online_did(passage: Passage) -> None:
    assert {entry["end"] for entries in passage.target_entries.values() for entry in entries} == {"eof"}


def test_counters_add_up(mirror: Mirror, passage: Passage) -> None:
    for name, status in mirror.statuses("copy").items():
        assert status["sessions"]["seen"] == sum(status["sessions"]["outcomes"].values()), name
        assert status["imbalance"] == [], name
        assert status["capture"]["drops"] == 0, name
    assert sum(passage.seen.values()) == sum(passage.outcomes.values())


def test_large_turns_arrive(mirror: Mirror) -> None:
    """Turns larger than any window, so that both ends have to wait for each other."""
    passage = mirror.pass_sessions(sessions=20, concurrency=10, turns=3, max_bytes=1_000_000)
    assert passage.driven.errors == []
    assert passage.at_target == passage.driven.sent


def test_ratio_mirrors_a_share_and_always_the_same(mirror: Mirror, copy_with: Callable[[str], None]) -> None:
    copy_with("-r 20")
    first = mirror.pass_sessions(seed="replay", **SAMPLED)
    assert first.driven.errors == []
    assert 300 <= first.at_target.total() <= 500
    assert first.outcomes["sampled_out"] == 2000 - first.at_target.total()
    assert first.at_target <= first.driven.sent
    again = mirror.pass_sessions(seed="replay", **SAMPLED)
    assert again.driven.errors == []
    assert again.at_target == first.at_target


def test_copies_mirror_each_session_that_often(mirror: Mirror, copy_with: Callable[[str], None]) -> None:
    copy_with("-n 2")
    passage = mirror.pass_sessions(copies=2, sessions=100, concurrency=20, turns=5)
    assert passage.driven.errors == []
    twice = Multiset({session: 2 * count for session, count in passage.driven.sent.items()})
    assert passage.at_target == twice
