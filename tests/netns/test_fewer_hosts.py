"""Answers end at the target itself, on two hosts or on one: sessions are exact, and nothing leaves for the client
network. The watch of the network's cables (see watch.py) looks on in each test."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from .checks import Found, check, listening
from .exactness import assert_exact
from .fewer_hosts import Topology, one_host, two_hosts
from .hosts import Network, wait_until
from .taps import Tap

MAKERS = {"two": two_hosts, "one": one_host}
COPY_OF_BOTH = {
    "two": "copy -x 192.168.50.10:1025-192.168.50.101:1025,[fd50::10]:1025-[fd50::101]:1025 -s 192.168.50.101"
    " -c 192.168.60.x,fd60::/64",
    "one": "copy -x 192.168.50.10:1025-192.168.50.10:1026,[fd50::10]:1025-[fd50::10]:1026 -s 127.0.0.1"
    " -c 192.168.60.x,fd60::/64 --allow-local-target",
}
ANSWER = "inbound and (dst net 192.168.60.0/24 or dst net fd60::/64)"
SYN_ACK = "tcp[tcpflags] & (tcp-syn|tcp-ack) = (tcp-syn|tcp-ack)"

both = pytest.mark.parametrize("kind", ["two", "one"])


@pytest.fixture
def topology(bare_network: Network, kind: str) -> Topology:
    """Two hosts or one, services running, no mirror yet."""
    return MAKERS[kind](bare_network)


@contextmanager
def tapped(topology: Topology, interface: str, expression: str) -> Iterator[Tap]:
    """A tap on an interface of the host where the target is."""
    tap = Tap(topology.target.namespace, interface, expression)
    try:
        yield tap
    finally:
        tap.close()


@both
@pytest.mark.parametrize("forwarding", [0, 1])
def test_the_documented_commands(topology: Topology, kind: str, forwarding: int) -> None:
    """Sessions are exact, so the kernel has answered none with an RST. It drops their answers without a word, whether
    it forwards or not, and sends none anywhere; the target announces the MSS of its interface."""
    topology.target.run("sysctl", "-qw", f"net.ipv4.ip_forward={forwarding}")
    with (
        tapped(topology, "lo", "icmp") as inside,
        tapped(topology, "ens18", "outbound and icmp") as outside,
        tapped(topology, "lo", f"{ANSWER} and {SYN_ACK} and tcp[20:4] = 0x020405b4") as announced,
        tapped(topology, "lo", f"{ANSWER} and {SYN_ACK}") as answered,
    ):
        topology.start_mirror()
        status = assert_exact(topology.network, topology.network.drive("--sessions", 200, "--concurrency", 20))
        assert (inside.count(), outside.count()) == (0, 0)
        assert announced.count() == answered.count() == 200
    assert status["send"]["errors"] == {}
    assert {session["peer"].rsplit(".", 1)[0] for session in topology.network.sessions_of("target")} == {"192.168.60"}


@both
def test_ipv4_and_ipv6(topology: Topology, kind: str) -> None:
    """Both, in one process; no ICMP error tells the target of an address that is not there."""
    with tapped(topology, "lo", "icmp or (icmp6 and ip6[40] < 128)") as errors:
        both_nets = topology.intercept_line.replace("dst net", "(dst net") + " or dst net fd60::/64)"
        topology.start_mirror(COPY_OF_BOTH[kind], both_nets)
        reports = [
            topology.network.drive("--sessions", 60, address=address) for address in ("fd50::10", "192.168.50.10")
        ]
        assert_exact(topology.network, *reports)
        assert errors.count() == 0
    assert {session["peer"][:5] for session in topology.network.sessions_of("target")} == {"fd60:", "192.1"}


@both
def test_large_turns(topology: Topology, kind: str) -> None:
    """Answers in super-segments, uploads in bursts: all bytes arrive."""
    with tapped(topology, "lo", f"{ANSWER} and greater 3000") as large:
        topology.start_mirror()
        options = ("--sessions", 8, "--concurrency", 4, "--turns", 4, "--max-bytes", 400_000, "--seed", 5)
        assert_exact(topology.network, topology.network.drive(*options), timeout_s=60)
        assert large.count() > 20, "the target's answers are not super-segments"


@pytest.mark.parametrize("kind", ["one"])
@pytest.mark.parametrize(
    ("mapping", "workers"), [("1025-192.168.50.10:1026", 1), ("1025-192.168.50.10:1026", 2), ("1025-127.0.0.1:1026", 1)]
)
def test_copy_does_not_see_its_own_packets(topology: Topology, kind: str, mapping: str, workers: int) -> None:
    """It captures everywhere, the loopback included, and takes none of what it sends for a client's."""
    line = f"copy -x {mapping} -s 127.0.0.1 -c 192.168.60.x --allow-local-target --workers {workers}"
    topology.start_mirror(line)
    status = assert_exact(topology.network, topology.network.drive("--sessions", 150))
    assert status["sessions"]["seen"] == 150


@both
def test_a_lost_route_lets_nothing_leave(topology: Topology, kind: str) -> None:
    """Without the route answers would follow the default route: the guard drops them, and the check names it."""
    target = topology.target
    target.run("ip", "route", "add", "default", "via", "192.168.50.200")
    topology.start_mirror()
    target.run("ip", "route", "delete", "192.168.60.0/24")
    topology.network.drive("--sessions", 5)
    rules = json.loads(target.run("nft", "-j", "list", "chain", "inet", "mirror_route", "leave").stdout)["nftables"]
    counters = [part["counter"]["packets"] for rule in rules for part in rule.get("rule", {}).get("expr", [])[-2:-1]]
    assert counters[0] > 0, "nothing tried to leave"
    found = check_target(topology)
    fix = "ip route replace 192.168.60.0/24 dev lo mtu 1500"
    found.names("route", "answers follow the default route via 192.168.50.200", fix)
    assert found.one("guard")["state"] == found.one("firewall")["state"] == "ok"


