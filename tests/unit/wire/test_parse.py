"""parse_segment() reads packets that scapy builds, and names what is wrong with the others."""

from __future__ import annotations

import socket

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.packet import Raw

from copytool.wire.build import build_segment
from copytool.wire.segment import (
    ACK,
    DROP_REASONS,
    FIN,
    PSH,
    RST,
    SYN,
    URG,
    Segment,
    are_checksums_valid,
    parse_segment,
)

V4 = IP(src="10.1.2.3", dst="192.168.50.10")
V6 = IPv6(src="fd00::1", dst="fd00::2")
SYN_TCP = TCP(sport=4000, dport=1025, seq=1, flags="S")


def parse(packet: bytes) -> tuple[str, Segment]:
    """Return the reason word and the filled segment."""
    segment = Segment()
    return DROP_REASONS[parse_segment(segment, memoryview(packet))], segment


def patched(packet: bytes, **octets: int) -> bytes:
    """Return the packet with octets replaced, given as o<offset>=value."""
    changed = bytearray(packet)
    for name, value in octets.items():
        changed[int(name[1:])] = value
    return bytes(changed)


OPTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("MSS"), st.integers(0, 65535)),
        st.tuples(st.just("WScale"), st.integers(0, 255)),
        st.just(("SAckOK", b"")),
        st.tuples(st.just("Timestamp"), st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))),
        st.just(("NOP", None)),
        st.tuples(st.just(254), st.binary(max_size=3)),
    ),
    max_size=4,
)
HEADERS = st.sampled_from(
    [
        V4,
        IP(src="10.1.2.3", dst="192.168.50.10", options=b"\x94\x04\x00\x00"),
        V6,
        V6 / IPv6ExtHdrHopByHop(),
        V6 / IPv6ExtHdrDestOpt(options=[]) / IPv6ExtHdrRouting(),
        V6 / IPv6ExtHdrHopByHop() / IPv6ExtHdrRouting(addresses=["fd00::9"], segleft=0) / IPv6ExtHdrDestOpt(),
    ]
)


@settings(max_examples=150)
@given(
    HEADERS,
    st.integers(0, 65535),
    st.integers(0, 65535),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 255),
    st.integers(0, 65535),
    OPTIONS,
    st.binary(max_size=50),
)
def test_scapy_built_segments_are_read(header, sport, dport, seq, ack, flags, window, options, payload) -> None:
    """Addresses, ports, numbers, flags, window, options and payload come out as scapy put them in."""
    tcp = TCP(sport=sport, dport=dport, seq=seq, ack=ack, flags=flags, window=window, options=options)
    packet = bytes(header / tcp / Raw(payload))
    reason, segment = parse(packet)
    assert reason == "ok"
    family = socket.AF_INET if header.version == 4 else socket.AF_INET6
    assert segment.src == socket.inet_pton(family, header.src)
    assert segment.dst == socket.inet_pton(family, header.dst)
    assert (segment.src_port, segment.dst_port, segment.seq, segment.ack) == (sport, dport, seq, ack)
    assert (segment.flags, segment.window) == (flags, window)
    assert packet[segment.payload_start :] == payload
    assert segment.payload_len == segment.captured_len == len(payload)
    last = dict(options)
    if flags & SYN:
        assert segment.mss == last.get("MSS", 0)
        assert segment.window_scale == min(last.get("WScale", -1), 14)
    else:
        assert (segment.mss, segment.window_scale) == (0, -1)


