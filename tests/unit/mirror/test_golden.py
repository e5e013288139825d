"""Captures of real kernels, replayed through the engine: the target is sent what the service had read then."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from scapy.utils import RawPcapReader

from copytool.mirror.config import MirrorConfig
from copytool.mirror.engine import Engine
from copytool.mirror.mapping import ClientNetwork
from copytool.wire.build import build_segment
from copytool.wire.segment import ACK, FIN, RST, SYN, URG, Segment, parse_segment
from copytool.wire.seq import SEQ_MASK, seq_diff

from .playbook import ResponseRecord, as_sent, let_rest

GOLDEN = Path(__file__).parents[2] / "golden"
TARGET = (bytes((192, 168, 50, 101)), 1026)
ISN = 4_000_000_000


class Peer:
    """The target's end of one session: takes everything at once and answers as much as the client had seen."""

    def __init__(self, syn: Segment) -> None:
        self.isn = syn.seq
        self.octets = bytearray()
        self.urgent: set[int] = set()
        self.closed = False
        self.answered = 0

    def take(self, segment: Segment, payload: bytes) -> None:
        """Take in one segment of the mirror."""
        at = seq_diff(segment.seq, (self.isn + 1) & SEQ_MASK)
        assert at <= len(self.octets) + self.closed, "a hole"
        self.octets[at : at + len(payload)] = payload
        if segment.flags & URG:
            self.urgent.add(at + segment.urgent - 1)
        if segment.flags & (FIN | RST):
            self.closed = True

    def stream(self) -> bytes:
        """What an application reads that leaves urgent octets out of the stream."""
        return bytes(octet for index, octet in enumerate(self.octets) if index not in self.urgent)


class Replay:
    """An engine that is fed a capture, and its targets. rests: whether sessions fall asleep whenever they can."""

    def __init__(self, rests: bool) -> None:
        self.rests = rests
        self.engine = Engine({(None, 1026): TARGET}, ClientNetwork([(bytes((192, 168, 60, 1)), 254)]), MirrorConfig())
        self.engine.set_feedback(True, 0.0)
        self.peers: dict[tuple[bytes, int], Peer] = {}
        self.done: list[Peer] = []
        self.now = 0.0

    def feed(self, packet: bytes, now: float) -> None:
        """One captured packet; deadlines that come before it are served."""
        self.pass_time(now)
        self.engine.receive_segment(memoryview(packet), now, is_checked=True)
        self.serve()

    def pass_time(self, now: float) -> None:
        """Serve deadlines up to `now`."""
        while (due := self.engine.next_timer()) <= now:
            self.now = max(due, self.now)
            self.engine.handle_timer(self.now)
            self.serve()
        self.now = now

    def serve(self) -> None:
        """Let the targets answer until nobody has anything to say."""
        segment = Segment()
        if self.rests:
            let_rest(self.engine)
        while packets := as_sent(self.engine.packets_to_send(self.now)):
            for packet in packets:
                assert parse_segment(segment, memoryview(packet)) == 0
                key = (segment.src, segment.src_port)
                if segment.flags & SYN:
                    self.done += [self.peers.pop(key)] if key in self.peers else []
                    self.peers[key] = Peer(segment)
                    self.say(key, SYN | ACK)
                elif key in self.peers:
                    self.peers[key].take(segment, packet[segment.payload_start :])
            self.answer()

    def answer(self) -> None:
        """Acknowledge everything, answer what the clients have seen, close behind them."""
        for session in list(self.engine.sessions()):
            key = session.key[:2]
            peer = self.peers[key]
            closing = FIN if peer.closed else 0
            self.say(key, ACK | closing, session.connection.stream.seen)

    def say(self, key: tuple[bytes, int], flags: int, seen: int = 0) -> None:
        """Report one segment of a target."""
        peer = self.peers[key]
        size = max(seen - peer.answered, 0)
        seq = (ISN + (0 if flags & SYN else 1 + peer.answered)) & SEQ_MASK
        ack = (peer.isn + 1 + len(peer.octets) + peer.closed) & SEQ_MASK
        packet = build_segment(TARGET[0], key[0], TARGET[1], key[1], seq, ack, flags, 65535, b"", bytes(size))
        peer.answered += size
        segment = Segment()
        assert parse_segment(segment, memoryview(packet)) == 0
        self.engine.receive_response(ResponseRecord.of(segment), self.now)


@pytest.mark.parametrize("rests", [False, True], ids=["awake", "resting"])
@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.pcap")), ids=lambda path: path.stem)
def test_golden_capture(path: Path, rests: bool) -> None:
    """Each session is mirrored with the octets that the service had read."""
    expected = json.loads(path.with_suffix(".json").read_text())
    replay = Replay(rests)
    start = None
    for packet, stamp in RawPcapReader(str(path)):
        seconds = stamp.sec + stamp.usec / 1e6
        start = seconds if start is None else start
        replay.feed(packet, seconds - start)
    replay.pass_time(replay.now + 70)
    counters = replay.engine.counters
    assert {word: count for word, count in counters.outcomes.items() if count} == {"mirrored": len(expected)}
    streams = [peer.stream() for peer in (*replay.peers.values(), *replay.done)]
    assert sorted([len(stream), hashlib.sha256(stream).hexdigest()] for stream in streams) == expected
    assert replay.engine.imbalance() == []


def test_there_are_captures() -> None:
    """The test above has something to read."""
    assert len(list(GOLDEN.glob("*.pcap"))) >= 7
