"""Hostile packets at the assistant: dropped, counted by name, and no record is made of them."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from support.hostile import IPV4, IPV6, hostile

from copytool.link.collector import ResponseCollector
from copytool.link.share import Share

TARGET, MIRROR = bytes((192, 168, 50, 101)), bytes((192, 168, 60, 7))
TARGET6, MIRROR6 = (bytes.fromhex(f"fd{net}" + "00" * 13 + "01") for net in ("50", "60"))


class Owner:
    """Stands for a link connection."""

    def __init__(self) -> None:
        networks = [ip_network("192.168.60.0/24"), ip_network("fd60::/64")]
        self.share = Share(networks, [(TARGET, 1025), (TARGET6, 1025)])


def counted(target: bytes, mirror: bytes, what: str) -> dict[str, int]:
    """Return what is counted of a hostile packet from the target to the mirror's address."""
    collector, owner = ResponseCollector(), Owner()
    collector.add_owner(owner, owner.share)
    collector.receive_packet(memoryview(hostile(what, (target, 1025, mirror, 40000), 9001, 1001)))
    assert not collector.has_records(owner)
    return {reason: count for reason, count in collector.counters.items() if count}


@pytest.mark.parametrize(("what", "reason"), IPV4)
def test_it_is_dropped_and_counted(what: str, reason: str) -> None:
    """`copytool status --json intercept` shows these counters as they are."""
    assert counted(TARGET, MIRROR, what) == {"packets": 1, reason: 1}


@pytest.mark.parametrize(("what", "reason"), IPV6)
def test_ipv6_is_dropped_and_counted(what: str, reason: str) -> None:
    """Chains of extension headers end somewhere, and fragments are nobody's answer."""
    assert counted(TARGET6, MIRROR6, what) == {"packets": 1, reason: 1}
