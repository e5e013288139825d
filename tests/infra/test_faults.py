"""Daemons are killed, hosts reboot: clients notice nothing, and mirroring comes back by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from support.mirror import KIND_OF, Mirror
from support.reach import output_if_up
from support.sessions import Driving
from support.topology import Topology
from support.waiting import Unmet, wait_until

from .test_routes import routes_to_client_networks, routes_via_assistants

RECOVERY_S = 10
REFUSE = "table inet down { chain c { type filter hook input priority 0; tcp dport %d reject with tcp reset; }; }"
UNITS = {
    "target": "mirror-route echo_server",
    "assistant": "copytool@intercept",
    "online": "copytool@copy echo_server",
}


def open_sessions(mirror: Mirror, kind: str) -> set[tuple[str, ...]]:
    """Host, local and peer address of all services' open connections on hosts of a kind."""
    own = {"online": mirror.topology.service_ports, "target": mirror.topology.target_ports}[kind]
    ports = " or ".join(f"sport = :{port}" for port in own)
    return {
        (name, *line.split()[-2:])
        for name, host in mirror.of_kind(kind).items()
        for line in host.check_output("ss -Htn state established %s", f"( {ports} )").splitlines()
    }


@pytest.fixture
def load(mirror: Mirror) -> Iterator[Callable[..., Driving]]:
    """Starts sessions that last some seconds and waits until many are open."""
    started: list[Driving] = []

    def start(**options: object) -> Driving:
        driving = mirror.drive(**{"sessions": 200, "concurrency": 50, "turns": 20, "turn_pause": 0.1, **options})
        started.append(driving)

        def busy() -> object:
            count = len(open_sessions(mirror, "online"))
            return count >= 20 or Unmet(f"{count} open sessions")

        wait_until(busy, 20, "the client has sessions open at online")
        return driving

    yield start
    for driving in started:
        if driving.running():
            driving.abandon()


@pytest.mark.parametrize("daemon", ["copy", "intercept"])
def test_killed_daemon_harms_no_client_and_comes_back(
    mirror: Mirror, load: Callable[..., Driving], daemon: str
) -> None:
    """One is killed; where there are others they go on."""
    driving = load()
    name, host = next(iter(mirror.of_kind(KIND_OF[daemon]).items()))
    old_pid = mirror.main_pids(daemon)[name]
    host.check_output("kill -9 %s", str(old_pid))
    mirror.wait_for_new_process(daemon, name, old_pid, RECOVERY_S)
    mirror.wait_for_link(RECOVERY_S)
    assert driving.running(), "the load ended before the daemon was back: nothing was proved"
    assert driving.result().errors == []
    wait_until_idle(mirror)
    passage = mirror.pass_sessions(sessions=100)
    assert passage.driven.errors == []
    assert passage.at_target & passage.driven.sent == passage.driven.sent


def wait_until_idle(mirror: Mirror) -> None:
    """Wait until no copy has a session left."""
    mirror.settle(0)


def test_stopped_copy_closes_its_sessions_on_the_target(mirror: Mirror, load: Callable[..., Driving]) -> None:
    # A copy that was killed could not close its sessions: the target may still hold such ones.
    before = open_sessions(mirror, "target")
    online_hosts = mirror.of_kind("online").values()
    driving = load(sessions=30, concurrency=30, turns=2, hold=8)

    def mirrored() -> set[tuple[str, ...]] | Unmet:
        new = open_sessions(mirror, "target") - before
        return new if len(new) == 30 else Unmet(f"{len(new)} open mirrored sessions")

    def gone() -> object:
        left = open_sessions(mirror, "target") & new
        return not left or Unmet(f"{len(left)} left")

    new = wait_until(mirrored, 10, "30 mirrored sessions are open on the target")
    try:
        for online in online_hosts:
            online.check_output("systemctl stop copytool@copy")
        wait_until(gone, 5, "the target has no mirrored session left")
        for online in online_hosts:
            assert online.check_output("systemctl show -P Result copytool@copy") == "success"
        assert driving.running(), "the clients were done before copy was stopped: nothing was proved"
    finally:
        for online in online_hosts:
            online.check_output("systemctl start copytool@copy")
    assert driving.result().errors == []
    mirror.wait_for_link()


def test_clients_notice_nothing_while_the_target_is_down(mirror: Mirror, topology: Topology) -> None:
    down, up = "systemctl stop echo_server", "systemctl start echo_server"
    if set(topology.names["target"]) & set(topology.names["online"]):  # then both services are one process
        down, up = f"nft '{REFUSE % topology.target_ports[0]}'", "nft delete table inet down"
    targets = mirror.of_kind("target").values()
    for target in targets:
        target.check_output(down)
    try:
        driven = mirror.drive(sessions=100).result()
    finally:
        for target in targets:
            target.check_output(up)
    assert driven.errors == []
    wait_until_idle(mirror)
    passage = mirror.pass_sessions(sessions=50)
    assert passage.at_target == passage.driven.sent


@pytest.mark.parametrize("kind", ["target", "assistant", "online"])
def test_sessions_arrive_after_a_reboot(mirror: Mirror, topology: Topology, kind: str) -> None:
    boot = "systemctl show -P UserspaceTimestampMonotonic"
    units = UNITS[kind]
    name, host = next(iter(mirror.of_kind(kind).items()))
    old = host.check_output(boot)
    output_if_up(host, "systemctl reboot")

    def rebooted() -> object:
        now = output_if_up(host, f"{boot} && systemctl is-active {units}")
        return (now and not now.startswith(old)) or Unmet(now)

    wait_until(rebooted, 60, f"{name} is up again with {units}")
    for target in mirror.of_kind("target").values():
        assert routes_to_client_networks(target, topology) == routes_via_assistants(target, topology)
    mirror.wait_for_link()
    passage = mirror.pass_sessions(sessions=50)
    assert passage.driven.errors == []
    assert passage.at_target == passage.driven.sent
