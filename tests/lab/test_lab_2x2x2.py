"""Two online hosts, two assistants and two targets: the sessions stay exact, each on its own way."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

import pytest
from support.mirror import Mirror, Passage
from support.reach import connected
from support.sessions import multiset
from support.topology import REPOSITORY, read_topology

from .conftest import Lab, removed_afterwards

pytestmark = pytest.mark.lab

INVENTORY = REPOSITORY / "inventory" / "lab-2x2x2"
PARTS = {"online-1": "192.168.60.0/25", "online-2": "192.168.60.128/25"}
TARGETS = {1025: "target-1", 1026: "target-2"}
ASSISTANTS = ("assistant-1", "assistant-2")
SESSIONS = 500


@pytest.fixture(scope="module")
def scaled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The lab of inventory/lab-2x2x2, as site.yml makes it, under another name than people's own."""
    with removed_afterwards(Lab(tmp_path_factory.mktemp("lab-2x2x2"), INVENTORY)) as lab:
        result = lab.site("-e", "mirror_check_sessions=40")
        assert result.status == 0, result.output
        assert "All 40 sessions with" in result.output
        yield lab


@pytest.fixture(scope="module")
def mirror(scaled: Lab) -> Iterator[Mirror]:
    topology = read_topology(INVENTORY, scaled.user_dir / "ssh_config")
    with connected(topology) as hosts:
        yield Mirror(topology, hosts)


@pytest.fixture(scope="module")
def passage(mirror: Mirror) -> Passage:
    """500 sessions, spread over both online hosts and both services."""
    return mirror.pass_sessions(sessions=SESSIONS, concurrency=50, turns=20, max_bytes=8192)


def test_a_second_run_changes_nothing(scaled: Lab) -> None:
    result = scaled.site("-e", "mirror_check_sessions=40")
    assert (result.status, result.changed) == (0, 0), result.output


def test_the_targets_read_what_the_online_hosts_read_and_the_client_sent(passage: Passage) -> None:
    assert passage.driven.errors == []
    assert passage.driven.sent.total() == SESSIONS
    assert passage.at_online == passage.driven.sent
    assert passage.at_target == passage.driven.sent


def test_each_session_takes_the_way_that_is_meant_for_it(passage: Passage) -> None:
    """What a service on an online host read is what its target read from that host's part of the client network."""
    for online, part in PARTS.items():
        network = ipaddress.IPv4Network(part)
        for port, target in TARGETS.items():
            read = [entry for entry in passage.online_entries[online] if entry["local_port"] == port]
            arrived = [
                entry
                for entry in passage.target_entries[target]
                if entry["local_port"] == port and ipaddress.IPv4Address(entry["peer"]) in network
            ]
            assert len(read) == SESSIONS // (len(PARTS) * len(TARGETS))
            assert multiset(arrived) == multiset(read), f"{online} to {target}"
    assert sum(len(entries) for entries in passage.target_entries.values()) == SESSIONS


def test_each_assistant_gets_the_answers_to_its_own_copy_only(passage: Passage) -> None:
    for assistant in ASSISTANTS:
        responses = passage.responses[assistant]
        assert responses["packets"] >= SESSIONS // len(ASSISTANTS)
        assert responses["no_owner"] == 0


def test_the_counters_of_each_copy_add_up(mirror: Mirror, passage: Passage) -> None:
    assert passage.seen == dict.fromkeys(PARTS, SESSIONS // len(PARTS))
    assert {word: count for word, count in passage.outcomes.items() if count} == {"mirrored": SESSIONS}
    for online, status in mirror.statuses("copy").items():
        assert status["sessions"]["seen"] == sum(status["sessions"]["outcomes"].values()), online
        assert status["imbalance"] == [], online
        assert status["capture"]["drops"] == 0, online
