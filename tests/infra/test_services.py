"""What runs on each host, and as whom."""

from __future__ import annotations

import os

import pytest
from support.mirror import KIND_OF, Mirror
from support.topology import Topology
from testinfra.host import Host

LINK_PORT = 36524


def listening(host: Host, port: int) -> list[str]:
    """Local addresses that listen on a TCP port."""
    return [line.split()[3] for line in host.check_output("ss -Hltn sport = :%s", str(port)).splitlines()]


def test_echo_service_listens(hosts: dict[str, Host], topology: Topology) -> None:
    for name, ports in topology.services.items():
        for port in ports:
            assert listening(hosts[name], port), f"nothing listens on {port} at {name}"


def test_echo_service_is_enabled_and_unprivileged(hosts: dict[str, Host], topology: Topology) -> None:
    for name in topology.services:
        service = hosts[name].service("echo_server")
        assert service.is_running and service.is_enabled
        pid = int(hosts[name].check_output("systemctl show -P MainPID echo_server"))
        facts = process_facts(hosts[name], pid)
        assert facts["Uid"].split()[0] != "0"
        assert int(facts["CapEff"], 16) == 0


@pytest.mark.parametrize("daemon", ["copy", "intercept"])
def test_daemon_is_running_and_enabled(mirror: Mirror, daemon: str) -> None:
    for host in mirror.of_kind(KIND_OF[daemon]).values():
        service = host.service(f"copytool@{daemon}")
        assert service.is_running
        assert service.is_enabled


def process_facts(host: Host, pid: int) -> dict[str, str]:
    """The fields of a process's status."""
    lines = host.check_output("cat /proc/%s/status", str(pid)).splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def test_links_are_established(mirror: Mirror, topology: Topology) -> None:
    daemons = [(daemon, name) for daemon, kind in KIND_OF.items() for name in topology.names[kind]]
    assert mirror.link_states() == {daemon: ["established"] for daemon in daemons}


def test_intercept_knows_the_client_networks_of_its_copies(mirror: Mirror, topology: Topology) -> None:
    known = {
        name: {(peer["peer"].rpartition(":")[0], *peer["client_networks"]) for peer in status["link"]}
        for name, status in mirror.statuses("intercept").items()
    }
    assert known == {
        name: {
            (_address_towards(topology, online, assistant), str(topology.client_networks[online]))
            for online, assistant in topology.assistants.items()
            if assistant == name
        }
        for name in topology.names["assistant"]
    }


def _address_towards(topology: Topology, online: str, assistant: str) -> str:
    """The address that a copy's connection to an intercept comes from."""
    return topology.link_addresses[assistant] if online == assistant else topology.addresses[online]


def test_link_port_is_open_on_the_assistants_only(hosts: dict[str, Host], topology: Topology) -> None:
    for name, host in hosts.items():
        own = [f"{topology.link_addresses[name]}:{LINK_PORT}"] if name in topology.names["assistant"] else []
        assert listening(host, LINK_PORT) == own, name


def test_both_daemons_are_of_the_flavour_that_is_tested(mirror: Mirror) -> None:
    flavours = {status["flavour"] for daemon in ("copy", "intercept") for status in mirror.statuses(daemon).values()}
    assert flavours == {os.environ.get("COPYTOOL_FLAVOUR", "compiled")}


@pytest.mark.parametrize("daemon", ["copy", "intercept"])
def test_configuration_is_readable_by_the_daemon_only(mirror: Mirror, daemon: str) -> None:
    for host in mirror.of_kind(KIND_OF[daemon]).values():
        config = host.file(f"/etc/copytool/{daemon}.toml")
        assert (config.user, config.group, oct(config.mode)) == ("root", "copytool", "0o640")


@pytest.mark.parametrize("path", ["/", "/etc", "/opt", "/usr/local/bin", "/run", "/var/lib", "/var/log"])
@pytest.mark.parametrize("kind", ["online", "target", "assistant"])
def test_roles_left_system_directories_alone(hosts: dict[str, Host], topology: Topology, kind: str, path: str) -> None:
    for name in topology.names[kind]:
        directory = hosts[name].file(path)
        assert (directory.user, oct(directory.mode)) == ("root", "0o755"), name
