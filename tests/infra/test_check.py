"""The self-test over all hosts: content with the lab as it is, and names what is broken."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support.mirror import KIND_OF, Mirror
from support.playbooks import play
from support.topology import Topology
from testinfra.host import Host

from .test_fab import fab

FIREWALL = "table inet broken { chain c { type filter hook input priority 0; ip saddr %s drop; }; }"


@contextmanager
def broken(host: Host, command: str, repair: str) -> Iterator[None]:
    """Break something on a host, and repair it whatever happens."""
    host.check_output(command)
    try:
        yield
    finally:
        host.check_output(repair)


def first(mirror: Mirror, kind: str) -> tuple[str, Host]:
    """The first host of a kind."""
    return next(iter(mirror.of_kind(kind).items()))


def failure() -> str:
    """The headline of `fab check`, which must fail, with cause and fix below it."""
    result = fab("check")
    assert result.returncode == 1, result.stdout + result.stderr
    lines = result.stdout.splitlines()
    failed = [number for number, line in enumerate(lines) if line.startswith("  FAILED")]
    assert failed
    for number in failed:
        assert lines[number + 1].startswith("             cause: ")
        assert lines[number + 2].startswith("             fix:   ")
    return lines[0]


def test_nothing_is_wrong(mirror: Mirror, topology: Topology) -> None:
    """The probe of each online host comes back from each target, and nothing stays there."""
    result = fab("check")
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.startswith("A SYN from the client network is answered through the assistant")
    assert "FAILED" not in result.stdout
    answered = [line for line in result.stdout.splitlines() if " probe " in line and "answered after" in line]
    assert len(answered) >= len(topology.names["online"])
    for target in mirror.of_kind("target").values():
        for port in topology.target_ports:
            left = target.check_output("ss -Htan state all exclude listening 'sport = :%s'", str(port))
            assert not any(str(net)[:-4] in left for net in topology.client_networks.values())
        assert target.check_output("find /tmp /root -maxdepth 2 -name '*.copytool-check'") == ""


def test_before_mirroring(mirror: Mirror) -> None:
    """copy need not run: the check connects and probes by itself."""
    online = mirror.of_kind("online").values()
    for host in online:
        host.check_output("systemctl stop copytool@copy")
    try:
        result = fab("check")
    finally:
        for host in online:
            host.check_output("systemctl start copytool@copy")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "copy does not run" in result.stdout
    assert "answered after" in result.stdout
    mirror.wait_for_link()


def test_route_is_missing(mirror: Mirror) -> None:
    name, target = first(mirror, "target")
    with broken(target, "systemctl stop mirror-route", "systemctl start mirror-route"):
        said = failure()
    assert said.startswith(f'FAILED at "{name}: route ')
    assert "no route" in said


def test_intercept_does_not_run(mirror: Mirror) -> None:
    name, assistant = first(mirror, "assistant")
    with broken(assistant, "systemctl stop copytool@intercept", "systemctl start copytool@intercept"):
        said = failure()
    assert said.startswith(f'FAILED at "{name}: daemon"')
    mirror.wait_for_link()


def test_assistant_forwards(mirror: Mirror, topology: Topology) -> None:
    name, assistant = first(mirror, "assistant")
    with broken(assistant, "sysctl -w net.ipv4.ip_forward=1", "sysctl -w net.ipv4.ip_forward=0"):
        if topology.ends_at(name):
            result = fab("check")
            assert result.returncode == 0, "it does not matter where answers end on the loopback"
            return
        said = failure()
    assert said.startswith(f'FAILED at "{name}: forwarding IPv4"')
    mirror.wait_for_link()


def test_firewall_on_the_target(mirror: Mirror, topology: Topology) -> None:
    name, target = first(mirror, "target")
    network = str(next(iter(topology.client_networks.values())))
    with broken(target, f"nft '{FIREWALL % network}'", "nft delete table inet broken"):
        said = failure()
    assert said.startswith(f'FAILED at "{name}: firewall"')
    assert "nft rule inet broken c handle" in said


@pytest.mark.parametrize("daemon", ["copy", "intercept"])
def test_each_host_by_itself(mirror: Mirror, topology: Topology, daemon: str) -> None:
    """`copytool check` without a word takes the configuration of the daemons that are set up there."""
    for name, host in mirror.of_kind(KIND_OF[daemon]).items():
        done = host.run("copytool check --json --wait 0.5")
        assert done.rc == 0, done.stdout
        document = json.loads(done.stdout)
        roles = {own for own, kind in KIND_OF.items() if name in topology.names[kind]}
        assert {check["role"] for check in document["checks"]} == roles
        assert document["failed"] == 0


def test_playbook_changes_nothing() -> None:
    """Not even in what Ansible counts; --check only skips it."""
    for words in ((), ("--check",)):
        recap = play("playbooks/check.yml", *words).rpartition("PLAY RECAP")[2]
        assert "changed=0" in recap
        assert "changed=1" not in recap
