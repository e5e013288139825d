"""Every header that copytool builds, judged by scapy."""

from __future__ import annotations

import socket

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6

from copytool.wire.build import build_options, build_segment
from copytool.wire.segment import ACK, FIN, PSH, RST, SYN, Segment, parse_segment

U16 = st.integers(0, 0xFFFF)
U32 = st.integers(0, 0xFFFFFFFF)
ADDRESS_PAIRS = st.one_of(
    st.tuples(st.binary(min_size=4, max_size=4), st.binary(min_size=4, max_size=4)),
    st.tuples(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16)),
)
OPTIONS = st.one_of(st.just(b""), st.builds(build_options, U16, st.integers(-1, 14)))
PAYLOADS = st.one_of(st.binary(max_size=64), st.binary(min_size=1459, max_size=1460))
SEGMENTS = st.builds(
    lambda addresses, *fields: (*addresses, *fields),
    ADDRESS_PAIRS,
    U16,
    U16,
    U32,
    U32,
    st.integers(0, 63),
    U16,
    OPTIONS,
    PAYLOADS,
)


def dissect(packet: bytes) -> IP | IPv6:
    """Return scapy's view of the packet."""
    return IP(packet) if packet[0] >> 4 == 4 else IPv6(packet)


def recomputed(packet: bytes) -> bytes:
    """Return the packet with lengths and checksums filled in by scapy."""
    view = dissect(packet)
    tcp = view[TCP]
    if isinstance(view, IP):
        del view.chksum, view.len, view.ihl
    else:
        del view.plen
    del tcp.chksum, tcp.dataofs
    return bytes(view)


@settings(max_examples=300)
@given(SEGMENTS)
def test_scapy_agrees_with_every_field_and_checksum(fields: tuple) -> None:
    """Scapy reads what was asked for, and would have written the very same lengths and checksums."""
    src, dst, src_port, dst_port, seq, ack, flags, window, options, payload = fields
    packet = build_segment(*fields)
    view = dissect(packet)
    tcp = view[TCP]
    family = socket.AF_INET if len(src) == 4 else socket.AF_INET6
    assert (socket.inet_pton(family, view.src), socket.inet_pton(family, view.dst)) == (src, dst)
    assert (tcp.sport, tcp.dport, tcp.seq, tcp.ack) == (src_port, dst_port, seq, ack)
    assert (int(tcp.flags), tcp.window, tcp.urgptr, tcp.reserved) == (flags, window, 0, 0)
    assert tcp.dataofs * 4 == 20 + len(options)
    assert bytes(tcp.payload) == payload
    assert recomputed(packet) == packet


@given(SEGMENTS)
def test_what_is_built_parses_back(fields: tuple) -> None:
    """Our own parser reads back every field."""
    src, dst, src_port, dst_port, seq, ack, flags, window, _options, payload = fields
    assume((src, src_port) != (dst, dst_port))
    packet = build_segment(*fields)
    segment = Segment()
    assert parse_segment(segment, memoryview(packet)) == 0
    assert (segment.src, segment.dst, segment.src_port, segment.dst_port) == (src, dst, src_port, dst_port)
    assert (segment.seq, segment.ack, segment.flags, segment.window) == (seq, ack, flags, window)
    assert packet[segment.payload_start :] == payload
    assert segment.payload_len == segment.captured_len == len(payload)


@pytest.mark.parametrize(
    ("window_scale", "options"),
    [
        (-1, [("MSS", 1460)]),
        (0, [("MSS", 1460), ("NOP", None), ("WScale", 0)]),
        (7, [("MSS", 1460), ("NOP", None), ("WScale", 7)]),
    ],
)
def test_syn_options(window_scale: int, options: list) -> None:
    """SYN options are MSS and, when offered, window scale, padded to whole words."""
    built = build_options(1460, window_scale)
    assert len(built) % 4 == 0
    packet = build_segment(bytes(4), bytes(4), 1, 2, 3, 0, SYN, 4, built)
    assert dissect(packet)[TCP].options == options


def test_ipv4_header_is_plain() -> None:
    """An IPv4 packet may not be fragmented and carries no options."""
    view = IP(build_segment(bytes(4), bytes(4), 1, 2, 3, 4, RST | ACK, 0))
    assert (view.ihl, view.flags, view.frag, view.ttl, view.tos, view.len) == (5, "DF", 0, 64, 0, 40)


def test_ipv6_header_is_plain() -> None:
    """An IPv6 packet has no extension headers, class or flow label."""
    view = IPv6(build_segment(bytes(16), bytes(16), 1, 2, 3, 4, FIN | ACK, 0))
    assert (view.nh, view.hlim, view.tc, view.fl, view.plen) == (6, 64, 0, 0, 20)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_payload_may_be_any_buffer(kind: type) -> None:
    """Bytes, bytearrays and views of a capture ring give the same packet."""
    expected = build_segment(bytes(4), bytes(4), 1, 2, 3, 4, PSH | ACK, 5, b"", b"odd")
    assert build_segment(bytes(4), bytes(4), 1, 2, 3, 4, PSH | ACK, 5, b"", kind(b"odd")) == expected
