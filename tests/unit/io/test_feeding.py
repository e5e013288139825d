"""Blocks and frames of a capture ring reach the engine and the collector, each packet once."""

from __future__ import annotations

import struct
from ipaddress import ip_network

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import GRE, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw

from copytool.io.feeding import OWN, SPAN, TUNNELS, feed_block, feed_frames, feed_packets, forward_block
from copytool.link.collector import ResponseCollector
from copytool.link.forwarding import CHECKED, HEAD_BYTES, check_packets
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
OTHERHOST = 3
CHECKSUM_NOT_READY = 1 << 3
CHECKSUM_VALID = 1 << 7
VXLAN_PORT = 4789
FRAME = 256


def engine() -> Engine:
    """Return an engine that mirrors port 1025."""
    return Engine({(None, 1025): (TARGET, 1025)}, ClientNetwork([(MIRROR, 9)]), MirrorConfig())


def request(damaged: bool = False) -> bytes:
    """Return a packet of a client."""
    packet = bytearray(build_segment(CLIENT, ONLINE, 4000, 1025, 1, 1, ACK, 9, b"", b"abc"))
    packet[-1] ^= damaged
    return bytes(packet)


def block(*packets: tuple[bytes, int, int], base: int = 0, captured_at: int = 0) -> memoryview:
    """Return memory with a TPACKET_V3 block of (packet, type, status) at offset `base`."""
    made = bytearray(base) + struct.pack("=12xII", len(packets), 48).ljust(48, b"\0")
    for packet, kind, status in packets:
        header = struct.pack("=IIIIIIHH", 80 + len(packet), captured_at, 0, len(packet), len(packet), status, 0, 80)
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


# -- other ways for packets to come ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("intake", "taken"), [(OWN, 1), (SPAN, 3)])
def test_a_mirror_port_shows_what_is_for_others(intake: int, taken: int) -> None:
    """There the kernel says of nearly all packets that they are; elsewhere those do not count."""
    mirror = engine()
    packets = [(request(), kind, CHECKSUM_VALID) for kind in (HOST, BROADCAST, OTHERHOST)]
    assert feed_block(block(*packets), 0, mirror, 0.0, fail, 0.0, intake) == 0
    assert mirror.counters.client_packets == taken
    assert mirror.counters.captured == 3 * taken


def vxlan(inner: bytes, port: int = VXLAN_PORT) -> bytes:
    """Return a packet with another one in it."""
    return bytes(IP() / UDP(dport=port) / VXLAN(flags="Instance") / Ether(type=0x0800) / Raw(inner))


def gre(inner: bytes) -> bytes:
    """Return a packet with another one in it."""
    return bytes(IP() / GRE(proto=0x0800) / Raw(inner))


def test_what_is_inside_of_tunnels_is_taken_in() -> None:
    """Of those for this host; what has nothing inside is counted, and is no client's packet."""
    mirror = engine()
    arp: Packet = IP() / GRE(proto=0x0806) / Raw(bytes(60))
    packets = [
        (vxlan(request()), HOST, 0),
        (gre(request()), HOST, 0),
        (vxlan(request()), OTHERHOST, 0),
        (bytes(arp), HOST, 0),
        (vxlan(request(), 8472), HOST, 0),
        (request(), HOST, 0),
    ]
    assert feed_block(block(*packets), 0, mirror, 0.0, fail, 0.0, TUNNELS, VXLAN_PORT) == 3
    assert (mirror.counters.client_packets, mirror.counters.captured) == (2, 6)
    assert feed_block(block(*packets), 0, mirror, 0.0, fail, 0.0, TUNNELS, 8472) == 3
    assert (mirror.counters.client_packets, mirror.counters.captured) == (4, 12)


@pytest.mark.parametrize(("status", "valid"), [(0, 0), (CHECKSUM_VALID, 0), (CHECKSUM_NOT_READY, 1)])
def test_the_kernel_answers_for_outer_checksums_only(status: int, valid: int) -> None:
    """Except that a packet of this host's virtual machine has none yet, and that is the innermost one's."""
    mirror = engine()
    packets = [(vxlan(request(damaged=True)), HOST, status)] * 3
    feed_block(block(*packets), 0, mirror, 0.0, fail, 0.0, TUNNELS, VXLAN_PORT)
    assert mirror.counters.dropped["bad_checksum"] == 3 * (1 - valid)
    assert mirror.counters.captured == 9 * valid


def test_a_tunnels_packet_that_says_to_be_longer_than_the_ring() -> None:
    """What lies behind the ring's end is not read, wherever the headers end."""
    whole = vxlan(request())
    for size in range(len(whole) + 1):
        mirror = engine()
        made = block((whole[:size], HOST, CHECKSUM_NOT_READY))
        struct.pack_into("=I", made, 48 + 12, 1 << 20)
        empty = feed_block(made, 0, mirror, 0.0, fail, 0.0, TUNNELS, VXLAN_PORT)
        assert (empty, mirror.counters.client_packets) in ((1, 0), (0, 1))
    assert mirror.counters.captured == 3


# -- from host to host -------------------------------------------------------------------------------------------------


def split(body: bytes) -> list[tuple[bool, int, bytes]]:
    """Return a PACKETS frame's packets, each with whether it is checked, and its age in microseconds."""
    check_packets(body)
    found = []
    while body:
        word, age = struct.unpack_from("!II", body)
        end = HEAD_BYTES + (word & ~CHECKED)
        found.append((bool(word & CHECKED), age, body[HEAD_BYTES:end]))
        body = body[end:]
    return found


