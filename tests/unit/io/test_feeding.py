"""Blocks and frames of a capture ring reach the engine and the collector, each packet once."""

from __future__ import annotations

import struct
from ipaddress import ip_network

import pytest

from copytool.io.feeding import feed_block, feed_frames
from copytool.link.collector import ResponseCollector
from copytool.link.records import decode_records
from copytool.link.share import Share
from copytool.mirror.config import MirrorConfig
from copytool.mirror.engine import Engine
from copytool.mirror.mapping import ClientNetwork
from copytool.wire.build import build_segment
from copytool.wire.segment import ACK, PSH

from ..mirror.playbook import ONLINE_ISN, PORT, Scene

CLIENT, ONLINE, TARGET = bytes((10, 9, 0, 1)), bytes((192, 168, 50, 10)), bytes((192, 168, 50, 101))
MIRROR = bytes((192, 168, 60, 1))
HOST, BROADCAST = 0, 1
CHECKSUM_VALID = 1 << 7
FRAME = 256


def engine() -> Engine:
    """Return an engine that mirrors port 1025."""
    return Engine({(None, 1025): (TARGET, 1025)}, ClientNetwork([(MIRROR, 9)]), MirrorConfig())


def request(damaged: bool = False) -> bytes:
    """Return a packet of a client."""
    packet = bytearray(build_segment(CLIENT, ONLINE, 4000, 1025, 1, 1, ACK, 9, b"", b"abc"))
    packet[-1] ^= damaged
    return bytes(packet)


def block(*packets: tuple[bytes, int, int], base: int = 0) -> memoryview:
    """Return memory with a TPACKET_V3 block of (packet, type, status) at offset `base`."""
    made = bytearray(base) + struct.pack("=12xII", len(packets), 48).ljust(48, b"\0")
    for packet, kind, status in packets:
        header = struct.pack("=IIIIIIHH", 80 + len(packet), 0, 0, len(packet), len(packet), status, 0, 80)
        header = header.ljust(58, b"\0") + bytes((kind,))
        made += header.ljust(80, b"\0") + packet
    return memoryview(made)


def fail() -> None:
    """Make an exception in the engine one of the test."""
    raise


@pytest.mark.parametrize(
    ("now", "stamp", "lag_s"),
    [
        (100.0, (1_800_000_099, 750_000_000), 0.25),
        (100.0, (1_800_000_100, 500_000_000), 0.0),  # the wall clock was set back
        (100.0, (1_700_000_000, 0), 0.0),  # or forward
    ],
)
def test_the_kernels_timestamps_say_how_late_a_request_is(now: float, stamp: tuple[int, int], lag_s: float) -> None:
    """They are of the wall clock, which may be set at any time; the rest of copy goes by another one."""
    scene = Scene()
    client, _target = scene.opened()
    ends = (client.address, ONLINE, client.port, PORT)
    packet = build_segment(*ends, client.isn + 1, ONLINE_ISN + 1, ACK | PSH, 9, b"", b"abc")
    memory = bytearray(block((packet, HOST, CHECKSUM_VALID)))
    struct.pack_into("=II", memory, 48 + 4, *stamp)
    feed_block(memoryview(memory), 0, scene.engine, now, fail, 1_800_000_000.0)
    scene.engine.packets_to_send(now)
    assert scene.engine.counters.lag.to_json()["sum_s"] == pytest.approx(lag_s)
    assert scene.engine.counters.lag.count == 1


@pytest.mark.parametrize("base", [0, 4096])
def test_a_block_is_taken_in(base: int) -> None:
    """Each packet for this host counts, others do not; the checksum is checked unless the kernel has."""
    mirror = engine()
    packets = [
        (request(), HOST, CHECKSUM_VALID),
        (request(), BROADCAST, CHECKSUM_VALID),
        (request(damaged=True), HOST, CHECKSUM_VALID),
        (request(damaged=True), HOST, 0),
        (request(), HOST, 0),
    ]
    feed_block(block(*packets, base=base), base, mirror, 0.0, fail)
    assert mirror.counters.client_packets == 4
    assert mirror.counters.dropped["bad_checksum"] == 1
    assert mirror.counters.captured == 9


def test_a_packet_that_says_to_be_longer_than_the_ring() -> None:
    """What lies behind the ring's end is not read."""
    mirror = engine()
    made = block((request(), HOST, CHECKSUM_VALID))
    struct.pack_into("=I", made, 48 + 12, 1 << 20)
    struct.pack_into("!H", made, 48 + 80 + 2, 60000)  # the IP header says so, too
    feed_block(made, 0, mirror, 0.0, fail)
    assert mirror.counters.captured == 3


def frames(*packets: bytes) -> memoryview:
    """Return a ring of eight TPACKET_V2 frames, the first ones filled."""
    ring = bytearray(8 * FRAME)
    for index, packet in enumerate(packets):
        struct.pack_into("=IIIHH", ring, index * FRAME, 1 | CHECKSUM_VALID, len(packet), len(packet), 0, 64)
        ring[index * FRAME + 64 : index * FRAME + 64 + len(packet)] = packet
    return memoryview(ring)


def test_frames_are_taken_in_and_given_back() -> None:
    """From the current one on, around the end of the ring, until one is empty or the limit is reached."""
    collector = ResponseCollector()

    class Owner:
        share = Share([ip_network("192.168.60.0/24")], [(TARGET, 1025)])

    owner = Owner()
    collector.add_owner(owner, owner.share)
    answers = [build_segment(TARGET, MIRROR, 1025, port, 1, 1, ACK, 9) for port in (4001, 4002, 4003)]
    ring = frames(*answers)
    assert feed_frames(ring, FRAME, 0, collector, 2, fail) == 2
    assert feed_frames(ring, FRAME, 2, collector, 9, fail) == 3
    assert feed_frames(ring, FRAME, 3, collector, 9, fail) == 3
    ring[7 * FRAME : 8 * FRAME] = frames(answers[0])[:FRAME]
    assert feed_frames(ring, FRAME, 7, collector, 9, fail) == 0
    assert collector.counters["packets"] == 4
    records = list(decode_records(bytes(collector.take_records(owner))))
    assert [(record.ends, record.duplicate_acks) for record in records] == [
        ((MIRROR, 4001, TARGET, 1025), 1),
        ((MIRROR, 4002, TARGET, 1025), 0),
        ((MIRROR, 4003, TARGET, 1025), 0),
    ]
    assert all(struct.unpack_from("=I", ring, index * FRAME) == (0,) for index in range(8))
