"""Packets that must not get into the mirror, by what is wrong with them, and the counter that each goes to.

They are made by scapy. `hostile(ends)` gives those from one address and port to another; all of them would be the next
segment of that connection, but for one thing.
"""

from __future__ import annotations

from ipaddress import ip_address

from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.packet import Packet, Raw

__all__ = ["IPV4", "IPV6", "hostile"]

_OPTIONS = {
    "option of length 0": b"\x02\x04\x05\xb4\x03\x00\x07\x00",
    "option of length 1": b"\xfe\x01\x02\x04\x05\xb4\x00\x00",
    "option beyond the header": b"\x02\x04\x05\xb4\x03\x09\x07\x00",
    "option without a length": b"\x01\x01\x01\x03",
}

_COMMON = (
    ("cut before the TCP header", "truncated"),
    ("cut inside the TCP header", "truncated"),
    ("cut inside the TCP options", "truncated"),
    ("data offset 4", "bad_header"),
    ("data offset 0", "bad_header"),
    ("data offset beyond the packet", "bad_header"),
    *((name, "bad_options") for name in _OPTIONS),
    ("LAND", "land"),
    ("LAND, SYN", "land"),
)

IPV4 = (
    ("cut inside the IP header", "truncated"),
    *_COMMON,
    ("IHL 0", "bad_header"),
    ("IHL 4", "bad_header"),
    ("IHL 15 beyond the packet", "bad_header"),
    ("length inside the headers", "bad_header"),
    ("first fragment", "fragment"),
    ("middle fragment", "fragment"),
    ("last fragment", "fragment"),
)
"""What may be wrong with IPv4 packets, and the reason that each is counted by."""

IPV6 = (
    ("cut inside the IP header", "truncated"),
    *_COMMON,
    ("fragment header", "fragment"),
    ("fragment header behind others", "fragment"),
    ("chain of 9 headers", "bad_extensions"),
    ("chain of 1000 headers", "bad_extensions"),
    ("hop-by-hop header not first", "bad_extensions"),
    ("routing header with segments left", "bad_extensions"),
    ("extension header beyond the packet", "truncated"),
    ("unknown extension header", "not_tcp"),
    ("no next header", "not_tcp"),
)
"""What may be wrong with IPv6 packets, and the reason that each is counted by."""

Ends = tuple[bytes, int, bytes, int]


def hostile(what: str, ends: Ends, seq: int, ack: int) -> bytes:
    """Return a packet of IPV4 or IPV6, as the addresses say."""
    src, src_port, dst, dst_port = ends
    if what.startswith("LAND"):
        src, src_port = dst, dst_port
    names = {"src": str(ip_address(src)), "dst": str(ip_address(dst))}
    flags = "S" if what in _OPTIONS or what == "LAND, SYN" else "PA"
    options = [("Timestamp", (1, 0))] if what == "cut inside the TCP options" else []
    tcp = TCP(sport=src_port, dport=dst_port, seq=seq, ack=0 if flags == "S" else ack, flags=flags, options=options)
    payload = Raw(b"" if flags == "S" else b"hostile")
    if what in _OPTIONS:
        tcp.dataofs = 5 + len(_OPTIONS[what]) // 4
        payload = Raw(_OPTIONS[what])
    made = _ipv4(what, IP(**names), tcp / payload) if len(src) == 4 else _ipv6(what, IPv6(**names), tcp / payload)
    headers = len(made) - len(bytes(tcp / payload))
    if what.startswith("cut"):
        inside = {
            "IP header": 19,
            "before the TCP header": headers + 5,
            "TCP header": headers + 19,
            "TCP options": headers + 25,
        }
        return made[: next(size for text, size in inside.items() if text in what)]
    if what.startswith("data offset"):
        changed = bytearray(made)
        changed[headers + 12] = {"4": 0x40, "0": 0x00}.get(what[-1], 0xF0)
        return bytes(changed)
    return made


def _ipv4(what: str, ip: IP, segment: Packet) -> bytes:
    if what == "first fragment":
        ip.flags = "MF"
    elif what == "middle fragment":
        ip.flags, ip.frag = "MF", 3
    elif what == "last fragment":
        ip.frag = 5
    elif what == "length inside the headers":
        ip.len = 39
    if what.startswith("IHL"):
        packet = bytearray(bytes(ip / segment) + bytes(60))
        packet[0] = 0x40 | int(what.split()[1])
        return bytes(packet)
    return bytes(ip / segment)


def _ipv6(what: str, ip: IPv6, segment: Packet) -> bytes:
    options = IPv6ExtHdrDestOpt()
    if what.startswith("chain of"):
        count = int(what.split()[2])
        chain = bytes((60, 0, 1, 4, 0, 0, 0, 0)) * (count - 1) + bytes((6, 0, 1, 4, 0, 0, 0, 0))
        ip.nh = 60
        return bytes(ip / Raw(chain + bytes(IPv6(src=ip.src, dst=ip.dst) / segment)[40:]))
    headers: dict[str, Packet] = {
        "fragment header": IPv6ExtHdrFragment(m=1),
        "fragment header behind others": IPv6ExtHdrHopByHop() / options / IPv6ExtHdrFragment(offset=9),
        "hop-by-hop header not first": options / IPv6ExtHdrHopByHop(),
        "routing header with segments left": IPv6ExtHdrRouting(addresses=["fd00::9"], segleft=1),
        "extension header beyond the packet": IPv6ExtHdrDestOpt(len=200),
        "unknown extension header": IPv6ExtHdrDestOpt(nh=253),
    }
    if what in headers:
        return bytes(ip / headers[what] / segment)
    if what == "no next header":
        ip.nh = 59
    return bytes(ip / segment)