def options_of(topology: Topology) -> str:
    """copy's documented options."""
    return " ".join(topology.copy_line.split("|")[1:])


def check_target(topology: Topology) -> Found:
    """Check the target."""
    return check(topology.target, f"target {options_of(topology)}")


@both
@pytest.mark.watch(checks=True)
@pytest.mark.parametrize("forwarding", [0, 1])
def test_check_has_nothing_to_say(topology: Topology, kind: str, forwarding: int) -> None:
    """All is well: before mirroring, when the check sends the probe itself, and meanwhile."""
    topology.target.run("sysctl", "-qw", f"net.ipv4.ip_forward={forwarding}")
    intercept = topology.intercept_line.partition("|")[2]
    topology.intercept.start(*topology.intercept.copytool(topology.intercept_line))
    topology.network.wait_listening("intercept", 36524)
    for _ in range(2):
        with (
            listening(topology.target, f"target {options_of(topology)}") as target,
            listening(topology.intercept, f"intercept |{intercept}") as assistant,
        ):
            online = check(topology.network.online, f"copy {options_of(topology)}")
        for found in (online, target[0], assistant[0]):
            assert found.failed() == [], found
        assert online.one("probe")["state"] == "ok", online
        for found, names in ((target[0], ("route", "guard", "arrivals", "firewall")), (assistant[0], ("answers",))):
            assert {name: found.one(name)["state"] for name in names} == dict.fromkeys(names, "ok"), found
        if not topology.network.online.status():
            topology.network.online.start(*topology.network.online.copytool(topology.copy_line))
            topology.network.wait_for_link()


@both
def test_check_finds_faults(topology: Topology, kind: str) -> None:
    """A guard that is missing, a route to nowhere, and where packets come over the network a strict filter."""
    target = topology.target
    target.run("nft", "flush", "chain", "inet", "mirror_route", "leave")
    check_target(topology).names("guard", "ens18 not guarded", "oifname != lo drop", state="warning")
    target.run("ip", "route", "replace", "blackhole", "192.168.60.0/24")
    check_target(topology).names("route", "no route for the client network", "dev lo")
    target.run("ip", "route", "replace", "192.168.60.0/24", "dev", "lo", "mtu", 1500)
    target.run("sysctl", "-qw", "net.ipv4.conf.ens18.rp_filter=1")
    found = check_target(topology)
    if kind == "two":
        found.names("rp_filter", "leads out of lo", "net.ipv4.conf.ens18.rp_filter=2")
    else:
        assert found.one("rp_filter")["state"] == "ok"


@both
def test_check_finds_faults_of_ipv6(topology: Topology, kind: str) -> None:
    """A route that is no local one, and nobody who stops the kernel from answering."""
    line = COPY_OF_BOTH[kind].removeprefix("copy ")
    topology.target.run("nft", "flush", "chain", "inet", "mirror_route", "arrive")
    check(topology.target, f"target {line}").names(
        "guard", "the kernel answers the target by itself", "daddr fd60::/64"
    )
    topology.target.run("ip", "-6", "route", "delete", "local", "fd60::/64", "dev", "lo")
    topology.target.run("ip", "-6", "route", "add", "fd60::/64", "dev", "lo")
    check(topology.target, f"target {line}").names("route", "ip -6 route replace local fd60::/64 dev lo")


@pytest.mark.watch(checks=True)
@pytest.mark.parametrize("kind", ["two"])
def test_intercept_on_the_wrong_interface(topology: Topology, kind: str) -> None:
    """Answers come in on the loopback; who captures elsewhere is told so."""
    wrong = "intercept |-i|ens18|-F|tcp and src port 1025"
    topology.intercept.start(*topology.intercept.copytool(wrong))
    topology.network.wait_listening("intercept", 36524)
    with listening(topology.intercept, wrong, wait_s=60) as assistant:
        check(topology.network.online, f"copy {options_of(topology)}")
    assistant[0].names("answers", "answers arrive on lo", "give intercept -i lo")


@pytest.mark.parametrize("kind", ["one"])
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("-x 192.168.50.10:1025-192.168.50.10:1026 -c 192.168.60.x", "say --allow-local-target"),
        ("-x 1025-127.0.0.1:1026 -c 192.168.60.x", "say --allow-local-target"),
        ("-x 1025-192.168.50.10:1025 -c 192.168.60.x --allow-local-target", "port 1025 is mirrored"),
        ("-x 192.168.50.10:1025-127.0.0.1:1025 -c 192.168.60.x --allow-local-target", "port 1025 is mirrored"),
        ("-x 1025-192.168.50.10:1026,1026-192.168.50.10:1027 -c 192.168.60.x --allow-local-target", "1026 is mirrored"),
        ("-x 1025-192.168.50.10:1026 --keep-client-addresses --allow-local-target", "exclude each other"),
    ],
)
def test_what_would_feed_the_service_itself_is_refused(
    topology: Topology, kind: str, options: str, reason: str
) -> None:
    done = topology.network.online.run(*topology.network.online.copytool(f"copy {options} -s 127.0.0.1"), check=False)
    assert done.returncode == 2
    assert reason in done.stderr
    assert len(done.stderr.splitlines()) == 1
    wait_until(lambda: not topology.network.online.status(), "nothing runs")
