"""Changes to IP packets with a TCP segment: header fields, options, extension headers, cuts, checksums put right."""

from __future__ import annotations

import struct
from random import Random

from .mutation import below, mutate_octets

__all__ = ["SEEDS", "fix_checksums", "mutate_packet", "raw_packet"]

_EXTENSIONS = bytes((0, 43, 44, 50, 51, 59, 60, 135, 139, 140, 6, 17, 58))
_FLAGS = bytes((0x02, 0x10, 0x18, 0x11, 0x04, 0x14, 0x12, 0x06, 0x13, 0x30, 0x00, 0x3F, 0xFF))
_OPTIONS = (
    b"\x00", b"\x01", b"\x02\x04\x05\xb4", b"\x03\x03\x07", b"\x04\x02", b"\x08\x0a" + bytes(8), b"\x02\x00",
    b"\x02\x01",
    b"\x03\x00", b"\x03\xff", b"\xfe\x00", b"\xfe\x01", b"\x05\x0a" + bytes(8), b"\x1e\x0c" + bytes(10), b"\x02",
    b"\x22\x02",
    b"\x02\x04\x00\x00", b"\x03\x03\xff",
)  # fmt: skip
_NEAR = (1, 1, 2, 3, 5, 10, 100, 1459, 1460, 65535, -1, -1, -2, -5, -100, -1460)
_FAR = (1 << 31, (1 << 31) - 1, 1 << 30, 1 << 20, 0x10001, -(1 << 20))
_WINDOWS = (0, 1, 50, 536, 1460, 29200, 65535)


def raw_packet(
    src: bytes,
    dst: bytes,
    ports: tuple[int, int],
    seq: int = 1,
    ack: int = 0,
    flags: int = 0x10,
    window: int = 65535,
    options: bytes = b"",
    payload: bytes = b"",
    extensions: tuple[tuple[int, int], ...] = (),
    urgent: int = 0,
) -> bytes:
    """Return a packet with right checksums, made without the code that is tested.

    extensions: (type, length field) of each IPv6 extension header, filled with zeros.
    """
    options += b"\0" * (-len(options) % 4)
    tcp = struct.pack(
        "!HHIIBBHHH", *ports, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, (20 + len(options)) << 2, flags, window, 0, urgent
    )
    tcp += options + payload
    if len(src) == 4:
        header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0x4000, 64, 6, 0) + src + dst
    else:
        chain = b""
        for index, (_, units) in enumerate(extensions):
            follows = extensions[index + 1][0] if index + 1 < len(extensions) else 6
            chain += bytes((follows, units)) + bytes(6 + 8 * units)
        first = extensions[0][0] if extensions else 6
        header = struct.pack("!IHBB", 0x60000000, len(chain) + len(tcp), first, 64) + src + dst + chain
    packet = bytearray(header + tcp)
    fix_checksums(packet)
    return bytes(packet)


def fix_checksums(packet: bytearray) -> None:
    """Make both checksums right, if the packet has the headers for that."""
    if len(packet) < 40:
        return
    if packet[0] >> 4 == 4:
        start = (packet[0] & 15) << 2
        if not 20 <= start <= len(packet) - 20:
            return
        packet[10:12] = b"\0\0"
        packet[10:12] = _sum(packet[:start])
        addresses = packet[12:20]
    else:
        start, following = 40, packet[6]
        while following in (0, 43, 60) and start + 8 <= len(packet):
            following = packet[start]
            start += (packet[start + 1] + 1) << 3
        if start > len(packet) - 20:
            return
        addresses = packet[8:40]
    end = len(packet)
    packet[start + 16 : start + 18] = b"\0\0"
    pseudo = bytes(addresses) + struct.pack("!II", end - start & 0xFFFFFFFF, 6)
    packet[start + 16 : start + 18] = _sum(pseudo + packet[start:end])


