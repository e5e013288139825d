"""Tunnels that carry mirrored packets: what is found inside lies inside, and an engine takes it in."""

from __future__ import annotations

from collections.abc import Hashable
from random import Random

from copytool.io.feeding import TUNNELS, feed_block
from copytool.wire.segment import DROP_REASONS, Segment, parse_segment
from copytool.wire.tunnel import inner_offset

from ..mutation import below, mutate_octets
from ..packets import SEEDS, mutate_packet
from ..target import Target
from .captured import block
from .records import Drive, fail

__all__ = ["TARGETS"]

_PORT = 4789
_TAIL = b"\x45" * 64
_IPV4 = bytes.fromhex("4500ffff00004000401100000a0000010a000002")
_IPV6 = bytes.fromhex("60000000ffff1140") + bytes(15) + b"\1" + bytes(15) + b"\2"
_MACS = bytes(12)
_VXLAN = bytes.fromhex("c35012b5ffff0000 0800000000000700")
_ERSPAN_2, _ERSPAN_3 = bytes.fromhex("1000000500000000"), bytes.fromhex("200000050000000000000000")
_PLATFORM = bytes.fromhex("200000050000000000000001") + bytes(8)
_BARE_IP = bytes.fromhex("200000050000000000000008")
_WORDS = (
    b"\x08\x00", b"\x86\xdd", b"\x81\x00", b"\x88\xa8", b"\x65\x58", b"\x88\xbe", b"\x22\xeb", b"\x12\xb5",
    b"\x81\0\0\7",
    b"\x88\xa8\0\7", b"\xb0\0", b"\x20\0", b"\x10\0", b"\x80\0", b"\x40\0", b"\0\1", b"\x2f", b"\x11", b"\x45", b"\x4f",
    b"\x60", b"\x20\0\0\x05",
)  # fmt: skip


class _Tunnel:
    """inner_offset(), and feed_block() with what it finds."""

    def __init__(self) -> None:
        self._drive = Drive()
        self._segment = Segment()

    def __call__(self, data: bytes) -> Hashable:
        drive, size = self._drive, len(data)
        found = inner_offset(data, 0, size, _PORT)
        assert found == 0 or 24 <= found < size, "it lies outside"
        surrounded = _TAIL + data + _TAIL
        assert inner_offset(surrounded, 64, size, _PORT) == found, "it looks beyond the packet"
        assert inner_offset(_TAIL + data, 64, 1 << 20, _PORT) == found, "it looks beyond the buffer"
        counters = drive.engine.counters
        seen = counters.client_packets
        drive.now += 0.001
        empty = feed_block(block([(0, data)]), 0, drive.engine, drive.now, fail, 0.0, TUNNELS, _PORT)
        assert (empty, counters.client_packets - seen) == ((0, 1) if found else (1, 0))
        drive.send()
        drive.check()
        reason = parse_segment(self._segment, data, found, size - found) if found else -1
        assert reason < len(DROP_REASONS)
        return found, reason

    def finish(self) -> None:
        """Everything adds up when all is shut down."""
        self._drive.finish()


def _gre(flags: int, kind: int, inside: bytes) -> bytes:
    """Return a GRE header with the fields that its flags announce."""
    return flags.to_bytes(2, "big") + kind.to_bytes(2, "big") + bytes(4 * (flags >> 12 & 0b1011).bit_count()) + inside


def _seeds() -> list[bytes]:
    seeds = []
    for index, packet in enumerate(SEEDS[:9]):
        kind = b"\x08\x00" if packet[0] >> 4 == 4 else b"\x86\xdd"
        frame = _MACS + (b"", b"\x81\0\0\7", b"\x88\xa8\0\x08\x81\0\0\7")[index % 3] + kind + packet
        in_gre = (
            _gre(0, int.from_bytes(kind, "big"), packet),
            _gre(0xB000, 0x6558, frame),
            _gre(0, 0x88BE, frame),
            _gre(0x1000, 0x88BE, _ERSPAN_2 + frame),
            _gre(0x1000, 0x22EB, _ERSPAN_3 + frame),
            _gre(0x1000, 0x22EB, _PLATFORM + frame),
            _gre(0x1000, 0x22EB, _BARE_IP + packet),
        )[index % 7]
        seeds += [_IPV4 + _VXLAN + frame, _IPV6[:6] + b"\x2f" + _IPV6[7:] + in_gre]
        seeds.append(_IPV4[:9] + b"\x2f" + _IPV4[10:] + in_gre)
    return seeds


def _mutate(data: bytes, random: Random) -> bytes:
    """Change the tunnel, or what is inside."""
    found = inner_offset(data, 0, len(data), _PORT)
    if found and random.random() < 0.4:
        return data[:found] + mutate_packet(data[found:], random)
    if found and random.random() < 0.1:
        return data[:found] + SEEDS[below(random, len(SEEDS))]
    headers = bytearray(data[:found] if found and random.random() < 0.8 else data)
    rest = data[found:] if len(headers) == found else b""
    for _ in range(1 + below(random, 3)):
        mutate_octets(headers, random, _WORDS)
    return bytes(headers) + rest


TARGETS = (
    Target(
        "tunnel",
        "what is inside lies inside, wherever the packet lies; it is taken in once, and everything adds up",
        _Tunnel,
        _seeds,
        _mutate,
    ),
)