def test_flag_constants_are_the_wire_bits() -> None:
    """The six flags are where RFC 9293 puts them."""
    names = {"F": FIN, "S": SYN, "R": RST, "P": PSH, "A": ACK, "U": URG}
    for letter, bit in names.items():
        assert int(TCP(flags=letter).flags) == bit


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (b"", "truncated"),
        (bytes(V4 / SYN_TCP)[:19], "truncated"),
        (bytes(V4 / SYN_TCP)[:39], "truncated"),
        (bytes(V6 / SYN_TCP)[:39], "truncated"),
        (bytes(V6 / SYN_TCP)[:59], "truncated"),
        (bytes(V6 / IPv6ExtHdrHopByHop() / SYN_TCP)[:47], "truncated"),
        (bytes(V4 / TCP(options=[("MSS", 1)]))[:41], "truncated"),
        (patched(bytes(V4 / SYN_TCP), o0=0x35), "not_ip"),
        (patched(bytes(V4 / SYN_TCP), o0=0x05), "not_ip"),
        (bytes(V4 / UDP() / b"0123456789abcdef"), "not_tcp"),
        (bytes(V6 / UDP() / b"0123456789abcdef"), "not_tcp"),
        (bytes(IP(src="10.1.2.3", dst="192.168.50.10", flags="MF") / SYN_TCP), "fragment"),
        (bytes(IP(src="10.1.2.3", dst="192.168.50.10", frag=1) / SYN_TCP), "fragment"),
        (bytes(IP(src="10.1.2.3", dst="192.168.50.10", frag=0x1F00) / SYN_TCP), "fragment"),
        (bytes(V6 / IPv6ExtHdrFragment(m=1) / SYN_TCP), "fragment"),
        (patched(bytes(V4 / SYN_TCP), o0=0x44), "bad_header"),
        (patched(bytes(V4 / SYN_TCP), o32=0x40), "bad_header"),
        (patched(bytes(V4 / SYN_TCP), o32=0x60), "bad_header"),
        (patched(bytes(V4 / SYN_TCP), o2=0, o3=39), "bad_header"),
        (patched(bytes(V4 / SYN_TCP), o0=0x4F), "truncated"),
    ],
    ids=[
        "empty", "below an IPv4 header", "inside TCP header", "inside IPv6 header", "inside TCP over IPv6",
        "inside extension header", "inside TCP options", "version 3", "version 0", "UDP", "UDP over IPv6",
        "first fragment", "second fragment", "late fragment", "IPv6 fragment", "IHL 4", "data offset 4",
        "data offset beyond the packet", "total length inside the TCP header", "IHL 15 beyond the packet",
    ],
)  # fmt: skip
def test_what_cannot_be_read_has_a_reason(packet: bytes, reason: str) -> None:
    """Each kind of unusable packet is named, not guessed at."""
    assert parse(packet)[0] == reason


def test_dont_fragment_is_no_fragment() -> None:
    """The DF bit and the reserved bit say nothing about fragmentation."""
    assert parse(bytes(IP(src="10.1.2.3", dst="192.168.50.10", flags="DF") / SYN_TCP))[0] == "ok"
    assert parse(bytes(IP(src="10.1.2.3", dst="192.168.50.10", flags="evil") / SYN_TCP))[0] == "ok"


