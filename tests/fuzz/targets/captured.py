"""Captured packets: the parser, intercept's collector, and the capture rings' memory."""

from __future__ import annotations

import struct
from collections.abc import Hashable
from ipaddress import ip_network
from random import Random

from copytool.io.feeding import feed_block, feed_frames
from copytool.link.collector import RECORDS_PER_FRAME, ResponseCollector
from copytool.link.records import RECORD_SIZE, decode_records
from copytool.link.share import Share
from copytool.mirror.config import MirrorConfig
from copytool.mirror.engine import Engine
from copytool.mirror.mapping import ClientNetwork
from copytool.wire.segment import DROP_REASONS, SYN, Segment, are_checksums_valid, parse_segment

from ..mutation import below, decode_items, encode_items, mutate_items
from ..packets import SEEDS, mutate_packet, raw_packet
from ..target import Target

__all__ = ["TARGETS", "Owner", "ResponseCollector", "block", "check_records"]

_FIELDS = struct.Struct("!HHIIBBHHH")
_TAIL = b"\xff" * 64


class _Parse:
    """parse_segment() and are_checksums_valid()."""

    def __init__(self) -> None:
        self._segment = Segment()
        self._again = Segment()

    def __call__(self, data: bytes) -> Hashable:
        segment = self._segment
        reason = parse_segment(segment, data)
        assert 0 <= reason < len(DROP_REASONS)
        shifted = self._again
        in_between = _TAIL + data + _TAIL
        assert parse_segment(shifted, in_between, 64, len(data)) == reason, "it looks beyond the packet"
        if reason:
            return reason
        self._check(segment, data)
        assert (shifted.key, shifted.payload_len, shifted.captured_len, shifted.mss, shifted.window_scale) == (
            segment.key, segment.payload_len, segment.captured_len, segment.mss, segment.window_scale
        )  # fmt: skip
        valid = are_checksums_valid(segment, data)
        assert are_checksums_valid(shifted, in_between) == valid
        return valid, len(segment.key), segment.flags & SYN and (segment.mss > 0, segment.window_scale >= 0)

    @staticmethod
    def _check(segment: Segment, data: bytes) -> None:
        """All fields are those of the packet, and what they index is inside it."""
        start = segment.tcp_start
        size = segment.payload_start - start
        assert segment.ip_start + 20 <= start and 20 <= size <= 60
        assert 0 <= segment.captured_len <= segment.payload_len
        assert segment.payload_start + segment.captured_len <= len(data)
        _, _, seq, ack, offset, flags, window, _, urgent = _FIELDS.unpack_from(data, start)
        assert (segment.seq, segment.ack, segment.flags, segment.window) == (seq, ack, flags, window)
        assert offset >> 4 << 2 == size
        assert segment.urgent == ((urgent or 1) if flags & 0x20 else 0)
        addresses = data[12:20] if data[0] >> 4 == 4 else data[8:40]
        assert segment.key == addresses + data[start : start + 4]
        half = len(addresses) // 2
        assert addresses[:half] != addresses[half:] or segment.key[-4:-2] != segment.key[-2:], "a LAND packet"
        assert 0 <= segment.mss <= 0xFFFF and -1 <= segment.window_scale <= 14

    def finish(self) -> None:
        """Nothing is left of it."""


# -- responses -------------------------------------------------------------------------------------------------------

_TARGET, _MIRROR, _PORTS = bytes((192, 168, 50, 101)), bytes((192, 168, 60, 7)), (1025, 40000)
_TARGET6, _MIRROR6 = bytes.fromhex("fd50" + "00" * 13 + "65"), bytes.fromhex("fd60" + "00" * 13 + "07")
_CHECKED, _TAKE, _GO, _COME = 1, 2, 4, 8


class Owner:
    """Stands for a link connection."""

    def __init__(self) -> None:
        networks = [ip_network("192.168.60.0/24"), ip_network("fd60::/64")]
        self.share = Share(networks, [(_TARGET, 1025), (_TARGET6, 1025)])


class _Collect:
    """ResponseCollector: the first octet says what happens beside the packet that follows."""

    def __init__(self) -> None:
        self._collector = ResponseCollector()
        self._owner: Owner | None = None
        self._pending = 0

    def __call__(self, data: bytes) -> Hashable:
        collector, counters = self._collector, self._collector.counters
        before = dict(counters)
        what = data[0] if data else 0
        if what & _COME and self._owner is None:
            self._owner = Owner()
            collector.add_owner(self._owner, self._owner.share)
        collector.receive_packet(data[1:], bool(what & _CHECKED))
        grown = [key for key, count in counters.items() if count != before[key]]
        assert counters["packets"] == before["packets"] + 1
        assert len(grown) <= 2 and sum(counters.values()) <= sum(before.values()) + 2, "counted twice"
        taken = check_records(collector, self._owner) if what & _TAKE and self._owner is not None else 0
        if what & _GO and self._owner is not None:
            collector.remove_owner(self._owner)
            self._owner = None
        return tuple(grown), taken > 0

    def finish(self) -> None:
        """All that was remembered can be taken."""
        if self._owner is not None:
            while check_records(self._collector, self._owner):
                pass


def check_records(collector: ResponseCollector, owner: Owner) -> int:
    """Take a frame of records, which are the owner's; return its size."""
    body = collector.take_records(owner)
    assert len(body) <= RECORDS_PER_FRAME * RECORD_SIZE
    for record in decode_records(bytes(body)):
        mirror, _, target, port = record.ends
        assert owner.share.owns(mirror) and (target, port) in owner.share.targets
        assert -1 <= record.window_scale <= 14
    return len(body)


