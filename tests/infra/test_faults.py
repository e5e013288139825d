"""Daemons are killed, hosts reboot: clients notice nothing, and mirroring comes back by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from support.mirror import Mirror, host_of
from support.reach import output_if_up
from support.sessions import Driving
from support.topology import Topology
from support.waiting import Unmet, wait_until
from testinfra.host import Host

from .test_routes import routes_to_client_network

RECOVERY_S = 10
UNITS = {
    "target": "mirror-route echo_server",
    "assistant": "copytool@intercept",
    "online": "copytool@copy echo_server",
}


def open_sessions(host: Host, port: int) -> set[str]:
    """The peers of a service's open connections."""
    lines = host.check_output(f"ss -Htn state established sport = :{port}").splitlines()
    return {line.split()[-1] for line in lines}


@pytest.fixture
def load(mirror: Mirror, online: Host, topology: Topology) -> Iterator[Callable[..., Driving]]:
    """Starts sessions that last some seconds and waits until many are open."""
    started: list[Driving] = []

    def start(**options: object) -> Driving:
        driving = mirror.drive(**{"sessions": 200, "concurrency": 50, "turns": 20, "turn_pause": 0.1, **options})
        started.append(driving)

        def busy() -> object:
            count = len(open_sessions(online, topology.service_port))
            return count >= 20 or Unmet(f"{count} open sessions")

        wait_until(busy, 20, "the client has sessions open at online")
        return driving

    yield start
    for driving in started:
        if driving.running():
            driving.abandon()


@pytest.mark.parametrize("daemon", ["copy", "intercept"])
def test_killed_daemon_harms_no_client_and_comes_back(
    mirror: Mirror, hosts: dict[str, Host], load: Callable[..., Driving], daemon: str
) -> None:
    driving = load()
    old_pid = mirror.main_pid(daemon)
    hosts[host_of(daemon)].check_output("kill -9 %s", str(old_pid))
    mirror.wait_for_new_process(daemon, old_pid, RECOVERY_S)
    mirror.wait_for_link(RECOVERY_S)
    assert driving.running(), "the load ended before the daemon was back: nothing was proved"
    assert driving.result().errors == []
    wait_until_idle(mirror)
    passage = mirror.pass_sessions(sessions=100)
    assert passage.driven.errors == []
    assert passage.at_target & passage.driven.sent == passage.driven.sent


def wait_until_idle(mirror: Mirror) -> None:
    """Wait until copy has no session left."""

    def idle() -> object:
        outcomes = mirror.status("copy").get("sessions", {}).get("outcomes", {"active": "no answer"})
        return outcomes["active"] == 0 or Unmet(outcomes)

    wait_until(idle, 60, "copy is done with all sessions")


def test_stopped_copy_closes_its_sessions_on_the_target(
    mirror: Mirror, online: Host, target: Host, topology: Topology, load: Callable[..., Driving]
) -> None:
    # A copy that was killed could not close its sessions: the target may still hold such ones.
    before = open_sessions(target, topology.service_port)
    driving = load(sessions=30, concurrency=30, turns=2, hold=8)

    def mirrored() -> set[str] | Unmet:
        new = open_sessions(target, topology.service_port) - before
        return new if len(new) == 30 else Unmet(f"{len(new)} open mirrored sessions")

    def gone() -> object:
        left = open_sessions(target, topology.service_port) & new
        return not left or Unmet(f"{len(left)} left")

    new = wait_until(mirrored, 10, "30 mirrored sessions are open on the target")
    try:
        online.check_output("systemctl stop copytool@copy")
        wait_until(gone, 5, "the target has no mirrored session left")
        assert online.check_output("systemctl show -P Result copytool@copy") == "success"
        assert driving.running(), "the clients were done before copy was stopped: nothing was proved"
    finally:
        online.check_output("systemctl start copytool@copy")
    assert driving.result().errors == []
    mirror.wait_for_link()


def test_clients_notice_nothing_while_the_target_is_down(mirror: Mirror, target: Host) -> None:
    target.check_output("systemctl stop echo_server")
    try:
        driven = mirror.drive(sessions=100).result()
    finally:
        target.check_output("systemctl start echo_server")
    assert driven.errors == []
    wait_until_idle(mirror)
    passage = mirror.pass_sessions(sessions=50)
    assert passage.at_target == passage.driven.sent


@pytest.mark.parametrize("kind", ["target", "assistant", "online"])
def test_sessions_arrive_after_a_reboot(mirror: Mirror, hosts: dict[str, Host], topology: Topology, kind: str) -> None:
    boot = "systemctl show -P UserspaceTimestampMonotonic"
    units = UNITS[kind]
    old = hosts[kind].check_output(boot)
    output_if_up(hosts[kind], "systemctl reboot")

    def rebooted() -> object:
        now = output_if_up(hosts[kind], f"{boot} && systemctl is-active {units}")
        return (now and not now.startswith(old)) or Unmet(now)

    wait_until(rebooted, 60, f"{kind} is up again with {units}")
    assert len(routes_to_client_network(hosts["target"], topology)) == 1
    mirror.wait_for_link()
    passage = mirror.pass_sessions(sessions=50)
    assert passage.driven.errors == []
    assert passage.at_target == passage.driven.sent
