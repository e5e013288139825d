"""The engine alone, from memory: what a captured segment and a session cost it, without kernel and network.

    python -m bench.engine [--sessions 10,1000,100000] [--segments N]

Each segment is a request of 90 octets on a connection that asks and waits. Its cost includes everything that it causes:
the packet for the target, the record of the target's answer, the timers. Captured packets and records lie in memory as
they do in a capture ring and in a frame of the link. The first segment on a session that was idle wakes it up, and is
shown by itself.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from copytool.flavour import flavour
from copytool.io.feeding import feed_block
from copytool.link.records import ResponseRecord, encode_record
from copytool.mirror.config import MirrorConfig
from copytool.mirror.engine import Engine
from copytool.mirror.mapping import ClientNetwork
from copytool.wire.build import build_options, build_segment
from copytool.wire.flow import FlowEnds
from copytool.wire.segment import ACK, PSH, SYN, Segment, parse_segment

ONLINE = bytes((192, 168, 50, 10))
TARGET = bytes((192, 168, 50, 101))
PORT = 1025
CLIENT_ISN, ONLINE_ISN, TARGET_ISN = 1000, 5000, 9000
REQUEST = b"GET /0123456789 HTTP/1.1\r\nHost: 192.168.50.10:1025\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"
ANSWER_BYTES = 200
BATCH = 64
"""Segments taken in before packets are fetched, and records in one frame: what a loaded daemon sees."""
SETTLE_S = 2.0
"""From the last session's opening until memory is looked at."""

_BLOCK_HEADER = 48
_PACKET_HEADER = 80
_CHECKSUM_VALID = 1 << 7

Batch = tuple[memoryview, int, bytes]
"""(block of a capture ring, number of packets in it, records of the answers)"""


class Load:
    """An engine with `count` open sessions, and the traffic on them."""

    def __init__(self, count: int) -> None:
        network = ClientNetwork([(bytes((10, 60, 0, 1)), 60_000)])
        self.engine = Engine({(None, PORT): (TARGET, PORT)}, network, MirrorConfig(max_sessions=count))
        self.now = 0.0
        self.engine.set_feedback(True, self.now)
        self.clients = [
            (bytes((10, number >> 16 & 255, number >> 8 & 255, number & 255)), 40_000) for number in range(count)
        ]

    def open(self) -> None:
        """Open every session, some at a time, while the clock goes on; then let idle ones settle."""
        options = build_options(1460, 7)
        step_s = SETTLE_S * BATCH / len(self.clients)
        for first in range(0, len(self.clients), BATCH):
            for client, port in self.clients[first : first + BATCH]:
                ends = (client, ONLINE, port, PORT)
                self._take(build_segment(*ends, CLIENT_ISN, 0, SYN, 65535, options))
                self._take(build_segment(*ends, CLIENT_ISN + 1, ONLINE_ISN + 1, ACK, 65535))
            for packet, _ in self.engine.packets_to_send(self.now):
                self.engine.receive_records(self._accept(packet, options), self.now, fail)
            self.drain()
            self.pass_time(step_s)
        self.pass_time(SETTLE_S)

    def _accept(self, syn: bytearray, options: bytes) -> bytes:
        segment = Segment()
        parse_segment(segment, syn)
        ends = (segment.src, segment.src_port, segment.dst, segment.dst_port)
        return self._record(ends, SYN | ACK, TARGET_ISN, CLIENT_ISN + 1, options=options)

    def pass_time(self, seconds: float) -> None:
        """Let the clock go on, and timers fire when they are due."""
        end = self.now + seconds
        while (due := self.engine.next_timer()) <= end:
            self.now = max(due, self.now)
            self.engine.handle_timer(self.now)
            self.drain()
        self.now = end

    def _take(self, packet: bytes) -> None:
        self.engine.receive_segment(packet, self.now, True)

    def drain(self) -> int:
        """Fetch everything the engine wants to send; return how many packets that was."""
        packets = 0
        while self.engine.is_busy():
            packets += len(self.engine.packets_to_send(self.now, BATCH))
        return packets

    def _record(self, ends: FlowEnds, flags: int, seq: int, ack: int, size: int = 0, options: bytes = b"") -> bytes:
        mirror, port, target, target_port = ends
        packet = build_segment(target, mirror, target_port, port, seq, ack, flags, 65535, options, bytes(size))
        segment = Segment()
        parse_segment(segment, packet)
        return encode_record(ResponseRecord.of(segment))

    def batches(self, turns: int) -> Iterator[Batch]:
        """Yield the traffic of so many turns on each session."""
        size = len(REQUEST)
        all_ends = [session.key for session in self.engine.sessions()]
        for turn in range(turns):
            seen = ANSWER_BYTES * turn
            for first in range(0, len(self.clients), BATCH):
                some = range(first, min(first + BATCH, len(self.clients)))
                packets = [
                    build_segment(
                        self.clients[index][0],
                        ONLINE,
                        self.clients[index][1],
                        PORT,
                        CLIENT_ISN + 1 + turn * size,
                        ONLINE_ISN + 1 + seen,
                        ACK | PSH,
                        65535,
                        b"",
                        REQUEST,
                    )
                    for index in some
                ]
                acked = CLIENT_ISN + 1 + (turn + 1) * size
                records = [
                    self._record(all_ends[index], ACK | PSH, TARGET_ISN + 1 + seen, acked, ANSWER_BYTES)
                    for index in some
                ]
                yield block_of(packets), len(packets), b"".join(records)

    def run(self, batch: Batch) -> int:
        """Take in one batch, as the daemon does; return how many packets that made."""
        block, _, records = batch
        self.now += 0.001
        feed_block(block, 0, self.engine, self.now, fail)
        packets = self.drain()
        self.now += 0.0005
        self.engine.receive_records(records, self.now, fail)
        return packets + self.drain()


