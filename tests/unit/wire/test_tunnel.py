"""What is inside of VXLAN, GRE and ERSPAN packets is found where scapy has put it, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.contrib.erspan import ERSPAN_I, ERSPAN_II, ERSPAN_III, ERSPAN_PlatformSpecific
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment
from scapy.layers.l2 import ARP, GRE, Dot1AD, Dot1Q, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw

from copytool.wire.segment import Segment, parse_segment
from copytool.wire.tunnel import inner_offset

PORT = 4789
SHORTEST = 28
V4 = IP(src="10.9.0.1", dst="192.168.50.10") / TCP(sport=40000, dport=1025, flags="PA") / Raw(b"request")
V6 = IPv6(src="fd00::1", dst="fd50::10") / TCP(sport=40000, dport=1025, flags="PA") / Raw(b"request")
MACS = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}

OUTER = {
    "IPv4": IP(src="192.168.50.1", dst="192.168.50.102"),
    "IPv4 with options": IP(src="192.168.50.1", dst="192.168.50.102", options=[b"\x01"] * 40),
    "IPv4, not to be fragmented": IP(src="192.168.50.1", dst="192.168.50.102", flags="DF"),
    "IPv6": IPv6(src="fd50::1", dst="fd50::102"),
}
FRAMES = {
    "plain": Ether(**MACS),
    "VLAN": Ether(**MACS) / Dot1Q(vlan=7),
    "QinQ": Ether(**MACS) / Dot1AD(vlan=8) / Dot1Q(vlan=7),
    "VLAN twice": Ether(**MACS) / Dot1Q(vlan=8) / Dot1Q(vlan=7),
}
IN_FRAMES = {
    "VXLAN": UDP(sport=50000, dport=PORT) / VXLAN(vni=7, flags="Instance"),
    "GRE": GRE(proto=0x6558),
    "NVGRE": GRE(proto=0x6558, key_present=1, key=7 << 8),
    "ERSPAN I": GRE(proto=0x88BE) / ERSPAN_I(),
    "ERSPAN II": GRE(proto=0x88BE, seqnum_present=1, sequence_number=9) / ERSPAN_II(session_id=5),
    "ERSPAN III": GRE(proto=0x22EB, seqnum_present=1, sequence_number=9) / ERSPAN_III(session_id=5),
    "ERSPAN III of a platform": GRE(proto=0x22EB, seqnum_present=1, sequence_number=9)
    / ERSPAN_III(session_id=5, o=1)
    / ERSPAN_PlatformSpecific(),
}
GRE_FLAGS = ("chksum_present", "key_present", "seqnum_present")
NOTHING_INSIDE = {
    "no UDP port of VXLAN": OUTER["IPv4"] / UDP(sport=PORT, dport=PORT + 1) / VXLAN(flags="Instance") / Ether() / V4,
    "VXLAN without a network": OUTER["IPv4"] / UDP(dport=PORT) / VXLAN(flags=0) / Ether() / V4,
    "TCP": OUTER["IPv4"] / TCP(dport=PORT) / Raw(bytes(60)),
    "ICMP": OUTER["IPv6"] / ICMP() / Raw(bytes(60)),
    "a fragment": IP(flags="MF") / GRE() / V4,
    "a later fragment": IP(frag=1) / GRE() / V4,
    "a fragment of IPv6": IPv6() / IPv6ExtHdrFragment(nh=47) / GRE() / V4,
    "GRE's source routes": OUTER["IPv4"] / Raw(b"\x40\x00\x08\x00" + bytes(60)),
    "GRE version 1, of PPTP": OUTER["IPv4"] / Raw(b"\x20\x01\x88\x0b" + bytes(60)),
    "GRE with something else": OUTER["IPv4"] / GRE(proto=0x880B) / Raw(bytes(60)),
    "ARP in a frame": OUTER["IPv4"] / IN_FRAMES["VXLAN"] / Ether() / ARP(),
    "ARP behind a tag": OUTER["IPv4"] / IN_FRAMES["ERSPAN II"] / Ether() / Dot1Q() / ARP(),
    "three tags": OUTER["IPv4"] / IN_FRAMES["GRE"] / Ether() / Dot1Q() / Dot1Q() / Dot1Q() / V4,
    "an ERSPAN frame of another type": OUTER["IPv4"] / GRE(proto=0x22EB) / ERSPAN_III(ft=1) / Ether() / V4,
    "no IP": Raw(b"\x55" * 80),
}
for name in ("GRE's source routes", "GRE version 1, of PPTP"):
    NOTHING_INSIDE[name].proto = 47


def offset_in(packet: bytes, port: int = PORT) -> int:
    """Return inner_offset() of the packet, which is the same wherever it lies in memory."""
    found = inner_offset(packet, 0, len(packet), port)
    surrounded = b"\x45" * 64 + packet + b"\x45" * 64
    assert inner_offset(surrounded, 64, len(packet), port) == found
    assert inner_offset(memoryview(surrounded), 64, len(packet), port) == found
    return found


def assert_inside(tunnel: Packet, inner: Packet) -> None:
    """What was put in is found, also if the packet is cut anywhere behind where that begins, and never before."""
    packet = bytes(tunnel / inner)
    begins = len(packet) - len(bytes(inner))
    assert offset_in(packet) == begins
    assert parse_segment(Segment(), packet, begins, len(packet) - begins) == 0
    for size in range(len(packet)):
        assert offset_in(packet[:size]) == (begins if size > begins and size >= SHORTEST else 0)


@pytest.mark.parametrize("inner", [V4, V6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("kind", IN_FRAMES)
@pytest.mark.parametrize("outer", ["IPv4", "IPv6"])
def test_frames_in_tunnels(outer: str, kind: str, frame: str, inner: Packet) -> None:
    """Of each kind, with each tag, over and with each version of IP."""
    assert_inside(OUTER[outer] / IN_FRAMES[kind] / FRAMES[frame], inner)


@pytest.mark.parametrize("outer", OUTER)
@pytest.mark.parametrize("flags", range(8))
@pytest.mark.parametrize(
    ("proto", "frame", "inner"), [(0x0800, None, V4), (0x86DD, None, V6), (0x6558, FRAMES["VLAN"], V4)]
)
def test_each_of_gres_optional_fields(outer: str, flags: int, proto: int, frame: Packet | None, inner: Packet) -> None:
    """Each has four octets, a checksum with what is reserved beside it as well."""
    gre = OUTER[outer] / GRE(proto=proto, **{name: 1 for bit, name in enumerate(GRE_FLAGS) if flags >> bit & 1})
    assert_inside(gre if frame is None else gre / frame, inner)


def test_a_bare_ip_packet_in_erspan() -> None:
    """Type III says of its frame that it may be one."""
    assert_inside(OUTER["IPv4"] / GRE(proto=0x22EB, seqnum_present=1) / ERSPAN_III(ft=2), V4)


def test_tunnels_in_tunnels_are_taken_apart_once() -> None:
    """The outermost is what this host gets; a mirrored tunnel is mirrored traffic of another kind."""
    inside = IP() / GRE(proto=0x0800) / V4
    packet = bytes(OUTER["IPv4"] / GRE(proto=0x0800) / inside)
    assert offset_in(packet) == len(packet) - len(bytes(inside))


@pytest.mark.parametrize("port", [1, 8472, 65535])
def test_vxlan_on_another_port(port: int) -> None:
    """Only the destination's counts: the source's is a hash of what is inside."""
    packet = bytes(OUTER["IPv4"] / UDP(sport=PORT, dport=port) / VXLAN(flags="Instance") / Ether(**MACS) / V4)
    assert offset_in(packet, port) == 20 + 8 + 8 + 14
    assert offset_in(packet, PORT) == 0


@pytest.mark.parametrize("name", NOTHING_INSIDE)
def test_nothing_inside(name: str) -> None:
    """What is no tunnel, or has no IP packet in it, is none also when it is cut off anywhere."""
    packet = bytes(NOTHING_INSIDE[name])
    for size in range(len(packet) + 1):
        assert offset_in(packet[:size]) == 0


def test_a_header_shorter_than_a_header() -> None:
    """An outer IPv4 header says of itself that it has fewer octets than it must; they look like one of GRE."""
    packet = bytearray(bytes(IP(src="0.0.8.0") / GRE(proto=0x0800) / V4))
    for words in range(5):
        packet[0] = 0x40 | words
        assert offset_in(bytes(packet)) == 0


def test_what_lies_behind_the_buffer_is_not_read() -> None:
    """A packet that says to be longer than what is there is as long as that."""
    packet = bytes(OUTER["IPv4"] / GRE(proto=0x0800) / V4)
    for size in range(len(packet)):
        expected = 24 if size >= SHORTEST else 0
        assert inner_offset(packet[:size], 0, 1 << 20, PORT) == expected
        assert inner_offset(b"\x45" * 9 + packet[:size], 9, 1 << 20, PORT) == expected


def _all() -> Iterator[bytes]:
    for outer in OUTER.values():
        for kind in IN_FRAMES.values():
            yield bytes(outer / kind / FRAMES["QinQ"] / V4)
        for proto in (0x0800, 0x86DD):
            yield bytes(outer / GRE(proto=proto, chksum_present=1, key_present=1, seqnum_present=1) / V6)


PACKETS = list(_all())


@settings(max_examples=1000)
@given(st.sampled_from(PACKETS), st.lists(st.tuples(st.integers(0, 99), st.integers(0, 255)), max_size=4), st.data())
def test_damaged_packets(packet: bytes, changes: list[tuple[int, int]], data: st.DataObject) -> None:
    """Whatever octets say, what is found lies inside the packet, and nothing outside of it is looked at."""
    damaged = bytearray(packet)
    for at, octet in changes:
        damaged[at % len(damaged)] = octet
    cut = bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    found = offset_in(cut)
    assert found == 0 or 24 <= found < len(cut)