@pytest.mark.parametrize("header", [V4, V6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("cut", [0, 1, 99])
def test_snapshot_length_cuts_only_the_payload(header, cut: int) -> None:
    """A packet cut inside its payload still tells how long it was."""
    packet = bytes(header / TCP(flags="A") / Raw(b"x" * 100))
    reason, segment = parse(packet[: len(packet) - 100 + cut])
    assert (reason, segment.payload_len, segment.captured_len) == ("ok", 100, cut)


def test_ethernet_padding_is_no_payload() -> None:
    """Bytes behind the IP total length are the frame's padding."""
    packet = bytes(V4 / TCP(flags="A"))
    reason, segment = parse(packet + b"\0" * 6)
    assert (reason, segment.payload_len, segment.captured_len) == ("ok", 0, 0)


@pytest.mark.parametrize(("header", "offset"), [(V4, 2), (V6, 4)], ids=["IPv4", "IPv6"])
def test_zero_length_field_means_the_whole_buffer(header, offset: int) -> None:
    """A packet above 64 KiB that the kernel put together carries length 0; all of the buffer counts."""
    packet = bytearray(bytes(header / TCP(flags="A")) + b"y" * 70000)
    packet[offset : offset + 2] = b"\0\0"
    reason, segment = parse(bytes(packet))
    assert (reason, segment.payload_len, segment.captured_len) == ("ok", 70000, 70000)


def syn_with_options(options: bytes) -> Segment:
    """Return the parsed SYN that carries these raw options, padded with zeros."""
    padded = options + b"\0" * (-len(options) % 4)
    return parse(build_segment(bytes(4), bytes(4), 1, 2, 3, 0, SYN, 4, padded))[1]


@pytest.mark.parametrize(
    ("options", "mss", "window_scale"),
    [
        (b"\x02\x03\x05\x01\x03\x03\x07\x00", 0, 7),
        (b"\x00\x02\x04\x05\xb4\x00\x00\x00", 0, -1),
        (b"\x00\x02\x00\x05\xb4\x00\x00\x00", 0, -1),
        (b"\x03\x03\xff\x00", 0, 14),
        (b"\x02\x04\x00\x00", 0, -1),
    ],
    ids=["MSS of wrong length", "behind the end", "malformed behind the end", "shift above 14", "MSS zero"],
)  # fmt: skip
def test_odd_options_are_read_as_receivers_do(options: bytes, mss: int, window_scale: int) -> None:
    """An option of an unforeseen length says nothing; nothing counts behind the end of the list."""
    segment = syn_with_options(options)
    assert (segment.mss, segment.window_scale) == (mss, window_scale)


def test_a_reused_segment_forgets_the_last_packet() -> None:
    """Options of a SYN do not leak into the next packet parsed into the same object."""
    segment = Segment()
    syn = bytes(V4 / TCP(flags="S", options=[("MSS", 1460), ("WScale", 7)]))
    parse_segment(segment, memoryview(syn))
    parse_segment(segment, memoryview(bytes(V4 / SYN_TCP)))
    assert (segment.mss, segment.window_scale) == (0, -1)


FIRST_OCTETS = st.sampled_from([0x45, 0x46, 0x4F, 0x60, 0x44, 0x00])


@settings(max_examples=1000)
@given(FIRST_OCTETS, st.binary(max_size=120), st.booleans())
@example(0x60, b"\0" * 39, False)
def test_arbitrary_bytes_never_raise(first: int, rest: bytes, tcp: bool) -> None:
    """Whatever a wire carries, parsing ends with a reason word and, if ok, a payload inside the buffer."""
    packet = bytearray([first]) + rest
    if tcp and len(packet) > 9:
        packet[9 if first >> 4 == 4 else 6] = 6
    reason, segment = parse(bytes(packet))
    assert reason in DROP_REASONS
    if reason == "ok":
        assert 0 <= segment.captured_len <= segment.payload_len
        assert segment.payload_start + segment.captured_len <= len(packet)


@settings(max_examples=300)
@given(
    st.sampled_from([bytes(V4 / SYN_TCP), bytes(V6 / IPv6ExtHdrHopByHop() / SYN_TCP / Raw(b"data"))]),
    st.data(),
)
def test_mutated_packets_never_raise(packet: bytes, data: st.DataObject) -> None:
    """A valid packet with a few octets changed, or cut anywhere, is read or refused."""
    changed = bytearray(packet)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    reason, segment = parse(bytes(changed[: data.draw(st.integers(0, len(changed)))]))
    if reason == "ok":
        assert segment.payload_start + segment.captured_len <= len(changed)


@pytest.mark.parametrize(("headers", "offset"), [(V4, 2), (V6, 4)], ids=["v4", "v6"])
def test_length_of_zero(headers: IP | IPv6, offset: int) -> None:
    """The kernel leaves it empty in packets of more than 64 KiB only, and no checksum covers so many octets."""
    packet = bytearray(bytes(headers / TCP(sport=4000, dport=1025, seq=1, flags="PA") / Raw(b"abc")))
    packet[offset : offset + 2] = bytes(2)
    assert parse(bytes(packet))[0] == "bad_header"
    large = bytes(packet) + bytes(70_000)
    reason, segment = parse(large)
    assert reason == "ok"
    assert segment.payload_len == len(large) - segment.payload_start
    assert not are_checksums_valid(segment, memoryview(large))


def test_urgent_pointer_of_zero() -> None:
    """Linux takes it for the first octet, as it does one of 1; without URG the field means nothing."""
    for flags, pointer, expected in ((ACK | URG, 0, 1), (ACK | URG, 1, 1), (ACK, 7, 0)):
        packet = build_segment(bytes(4), bytes(4), 1, 2, 0, 0, flags, 0, b"", b"ab", pointer)
        assert parse(packet)[1].urgent == expected


@pytest.mark.parametrize(
    "headers", [V4, V6, V6 / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt()], ids=["v4", "v6", "v6-extensions"]
)
@pytest.mark.parametrize("payload", [b"", b"odd", b"even"])
def test_checksums(headers: IP | IPv6, payload: bytes) -> None:
    """What scapy builds is valid; one flipped bit anywhere that is summed is not; what is cut off is not judged."""
    packet = bytes(headers / TCP(sport=4000, dport=1025, seq=1, flags="PA") / Raw(payload))
    _, segment = parse(packet)
    assert are_checksums_valid(segment, memoryview(packet))
    assert are_checksums_valid(segment, memoryview(packet + b"padding"))
    for index in range(segment.tcp_start, len(packet)):
        corrupt = bytearray(packet)
        corrupt[index] ^= 0x10
        if parse(bytes(corrupt))[0] == "ok":
            assert not are_checksums_valid(parse(bytes(corrupt))[1], memoryview(corrupt))
    if payload:
        cut = packet[:-1]
        assert are_checksums_valid(parse(cut)[1], memoryview(cut))