def _sum(octets: bytes | bytearray) -> bytes:
    number = int.from_bytes(octets, "big")
    if len(octets) & 1:
        number <<= 8
    return ((0xFFFF - number % 0xFFFF) or 0xFFFF).to_bytes(2, "big")


def mutate_packet(data: bytes, random: Random) -> bytes:
    """Change a packet in one or two places; often with lengths and checksums put right."""
    packet = bytearray(data)
    if len(packet) < 40:
        mutate_octets(packet, random)
        return bytes(packet)
    kind = random.random()
    is_ipv4 = packet[0] >> 4 == 4
    if kind < 0.6:
        _change_tcp(packet, _tcp_start(packet, is_ipv4), is_ipv4, random)
    elif kind < 0.85:
        (_change_ipv4 if is_ipv4 else _change_ipv6)(packet, random)
    else:
        mutate_octets(packet, random)
    if random.random() < 0.5 and len(packet) >= 40:
        if random.random() < 0.5:
            _fix_length(packet)
        fix_checksums(packet)
    return bytes(packet)


def _tcp_start(packet: bytearray, is_ipv4: bool) -> int:
    if is_ipv4:
        return (packet[0] & 15) << 2
    start, following = 40, packet[6]
    while following in (0, 43, 60) and start + 8 <= len(packet):
        following = packet[start]
        start += (packet[start + 1] + 1) << 3
    return start


def _fix_length(packet: bytearray) -> None:
    if len(packet) < 40:
        return
    size = len(packet) & 0xFFFF
    if packet[0] >> 4 == 4:
        packet[2:4] = size.to_bytes(2, "big")
    else:
        packet[4:6] = max(size - 40, 0).to_bytes(2, "big")


def _add32(packet: bytearray, at: int, random: Random) -> None:
    far = random.random() < 0.15
    step = _FAR[below(random, len(_FAR))] if far else _NEAR[below(random, len(_NEAR))]
    number = int.from_bytes(packet[at : at + 4], "big") + step
    packet[at : at + 4] = (number & 0xFFFFFFFF).to_bytes(4, "big")


def _change_tcp(packet: bytearray, start: int, is_ipv4: bool, random: Random) -> None:
    if start + 20 > len(packet):
        mutate_octets(packet, random)
        return
    kind = below(random, 11)
    if kind < 2:
        _add32(packet, start + 4, random)
    elif kind == 2:
        _add32(packet, start + 8, random)
    elif kind < 5:
        packet[start + 13] = _FLAGS[below(random, len(_FLAGS))]
    elif kind == 5:
        packet[start + 12] = below(random, 16) << 4
    elif kind == 6:
        packet[start + 14 : start + 16] = _WINDOWS[below(random, len(_WINDOWS))].to_bytes(2, "big")
    elif kind == 7:
        packet[start + 18 : start + 20] = below(random, 70).to_bytes(2, "big")
        packet[start + 13] |= 0x20
    elif kind == 8:
        packet[start + below(random, 4)] = below(random, 256)
    elif kind == 9:
        _put_options(packet, start, random)
    else:
        header = (packet[start + 12] >> 4) << 2
        payload = random.randbytes(below(random, 40)) if random.random() < 0.9 else bytes(below(random, 4000))
        packet[start + header :] = payload
        _fix_length(packet)


def _put_options(packet: bytearray, start: int, random: Random) -> None:
    options = b"".join([_OPTIONS[below(random, len(_OPTIONS))] for _ in range(below(random, 6))])[:40]
    options += (b"\0" if random.random() < 0.5 else b"\x01") * (-len(options) % 4)
    header = (packet[start + 12] >> 4) << 2
    packet[start + 20 : start + max(header, 20)] = options
    packet[start + 12] = (20 + len(options)) << 2
    _fix_length(packet)


