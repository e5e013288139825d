"""What runs on each host, and as whom."""

from __future__ import annotations

import os

import pytest
from support.mirror import Mirror, host_of
from support.topology import Topology
from testinfra.host import Host

CAP_NET_ADMIN, CAP_NET_RAW = 12, 13
LINK_PORT = 36524


def listening(host: Host, port: int) -> list[str]:
    """Local addresses that listen on a TCP port."""
    return [line.split()[3] for line in host.check_output("ss -Hltn sport = :%s", str(port)).splitlines()]


@pytest.mark.parametrize("kind", ["online", "target"])
def test_echo_service_listens(hosts: dict[str, Host], topology: Topology, kind: str) -> None:
    assert listening(hosts[kind], topology.service_port), f"nothing listens on {topology.service_port} at {kind}"


@pytest.mark.parametrize("kind", ["online", "target"])
def test_echo_service_is_enabled_and_unprivileged(hosts: dict[str, Host], kind: str) -> None:
    service = hosts[kind].service("echo_server")
    assert service.is_running and service.is_enabled
    pid = int(hosts[kind].check_output("systemctl show -P MainPID echo_server"))
    facts = process_facts(hosts[kind], pid)
    assert facts["Uid"].split()[0] != "0"
    assert int(facts["CapEff"], 16) == 0


@pytest.mark.parametrize("daemon", ["copy", "intercept"])
def test_daemon_is_running_and_enabled(hosts: dict[str, Host], daemon: str) -> None:
    service = hosts[host_of(daemon)].service(f"copytool@{daemon}")
    assert service.is_running
    assert service.is_enabled


def process_facts(host: Host, pid: int) -> dict[str, str]:
    """The fields of a process's status."""
    lines = host.check_output("cat /proc/%s/status", str(pid)).splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


@pytest.mark.parametrize("daemon", ["copy", "intercept"])
def test_daemon_has_just_its_two_capabilities(mirror: Mirror, hosts: dict[str, Host], daemon: str) -> None:
    facts = process_facts(hosts[host_of(daemon)], mirror.main_pid(daemon))
    wanted = 1 << CAP_NET_ADMIN | 1 << CAP_NET_RAW
    assert "0" not in facts["Uid"].split()
    assert "0" not in facts["Gid"].split()
    assert int(facts["CapEff"], 16) == wanted
    assert int(facts["CapPrm"], 16) == wanted
    assert int(facts["CapBnd"], 16) == wanted
    assert facts["NoNewPrivs"] == "1"
    assert facts["Seccomp"] == "2"


def test_both_daemons_are_of_the_flavour_that_is_tested(mirror: Mirror) -> None:
    flavours = {mirror.status(daemon)["flavour"] for daemon in ("copy", "intercept")}
    assert flavours == {os.environ.get("COPYTOOL_FLAVOUR", "compiled")}


@pytest.mark.parametrize("daemon", ["copy", "intercept"])
def test_link_is_established(mirror: Mirror, daemon: str) -> None:
    assert mirror.link_states()[daemon] == ["established"]


def test_intercept_knows_the_client_network_of_copy(mirror: Mirror, topology: Topology) -> None:
    (peer,) = mirror.status("intercept")["link"]
    assert peer["client_networks"] == [str(topology.client_network)]
    assert peer["peer"].rpartition(":")[0] == topology.addresses["online"]


@pytest.mark.parametrize("kind", ["online", "target", "assistant", "client"])
def test_link_port_is_open_on_the_assistant_only(hosts: dict[str, Host], topology: Topology, kind: str) -> None:
    expected = [f"{topology.addresses['assistant']}:{LINK_PORT}"] if kind == "assistant" else []
    assert listening(hosts[kind], LINK_PORT) == expected


@pytest.mark.parametrize("daemon", ["copy", "intercept"])
def test_configuration_is_readable_by_the_daemon_only(hosts: dict[str, Host], daemon: str) -> None:
    config = hosts[host_of(daemon)].file(f"/etc/copytool/{daemon}.toml")
    assert (config.user, config.group, oct(config.mode)) == ("root", "copytool", "0o640")


@pytest.mark.parametrize("path", ["/", "/etc", "/opt", "/usr/local/bin", "/run", "/var/lib", "/var/log"])
@pytest.mark.parametrize("kind", ["online", "target", "assistant"])
def test_roles_left_system_directories_alone(hosts: dict[str, Host], kind: str, path: str) -> None:
    directory = hosts[kind].file(path)
    assert (directory.user, oct(directory.mode)) == ("root", "0o755")
