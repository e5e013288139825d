"""The lab's hosts over ssh. With LAB_REQUIRED=1 a lab that is not up is a failure, not a skip.

A test that takes `online`, `target`, `assistant` or `client` runs for each host of that kind.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from support.mirror import Mirror
from support.reach import connected, unreachable
from support.topology import KINDS, Topology, read_topology
from testinfra.host import Host

DROP_IN = "/run/systemd/system/copytool@copy.service.d/tests.conf"
EXEC_START = "/opt/copytool/bin/copytool copy --config /etc/copytool/copy.toml"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs the lab; reboots come last."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("lab")
    items.sort(key=lambda item: "reboot" in item.name)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes a host of a kind for each of the kind."""
    for kind in KINDS:
        if kind in metafunc.fixturenames:
            metafunc.parametrize(kind, read_inventory().names[kind], indirect=True, scope="session")


@cache
def read_inventory() -> Topology:
    """The hosts that COPYTOOL_INVENTORY names, read once."""
    return read_topology()


@pytest.fixture(scope="session")
def topology() -> Topology:
    return read_inventory()


@pytest.fixture(scope="session")
def hosts(topology: Topology) -> Iterator[dict[str, Host]]:
    give_up: Callable[[str], object] = pytest.fail if os.environ.get("LAB_REQUIRED") == "1" else pytest.skip
    if not topology.ssh_config.is_file():
        give_up(f"the lab is not up: no {topology.ssh_config}; run: make lab")
    with connected(topology) as found:
        for name, host in found.items():
            if problem := unreachable(host):
                give_up(f"the lab is not up: {name} does not answer over ssh ({problem}); run: make lab")
        yield found


@pytest.fixture(scope="session")
def online(request: pytest.FixtureRequest, hosts: dict[str, Host]) -> Host:
    return hosts[request.param]


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest, hosts: dict[str, Host]) -> Host:
    return hosts[request.param]


@pytest.fixture(scope="session")
def assistant(request: pytest.FixtureRequest, hosts: dict[str, Host]) -> Host:
    return hosts[request.param]


@pytest.fixture(scope="session")
def client(request: pytest.FixtureRequest, hosts: dict[str, Host]) -> Host:
    return hosts[request.param]


@pytest.fixture
def mirror(topology: Topology, hosts: dict[str, Host]) -> Mirror:
    """The mirror, with its link up."""
    mirror = Mirror(topology, hosts)
    mirror.wait_for_link()
    return mirror


@pytest.fixture
def copy_with(mirror: Mirror) -> Iterator[Callable[[str], None]]:
    """Restarts copy on each online host with more flags; afterwards it is as it was."""
    online_hosts = mirror.of_kind("online").values()

    def restart() -> None:
        for online in online_hosts:
            online.check_output("systemctl daemon-reload && systemctl restart copytool@copy")
        mirror.wait_for_link()

    def start_with(flags: str) -> None:
        lines = ["[Service]", "ExecStart=", f"ExecStart={EXEC_START} {flags}", ""]
        for online in online_hosts:
            online.check_output("mkdir -p $(dirname %s) && printf '%%s' %s > %s", DROP_IN, "\n".join(lines), DROP_IN)
        restart()

    yield start_with
    for online in online_hosts:
        online.check_output("rm -rf $(dirname %s)", DROP_IN)
    restart()
