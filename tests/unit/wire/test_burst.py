"""Bursts are cut into the segments that a kernel would make of them."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6

from copytool.wire.burst import MAX_BURST_BYTES, split_burst
from copytool.wire.checksum import ones_sum
from copytool.wire.segment import ACK, FIN, PSH, build_segment

V4 = (bytes((192, 168, 60, 1)), bytes((192, 168, 50, 101)))
V6 = (bytes(15) + b"\x01", bytes(15) + b"\x02")


@pytest.mark.parametrize(("ends", "layer"), [(V4, IP), (V6, IPv6)], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("size", [2921, 2920, MAX_BURST_BYTES])
def test_a_burst_becomes_segments(ends: tuple[bytes, bytes], layer: type, size: int) -> None:
    """All octets, consecutive numbers across the wrap, right checksums; FIN and PSH on the last one only."""
    octets = bytes(index % 251 for index in range(size))
    burst = build_segment(*ends, 1000, 80, 2**32 - 1000, 7, ACK | PSH | FIN, 500, b"", octets, is_burst=True)
    packets = split_burst(burst, 1460)
    assert len(packets) == -(-size // 1460)
    joined = b""
    for index, packet in enumerate(packets):
        parsed = layer(packet)
        tcp = parsed[TCP]
        last = index == len(packets) - 1
        assert (tcp.seq, tcp.ack, tcp.window) == ((2**32 - 1000 + len(joined)) % 2**32, 7, 500)
        assert tcp.flags == ("FPA" if last else "A")
        again = layer(bytes(parsed))
        del again[TCP].chksum
        assert layer(bytes(again))[TCP].chksum == tcp.chksum
        joined += bytes(tcp.payload)
    assert joined == octets


def test_a_bursts_checksum_is_that_of_the_pseudo_header() -> None:
    """The kernel adds the rest, and complements it."""
    burst = build_segment(*V4, 1000, 80, 1, 2, ACK, 500, b"", bytes(5000), is_burst=True)
    pseudo = V4[0] + V4[1] + bytes((0, 6)) + (5020).to_bytes(2, "big")
    assert int.from_bytes(burst[36:38], "big") == ones_sum(pseudo)
