"""Sessions are exact over small MTUs, black holes, routers, VLAN tags and interfaces with and without offloads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from .exactness import assert_exact
from .hosts import COPY, INTERCEPT, Network
from .taps import Tap
from .topologies import add_router, set_offloads, tag_frames

HEADER_BYTES = 14
ROUTED_COPY = (
    "copy -x 192.168.50.10:1025-192.168.51.101:1025,[fd50::10]:1025-[fd51::101]:1025"
    " -s 192.168.{}.102 -c 192.168.60.x,fd60::/64 --ring-size 256"
)
MIRRORED_DATA = "(tcp or ip6 proto 6) and dst port 1025 and (src net 192.168.60.0/24 or src net fd60::/64)"
IPV4_AND_IPV6 = ("192.168.50.10", "fd50::10")


@contextmanager
def _tap(namespace: str, interface: str, expression: str, vlan: int = 0) -> Iterator[Tap]:
    tap = Tap(namespace, interface, expression, vlan)
    try:
        yield tap
    finally:
        tap.close()


def _mirrored_larger_than(network: Network, mtu: int) -> str:
    return f"{MIRRORED_DATA} and greater {mtu + HEADER_BYTES + 1}"


def test_target_interface_with_small_mtu(network: Network) -> None:
    """A target whose own MTU is 1400 gets segments that fit, and all bytes."""
    network.target.run("ip", "link", "set", "ens18", "mtu", 1400)
    with _tap(network.switch.namespace, "target", _mirrored_larger_than(network, 1400)) as larger:
        network.start_mirror(f"{COPY} --ring-size 256")
        status = assert_exact(network, network.drive("--sessions", 100))
        assert larger.count() == 0
    assert status["mirror"]["retransmissions"] == 0


def test_route_with_small_mtu(network: Network) -> None:
    """A route to the target with MTU 1400 on online bounds the segments."""
    network.online.run("ip", "route", "add", "192.168.50.101", "dev", "ens18", "mtu", 1400)
    with _tap(network.switch.namespace, "target", _mirrored_larger_than(network, 1400)) as larger:
        network.start_mirror(f"{COPY} --ring-size 256")
        status = assert_exact(network, network.drive("--sessions", 100))
        assert larger.count() == 0
    assert status["mirror"]["retransmissions"] == 0


@pytest.mark.parametrize("address", IPV4_AND_IPV6)
def test_black_hole_on_the_path(network: Network, address: str) -> None:
    """A router that silently drops what is larger than 1400 bytes towards the target costs time and no byte."""
    router = add_router(network, assistant_too=True)
    rules = "table inet hole { chain forward { type filter hook forward priority 0; "
    rules += 'oifname "ens19" tcp dport 1025 meta length > 1400 counter drop; }; }'
    router.run("nft", rules)
    network.start_mirror(ROUTED_COPY.format(51))
    report = network.drive("--sessions", 40, "--concurrency", 40, "--turns", 4, address=address)
    status = assert_exact(network, report, timeout_s=90)
    dropped = int(re.search(r"counter packets (\d+)", router.run("nft", "list", "ruleset").stdout)[1])
    assert dropped > 0, "the router dropped nothing"
    assert status["mirror"]["retransmissions"] > 0


@pytest.mark.parametrize("state", ["on", "off"])
def test_offloads(network: Network, state: str) -> None:
    """Large turns are exact whether interfaces hand over super-segments or packets of the wire's size."""
    for host in network.hosts.values():
        set_offloads(host, "ens18", state)
    for name in network.hosts:
        set_offloads(network.switch, name, state)
    with _tap(network.online.namespace, "ens18", "inbound and tcp dst port 1025 and greater 1515") as large:
        network.start_mirror(f"{COPY} --ring-size 256")
        options = ("--sessions", 8, "--concurrency", 2, "--turns", 4, "--max-bytes", 400_000, "--seed", 3)
        assert_exact(network, network.drive(*options))
        assert (large.count() > 20) == (state == "on"), f"{large.count()} super-segments with offloads {state}"


@pytest.mark.parametrize("interface", ["-i ens18", "-i ens18.5", ""])
def test_vlan_tagged_frames(network: Network, interface: str) -> None:
    """Frames that arrive with an 802.1Q tag are mirrored, captured as trunk, as VLAN or at both."""
    relays = tag_frames(network, "online", 5)
    with _tap(network.online.namespace, "ens18", "inbound and tcp dst port 1025", 5) as tagged:
        network.start_mirror(f"{COPY} {interface} --ring-size 256")
        assert_exact(network, network.drive("--sessions", 100))
        assert tagged.count() >= 300, "frames arrive without tag"
    counts = [relay.stop() for relay in relays]
    assert not any(count["send_errors"] or count["dropped"] for both in counts for count in both.values())


@pytest.mark.parametrize("assistant_too", [True, False], ids=["assistant-beside-target", "assistant-behind-router"])
def test_target_in_another_subnet(network: Network, assistant_too: bool) -> None:
    """A router between online and target, or between target and assistant as well, changes nothing."""
    add_router(network, assistant_too)
    network.start_mirror(ROUTED_COPY.format(51 if assistant_too else 50), INTERCEPT)
    reports = [network.drive("--sessions", 75, address=address) for address in IPV4_AND_IPV6]
    assert_exact(network, *reports)
    assert {session["peer"][:5] for session in network.sessions_of("target")} == {"fd60:", "192.1"}