def _responses() -> list[bytes]:
    packets = [
        raw_packet(_TARGET, _MIRROR, _PORTS, 9, 8, 0x12, options=b"\x02\x04\x05\xb4\x03\x03\x07"),
        raw_packet(_TARGET, _MIRROR, _PORTS, 10, 8, 0x10),
        raw_packet(_TARGET, _MIRROR, _PORTS, 10, 8, 0x18, payload=b"HTTP/1.1 200 OK"),
        raw_packet(_TARGET, _MIRROR, _PORTS, 25, 9, 0x11),
        raw_packet(_TARGET, _MIRROR, _PORTS, 25, 9, 0x04),
        raw_packet(_TARGET, _MIRROR, _PORTS, 10, 8, 0x18, payload=b"x" * 1448)[:128],
        raw_packet(_TARGET6, _MIRROR6, _PORTS, 9, 8, 0x12, extensions=((0, 0),)),
        raw_packet(_TARGET6, _MIRROR6, _PORTS, 10, 8, 0x18, payload=b"HTTP/1.1 200 OK"),
        raw_packet(_MIRROR, _MIRROR, (1025, 1025), 10, 8, 0x10),
    ]
    kinds = (_COME | _CHECKED, _COME, _COME | _TAKE, _CHECKED | _TAKE, _CHECKED | _GO)
    return [bytes((kinds[index % len(kinds)],)) + packet for index, packet in enumerate([*packets, *SEEDS])]


def _mutate_response(data: bytes, random: Random) -> bytes:
    what = data[0] if data and random.random() < 0.7 else below(random, 16) | _COME
    return bytes((what,)) + mutate_packet(data[1:], random)


# -- the rings' memory -----------------------------------------------------------------------------------------------

_FRAME = 256


def _fail() -> None:
    raise


class _Rings:
    """Blocks and frames as the kernel writes them, with hostile packets in them.

    Each item is a packet; its kind has the packet's type and whether the kernel has checked it.
    """

    def __init__(self) -> None:
        network = ClientNetwork([(bytes((192, 168, 60, 1)), 254)])
        self._engine = Engine({(None, 1025): (_TARGET, 1025)}, network, MirrorConfig())
        self._collector = ResponseCollector()
        self._collector.add_owner(self, Owner().share)
        self._now = 100.0
        self._frame = 0

    @property
    def share(self) -> None:
        """No part of it matters here."""

    def __call__(self, data: bytes) -> Hashable:
        items = decode_items(data, 256)[:64]
        self._now += 0.001
        counters = self._engine.counters
        before = counters.client_packets, sum(counters.dropped.values())
        feed_block(block(items), 0, self._engine, self._now, _fail, 0.0)
        assert counters.client_packets - before[0] == sum(1 for kind, _ in items if not kind & 7)
        frames, current = _frames(items, self._frame)
        responses = self._collector.counters["packets"]
        self._frame = feed_frames(frames, _FRAME, current, self._collector, 1000, _fail)
        assert self._frame == (current + len(items)) % 64
        assert self._collector.counters["packets"] == responses + len(items)
        self._engine.packets_to_send(self._now)
        return sum(counters.dropped.values()) - before[1]

    def finish(self) -> None:
        """Everything adds up."""
        assert self._engine.imbalance() == []
        while self._collector.take_records(self):
            pass


def block(items: list[tuple[int, bytes]]) -> memoryview:
    """Return a TPACKET_V3 block (linux/if_packet.h)."""
    made = bytearray(struct.pack("=12xII", len(items), 48).ljust(48, b"\0"))
    for kind, packet in items:
        size = 80 + len(packet)
        status = (kind >> 3 & 1) << 7
        header = struct.pack("=IIIIIIHH", size, 100, kind, len(packet), len(packet), status, 0, 80).ljust(58, b"\0")
        made += (header + bytes((kind & 7,))).ljust(80, b"\0") + packet
    return memoryview(made)


def _frames(items: list[tuple[int, bytes]], current: int) -> tuple[memoryview, int]:
    """Return a ring of 64 TPACKET_V2 frames, of which those from `current` on hold the packets, cut to what fits."""
    memory = bytearray(_FRAME * 64)
    for index, (kind, packet) in enumerate(items):
        at = (current + index) % 64 * _FRAME
        captured = packet[:128]
        status = 1 | (kind >> 3 & 1) << 7
        struct.pack_into("=IIIHH", memory, at, status, len(packet), len(captured), 66, 80)
        memory[at + 80 : at + 80 + len(captured)] = captured
    return memoryview(memory), current


def _ring_seeds() -> list[bytes]:
    return [
        encode_items([(8, packet) for packet in SEEDS[:6]]),
        encode_items([(0, packet[1:]) for packet in _responses()]),
    ]


def _mutate_ring(data: bytes, random: Random) -> bytes:
    return mutate_items(data, random, _change_ring_item)


def _change_ring_item(kind: int, packet: bytes, random: Random) -> tuple[int, bytes]:
    if random.random() < 0.2:
        kind = below(random, 16)
    return kind, mutate_packet(packet, random)


TARGETS = (
    Target(
        "packet",
        "a reason or a segment whose fields are those of the packet and lie inside it, wherever the packet lies",
        _Parse,
        lambda: list(SEEDS),
        mutate_packet,
    ),
    Target(
        "response",
        "each packet counted once; only records of configured targets to the share's addresses, in bounded frames",
        _Collect,
        _responses,
        _mutate_response,
    ),
    Target(
        "ring",
        "each packet of a block or frame is taken in once, none costs another; everything adds up",
        _Rings,
        _ring_seeds,
        _mutate_ring,
    ),
)