def _change_ipv4(packet: bytearray, random: Random) -> None:
    kind = below(random, 8)
    if kind == 0:
        packet[0] = (packet[0] & 0xF0) | below(random, 16)
    elif kind == 1:
        packet[0] = below(random, 256)
    elif kind == 2:
        length = (0, 19, 20, 39, 40, 41, len(packet), len(packet) - 1, len(packet) + 1, 65535)[below(random, 10)]
        packet[2:4] = length.to_bytes(2, "big")
    elif kind == 3:
        packet[6:8] = (0, 0x2000, 1, 0x2001, 0x1FFF, 0x4000, 0x8000)[below(random, 7)].to_bytes(2, "big")
    elif kind == 4:
        packet[9] = (6, 17, 1, 0, 41, 255)[below(random, 6)]
    elif kind == 5:  # LAND
        packet[12:16] = packet[16:20]
        if random.random() < 0.8:
            packet[20:22] = packet[22:24]
    elif kind == 6:
        packet[12 + below(random, 8)] = below(random, 256)
    else:
        del packet[below(random, len(packet)) :]


def _change_ipv6(packet: bytearray, random: Random) -> None:
    kind = below(random, 8)
    if kind < 3:
        units = below(random, 3) if random.random() < 0.9 else below(random, 256)
        for _ in range(1 if random.random() < 0.8 else below(random, 12)):
            header = bytes((packet[6], units)) + bytes(6 + 8 * min(units, 4))
            packet[6] = _EXTENSIONS[below(random, len(_EXTENSIONS))]
            packet[40:40] = header
        _fix_length(packet)
    elif kind == 3:
        length = (0, 1, 19, 20, len(packet) - 40, len(packet) - 41, len(packet), 65535)[below(random, 8)]
        packet[4:6] = (length & 0xFFFF).to_bytes(2, "big")
    elif kind == 4:
        packet[6] = _EXTENSIONS[below(random, len(_EXTENSIONS))]
    elif kind == 5:
        packet[8:24] = packet[24:40]
        if random.random() < 0.8 and len(packet) >= 44:
            start = _tcp_start(packet, False)
            packet[start : start + 2] = packet[start + 2 : start + 4]
    elif kind == 6:
        at = 40 + below(random, max(len(packet) - 40, 1))
        packet[at : at + 2] = b"\0\xff"
    else:
        del packet[below(random, len(packet)) :]


_V4 = (bytes((10, 9, 0, 1)), bytes((192, 168, 50, 10)), (40000, 1025))
_V6 = (bytes.fromhex("fd00" + "00" * 13 + "01"), bytes.fromhex("fd00" + "00" * 13 + "02"), (40000, 1025))
_SYN_OPTIONS = bytes.fromhex("020405b4 0402 080a0000000100000000 01 030307")

SEEDS = [
    raw_packet(*_V4, flags=0x02, options=_SYN_OPTIONS),
    raw_packet(*_V4, flags=0x18, ack=7, payload=b"GET / HTTP/1.1\r\n\r\n"),
    raw_packet(*_V4, flags=0x10, ack=7, options=bytes.fromhex("0101080a0000000200000001")),
    raw_packet(*_V4, flags=0x11, ack=7),
    raw_packet(*_V4, flags=0x14, ack=7),
    raw_packet(*_V4, flags=0x38, ack=7, payload=b"urgent", urgent=3),
    raw_packet(*_V6, flags=0x02, options=_SYN_OPTIONS),
    raw_packet(*_V6, flags=0x18, ack=7, payload=b"abc", extensions=((0, 0),)),
    raw_packet(*_V6, flags=0x18, ack=7, payload=b"abc", extensions=((0, 0), (43, 2), (60, 1))),
    raw_packet(*_V6, flags=0x18, ack=7, payload=b"abc", extensions=((44, 0),)),
    raw_packet(*_V6, flags=0x10, ack=7, extensions=tuple((60, 0) for _ in range(9))),
    raw_packet(_V4[0], _V4[0], (1025, 1025), flags=0x02),
    raw_packet(_V6[0], _V6[0], (1025, 1025), flags=0x02),
]
"""Packets of each kind that there is, and some that there should not be."""
