"""The lab's hosts over ssh. With LAB_REQUIRED=1 a lab that is not up is a failure, not a skip."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import testinfra
from support.mirror import Mirror
from support.reach import unreachable
from support.topology import Topology, read_topology
from testinfra.host import Host

DROP_IN = "/run/systemd/system/copytool@copy.service.d/tests.conf"
EXEC_START = "/opt/copytool/bin/copytool copy --config /etc/copytool/copy.toml"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs the lab; reboots come last."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("lab")
    items.sort(key=lambda item: "reboot" in item.name)


@pytest.fixture(scope="session")
def topology() -> Topology:
    return read_topology()


@pytest.fixture(scope="session")
def connections(topology: Topology) -> Iterator[str]:
    """Where ssh keeps the connections that all tests share; ended afterwards, so that hosts can be removed."""
    with tempfile.TemporaryDirectory(prefix="ct-ssh-") as directory:
        yield directory
        for name in topology.names.values():
            socket = f"ControlPath={directory}/{name}"
            command = ["ssh", "-F", str(topology.ssh_config), "-o", socket, "-O", "exit", name]
            subprocess.run(command, stderr=subprocess.DEVNULL, check=False)


@pytest.fixture(scope="session")
def hosts(topology: Topology, connections: str) -> dict[str, Host]:
    give_up: Callable[[str], object] = pytest.fail if os.environ.get("LAB_REQUIRED") == "1" else pytest.skip
    if not topology.ssh_config.is_file():
        give_up(f"the lab is not up: no {topology.ssh_config}; run: make lab")
    found = {
        kind: testinfra.get_host(
            f"ssh://{name}", ssh_config=str(topology.ssh_config), controlpath=f"{connections}/{name}"
        )
        for kind, name in topology.names.items()
    }
    for kind, host in found.items():
        if problem := unreachable(host):
            give_up(f"the lab is not up: {kind} does not answer over ssh ({problem}); run: make lab")
    return found


@pytest.fixture(scope="session")
def online(hosts: dict[str, Host]) -> Host:
    return hosts["online"]


@pytest.fixture(scope="session")
def target(hosts: dict[str, Host]) -> Host:
    return hosts["target"]


@pytest.fixture(scope="session")
def assistant(hosts: dict[str, Host]) -> Host:
    return hosts["assistant"]


@pytest.fixture(scope="session")
def client(hosts: dict[str, Host]) -> Host:
    return hosts["client"]


@pytest.fixture
def mirror(topology: Topology, hosts: dict[str, Host]) -> Mirror:
    """The mirror, with its link up."""
    mirror = Mirror(topology, hosts)
    mirror.wait_for_link()
    return mirror


@pytest.fixture
def copy_with(mirror: Mirror, online: Host) -> Iterator[Callable[[str], None]]:
    """Restarts copy with more flags; afterwards it is as it was."""

    def restart() -> None:
        online.check_output("systemctl daemon-reload && systemctl restart copytool@copy")
        mirror.wait_for_link()

    def start_with(flags: str) -> None:
        lines = ["[Service]", "ExecStart=", f"ExecStart={EXEC_START} {flags}", ""]
        online.check_output("mkdir -p $(dirname %s) && printf '%%s' %s > %s", DROP_IN, "\n".join(lines), DROP_IN)
        restart()

    yield start_with
    online.check_output("rm -rf $(dirname %s)", DROP_IN)
    restart()