def block_of(packets: list[bytes]) -> memoryview:
    """Return a block of a TPACKET_V3 ring that holds these packets (linux/if_packet.h)."""
    block = bytearray(struct.pack("=12xII", len(packets), _BLOCK_HEADER).ljust(_BLOCK_HEADER, b"\0"))
    for packet in packets:
        size = -(-(_PACKET_HEADER + len(packet)) // 16) * 16
        header = struct.pack("=IIIIIIHH", size, 0, 0, len(packet), len(packet), _CHECKSUM_VALID, 0, _PACKET_HEADER)
        block += (header.ljust(_PACKET_HEADER, b"\0") + packet).ljust(size, b"\0")
    return memoryview(block)


def fail() -> None:
    """Let an exception in the engine end the benchmark."""
    raise


def resident_bytes() -> int:
    """Return this process's memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def measure(count: int, segments: int) -> dict[str, float]:
    """Return what `count` sessions cost, and a segment on one of them."""
    load = Load(count)
    gc.collect()
    before = resident_bytes()
    load.open()
    gc.collect()
    idle_bytes = resident_bytes() - before
    turns = 1 + max(segments // count, 1)
    times: list[float] = []
    packets = 0
    for batch in load.batches(turns):
        begun = time.process_time_ns()
        packets += load.run(batch)
        times.append((time.process_time_ns() - begun) / batch[1] / 1000)
    if packets < turns * count or load.engine.imbalance():
        sys.exit(f"engine: {packets} packets for {turns * count} segments; {load.engine.imbalance()}")
    first = -(-count // BATCH)
    usual = statistics.median(times[first:])
    return {
        "sessions": count,
        "segments": (turns - 1) * count,
        "us_per_first_segment": statistics.median(times[:first]),
        "us_per_segment": usual,
        "segments_per_second": 1e6 / usual,
        "bytes_per_session": idle_bytes / count,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure the engine alone, from memory.")
    parser.add_argument(
        "--sessions", default="10,1000,100000", help="concurrent sessions, comma-separated (%(default)s)"
    )
    parser.add_argument("--segments", type=int, default=200_000, help="captured segments per measurement (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    results = [measure(int(count), options.segments) for count in options.sessions.split(",")]
    if options.json:
        print(json.dumps({"flavour": flavour(), "results": results}, indent=1))
        return
    print(f"engine, {flavour()}")
    print("sessions   us/segment   segments/s   us/first segment   bytes/session")
    for result in results:
        print(
            f"{result['sessions']:8,}   {result['us_per_segment']:10.3f}   {result['segments_per_second']:10,.0f}"
            f"   {result['us_per_first_segment']:16.3f}"
            f"   {result['bytes_per_session']:13,.0f}"
        )


if __name__ == "__main__":
    main()
