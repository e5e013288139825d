"""Bursts are cut into the segments that a kernel would make of them."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6

from copytool.wire import octets
from copytool.wire.build import build_packet, finish_checksum
from copytool.wire.burst import MAX_BURST_BYTES, split_burst
from copytool.wire.flow import flow_key
from copytool.wire.segment import ACK, FIN, PSH

V4 = (bytes((192, 168, 60, 1)), bytes((192, 168, 50, 101)))
V6 = (bytes(15) + b"\x01", bytes(15) + b"\x02")


@pytest.mark.parametrize(("ends", "layer"), [(V4, IP), (V6, IPv6)], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("size", [2921, 2920, MAX_BURST_BYTES])
def test_a_burst_becomes_segments(ends: tuple[bytes, bytes], layer: type, size: int) -> None:
    """All octets, consecutive numbers across the wrap, right checksums; FIN and PSH on the last one only."""
    data = bytes(index % 251 for index in range(size))
    key = flow_key(ends[0], 1000, ends[1], 80)
    burst = build_packet(key, 2**32 - 1000, 7, ACK | PSH | FIN, 500, b"", data, 0)
    packets = split_burst(burst, 1460)
    assert len(packets) == -(-size // 1460)
    joined = b""
    for index, packet in enumerate(packets):
        finish_checksum(packet)
        parsed = layer(bytes(packet))
        tcp = parsed[TCP]
        last = index == len(packets) - 1
        assert (tcp.seq, tcp.ack, tcp.window) == ((2**32 - 1000 + len(joined)) % 2**32, 7, 500)
        assert tcp.flags == ("FPA" if last else "A")
        again = layer(bytes(parsed))
        del again[TCP].chksum
        assert layer(bytes(again))[TCP].chksum == tcp.chksum
        joined += bytes(tcp.payload)
    assert joined == data


def test_a_bursts_checksum_is_that_of_the_pseudo_header() -> None:
    """The kernel adds the rest, and complements it."""
    burst = build_packet(flow_key(V4[0], 1000, V4[1], 80), 1, 2, ACK, 500, b"", bytes(5000), 0)
    pseudo = V4[0] + V4[1] + bytes((0, 6)) + (5020).to_bytes(2, "big")
    assert int.from_bytes(burst[36:38], "big") == octets.ones_sum(pseudo, 0, len(pseudo))
