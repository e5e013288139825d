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


def test_a_roll_out_ends_at_the_first_host_that_is_not_well(scaled: Lab, mirror: Mirror) -> None:
    """With copytool_serial=1 an intercept that nobody has reaches the first online host's configuration only."""
    nobody = '{"copytool_copy_intercept": ["192.168.50.99"], "copytool_serial": 1, "copytool_health_time_s": 2}'
    result = scaled.play("playbooks/copy.yml", "-e", nobody)
    assert result.status != 0
    assert "on online-1 is not well" in " ".join(result.output.split())
    assert scaled.ssh("online-1", "grep -c 192.168.50.99 /etc/copytool/copy.toml").strip() == "1"
    assert "192.168.50.99" not in scaled.ssh("online-2", "cat /etc/copytool/copy.toml")
    result = scaled.play("playbooks/copy.yml", "--limit", "online-1")
    assert result.status == 0, result.output
    mirror.wait_for_link()


def test_one_online_host_by_itself(scaled: Lab) -> None:
    """--limit: what needs the others is left out, and said."""
    for playbook, said in (
        ("playbooks/preflight.yml", "--limit leaves out"),
        ("playbooks/verify.yml", "only the links of the others were judged"),
    ):
        result = scaled.play(playbook, "--limit", "online-1")
        assert result.status == 0, result.output
        assert said in " ".join(result.output.split())
