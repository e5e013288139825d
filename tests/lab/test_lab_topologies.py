"""Each topology of docs/topologies.md, as site.yml makes it: sessions stay exact, a fault is named, all can be undone.

A further topology is one more inventory in TOPOLOGIES.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.topology import REPOSITORY, Topology, read_topology

from .conftest import Lab, removed_afterwards
from .states import assert_unchanged, states

pytestmark = pytest.mark.lab

TOPOLOGIES = ["lab-two-hosts", "lab-one-host", "lab-forward", "lab-feed"]
SESSIONS = "mirror_check_sessions=500"


class Made(NamedTuple):
    """A lab that site.yml has set up, what its inventory says, and what its hosts were like before."""

    lab: Lab
    topology: Topology
    before: dict[str, Any]


@pytest.fixture(scope="module", params=TOPOLOGIES)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """The lab of an inventory, under another name than people's own."""
    inventory: Path = REPOSITORY / "inventory" / request.param
    with removed_afterwards(Lab(tmp_path_factory.mktemp(request.param), inventory)) as lab:
        lab.make()
        topology = read_topology(inventory, lab.user_dir / "ssh_config")
        before = states(lab, topology.addresses)
        result = lab.site("-e", SESSIONS)
        assert result.status == 0, result.output
        assert "All 500 sessions with" in result.output
        assert "reached the target byte for byte" in result.output
        yield Made(lab, topology, before)


def test_a_second_run_changes_nothing_and_is_exact_again(made: Made) -> None:
    result = made.lab.site("-e", SESSIONS)
    assert (result.status, result.changed) == (0, 0), result.output
    assert "All 500 sessions with" in result.output


def test_a_route_that_is_missing_is_named(made: Made) -> None:
    """By name, and by no other; when it is back all is well, and sessions arrive as before."""
    (target, *_) = made.topology.names["target"]
    assert made.lab.play("playbooks/check.yml").status == 0
    for network in made.topology.client_networks.values():
        made.lab.ssh(target, f"ip route delete {network}")
    result = made.lab.play("playbooks/check.yml")
    assert result.status != 0
    assert f'FAILED at "{target}: route ' in result.output, result.output
    assert made.lab.play("playbooks/routes.yml").status == 0
    assert made.lab.play("playbooks/check.yml").status == 0
    result = made.lab.play("playbooks/verify.yml")
    assert result.status == 0, result.output


def test_no_test_session_arrives_that_the_target_did_not_read(made: Made) -> None:
    """The check of test sessions is not content with what it has not seen: a target that is shut off is found."""
    (target, *_) = made.topology.names["target"]
    port = made.topology.target_ports[0]
    network = next(iter(made.topology.client_networks.values()))
    rule = f"ip saddr {network} tcp dport {port} drop"
    made.lab.ssh(target, f"nft 'table inet broken {{ chain c {{ type filter hook input priority 0; {rule}; }}; }}'")
    try:
        result = made.lab.play("playbooks/verify.yml", "-e", "mirror_check_sessions=20")
    finally:
        made.lab.ssh(target, "nft delete table inet broken")
    assert result.status != 0
    assert 'FAILED at "intercept: answers captured"' in result.output, result.output
    assert made.lab.play("playbooks/verify.yml").status == 0


def test_all_can_be_undone(made: Made) -> None:
    """The last of this lab: routes, rules and daemons go, and the hosts are as they were."""
    result = made.lab.play("playbooks/remove.yml")
    assert result.status == 0, result.output
    assert_unchanged(made.lab, made.before)
    again = made.lab.play("playbooks/remove.yml")
    assert (again.status, again.changed) == (0, 0), again.output