@pytest.mark.parametrize("base", [0, 4096])
def test_a_block_is_forwarded(base: int) -> None:
    """Each packet for this host, as it is, with what the kernel says of its checksum; behind what is there already."""
    good, bad = request(), request(damaged=True)
    packets = [
        (good, HOST, CHECKSUM_VALID),
        (good, BROADCAST, CHECKSUM_VALID),
        (bad, HOST, CHECKSUM_NOT_READY),
        (bad, HOST, 0),
        (good, OTHERHOST, 0),
        (b"", HOST, 0),
    ]
    frame = bytearray(b"frame")
    assert forward_block(block(*packets, base=base, captured_at=100), base, frame, 100.25) == 3
    assert frame[:5] == b"frame"
    assert split(bytes(frame[5:])) == [(True, 250_000, good), (True, 250_000, bad), (False, 250_000, bad)]


@pytest.mark.parametrize(
    ("wall_clock", "age_us"),
    [(100.0, 0), (100.5, 500_000), (159.5, 59_500_000), (160.0, 0), (1e9, 0), (99.9, 0), (0.0, 0)],
)
def test_a_packets_age(wall_clock: float, age_us: int) -> None:
    """None where the wall clock was set meanwhile, so that an age is no date."""
    frame = bytearray()
    forward_block(block((request(), HOST, 0), captured_at=100), 0, frame, wall_clock)
    assert split(bytes(frame)) == [(False, age_us, request())]


def test_a_forwarded_packet_that_says_to_be_longer_than_the_ring() -> None:
    """What lies behind the ring's end is not sent."""
    made = block((request(), HOST, 0))
    struct.pack_into("=I", made, 48 + 12, 1 << 20)
    frame = bytearray()
    assert forward_block(made, 0, frame, 0.0) == 1
    assert split(bytes(frame)) == [(False, 0, request())]


def forwarded(*packets: tuple[int, int, bytes]) -> bytes:
    """Return a PACKETS frame's body of (length's highest bit, age, packet)."""
    return b"".join([struct.pack("!II", flag | len(packet), age) + packet for flag, age, packet in packets])


def test_a_frame_is_taken_in() -> None:
    """As the block that it was made from; what forward lost adds up."""
    good, bad = request(), request(damaged=True)
    packets = [(good, HOST, CHECKSUM_VALID), (bad, HOST, CHECKSUM_VALID), (bad, HOST, 0), (good, OTHERHOST, 0)]
    here, there = engine(), engine()
    feed_block(block(*packets), 0, here, 0.0, fail)
    frame = bytearray()
    forward_block(block(*packets), 0, frame, 0.0)
    assert feed_packets(bytes(frame), there, 0.0, fail) == 0
    assert there.status() == here.status()
    assert there.counters.client_packets == 3
    lost = forwarded((0, 7, b""), (CHECKED, 0, good), (0, 0xFFFFFFFF, b""), (CHECKED, 1, b""))
    assert feed_packets(lost, there, 0.0, fail) == 7 + 0xFFFFFFFF + 1
    assert there.counters.client_packets == 4


@pytest.mark.parametrize(("age_us", "lag_s"), [(0, 0.0), (250_000, 0.25), (0xFFFFFFFF, 4294.967295)])
def test_how_late_a_forwarded_request_is(age_us: int, lag_s: float) -> None:
    """What forward says of its age counts from when it comes."""
    scene = Scene()
    client, _target = scene.opened()
    ends = (client.address, ONLINE, client.port, PORT)
    packet = build_segment(*ends, client.isn + 1, ONLINE_ISN + 1, ACK | PSH, 9, b"", b"abc")
    assert feed_packets(forwarded((CHECKED, age_us, packet)), scene.engine, 5000.0, fail) == 0
    scene.engine.packets_to_send(5000.0)
    assert scene.engine.counters.lag.to_json()["sum_s"] == pytest.approx(lag_s)


class Faulty(Engine):
    """An engine with a bug that the first packets show."""

    faults = 2

    def receive_segment(self, *arguments: object) -> None:
        self.faults -= 1
        if self.faults >= 0:
            raise ZeroDivisionError
        super().receive_segment(*arguments)


@pytest.mark.parametrize("intake", [OWN, TUNNELS])
def test_a_bug_costs_a_packet(intake: int) -> None:
    """And not those behind it, in a block or in a frame."""
    failures: list[None] = []
    packet = gre(request()) if intake == TUNNELS else request()
    arguments = {(None, 1025): (TARGET, 1025)}, ClientNetwork([(MIRROR, 9)]), MirrorConfig()
    block_fed, frame_fed = Faulty(*arguments), Faulty(*arguments)
    feed_block(block(*[(packet, HOST, 0)] * 5), 0, block_fed, 0.0, lambda: failures.append(None), 0.0, intake)
    body = forwarded(*[(0, 0, request())] * 5)
    feed_packets(body, frame_fed, 0.0, lambda: failures.append(None))
    assert (block_fed.counters.client_packets, frame_fed.counters.client_packets) == (3, 3)
    assert len(failures) == 4


# -- frames of responses -----------------------------------------------------------------------------------------------


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
