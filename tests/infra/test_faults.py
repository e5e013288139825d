"""Daemons are killed, hosts reboot: clients notice nothing, and mirroring comes back by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from support.mirror import Mirror, host_of
from support.sessions import Driving
from support.topology import Topology
from support.waiting import Unmet, wait_until
from testinfra.host import Host

from .test_routes import routes_to_client_network

RECOVERY_S = 10


def established_sessions(host: Host, port: int, network: str = "") -> int:
    """Open connections of a service, of all peers or of those in a network."""
    peers = f"and dst {network}" if network else ""
    command = f"ss -Htn state established '( sport = :{port} {peers} )'"
    return len(host.check_output(command).splitlines())


@pytest.fixture
def load(mirror: Mirror, online: Host, topology: Topology) -> Iterator[Callable[..., Driving]]:
    """Starts sessions that last some seconds and waits until many are open."""
    started: list[Driving] = []

    def start(**options: object) -> Driving:
        driving = mirror.drive(**{"sessions": 200, "concurrency": 50, "turns": 20, "turn_pause": 0.1, **options})
        started.append(driving)

        def busy() -> object:
            count = established_sessions(online, topology.service_port)
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
    network, port = str(topology.client_network), topology.service_port
    driving = load(sessions=30, concurrency=30, turns=2, hold=8)

    def mirrored() -> object:
        count = established_sessions(target, port, network)
        return count >= 30 or Unmet(f"{count} open mirrored sessions")

    def gone() -> object:
        left = established_sessions(target, port, network)
        return left == 0 or Unmet(f"{left} left")

    wait_until(mirrored, 10, "30 mirrored sessions are open on the target")
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


def test_sessions_arrive_after_a_reboot_of_the_target(mirror: Mirror, target: Host, topology: Topology) -> None:
    old_boot = target.check_output("cat /proc/sys/kernel/random/boot_id; systemctl show -P UserspaceTimestampMonotonic")
    started = target.check_output("systemctl show -P KernelTimestamp -P UserspaceTimestamp; stat -c %Z /run")
    del old_boot
    target.run("systemctl reboot")

    def rebooted() -> object:
        answer = target.run("stat -c %Z /run >/dev/null && systemctl is-active mirror-route echo_server")
        now = target.run("systemctl show -P KernelTimestamp -P UserspaceTimestamp; stat -c %Z /run")
        return (answer.rc == 0 and now.stdout.strip() != started) or Unmet(answer.stdout + answer.stderr)

    wait_until(rebooted, 60, "the target is up again with its route and service")
    assert len(routes_to_client_network(target, topology)) == 1
    passage = mirror.pass_sessions(sessions=50)
    assert passage.at_target == passage.driven.sent
