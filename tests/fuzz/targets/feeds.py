"""The link of forward: a hostile forward and the engine that it feeds, and a hostile copy to forward, cut anywhere."""

from __future__ import annotations

import struct
from collections.abc import Hashable
from random import Random

from copytool.errors import DecodeError
from copytool.io.feeding import feed_packets
from copytool.link.forwarding import (
    CHECKED,
    HEAD_BYTES,
    MAX_QUESTIONS,
    STATES,
    FeedEnd,
    ForwardEnd,
    decode_questions,
    encode_states,
)
from copytool.link.frames import (
    HELLO,
    MAX_FRAME,
    PACKETS,
    PING,
    PONG,
    PROTOCOL_VERSION,
    QUESTIONS,
    REFUSED,
    WELCOME,
    FrameReader,
    encode_frame,
    encode_json,
)

from ..mutation import below
from ..packets import SEEDS, mutate_packet
from ..target import Target
from .link import is_plain, mutate_stream, pieces
from .records import Drive, fail

__all__ = ["TARGETS"]

_ROOM = 10_000


class _Feed:
    """FeedEnd and a hostile forward, with the engine that takes its packets in."""

    def __init__(self) -> None:
        self._drive = Drive()

    def __call__(self, data: bytes) -> Hashable:
        drive, end = self._drive, FeedEnd(0.0)
        seen = drive.engine.counters.client_packets
        packets = lost = 0
        for piece in pieces(data):
            drive.now += 0.001
            bodies = end.receive_data(piece, drive.now)
            for body in bodies:
                count, told = _count(body)
                packets, lost = packets + count, lost + told
                assert feed_packets(body, drive.engine, drive.now, fail) == told
            for flow, state in end.states:
                assert len(flow) in (12, 36) and state in STATES
                connection = drive.engine.find_connection(flow)
                if connection is not None:
                    connection.checked(state == "open", lost > 0, drive.now)
            end.states.clear()
            if end.awaits_decision:
                end.welcome("1.2", drive.now)
            end.ask(_FLOWS[0])
            assert len(end._reader._buffer) <= MAX_FRAME + 4 + len(piece)
            assert len(end.data_to_send()) < 4096, "a peer that does not read makes it grow"
        assert drive.engine.counters.client_packets == seen + packets, "a packet was lost, or came twice"
        drive.send()
        drive.check()
        drive.let_pass(0.05)
        assert all(map(is_plain, [end.closed_because, end.peer_version, *end.services])), "it forges lines of a log"
        assert len(end.services) <= 16 and not (end.closed_because and end.established)
        end.handle_timer(end.next_timer())
        return end.established, min(packets, 3), lost > 0, end.closed_because[:26]

    def finish(self) -> None:
        """Everything adds up when all is shut down."""
        self._drive.finish()


def _count(body: bytes) -> tuple[int, int]:
    """Return how many packets a PACKETS frame's body has, and how many it says were lost; it has nothing else."""
    at = packets = lost = 0
    while at < len(body):
        size = int.from_bytes(body[at : at + 4], "big") & ~CHECKED
        if size:
            packets += 1
        else:
            lost += int.from_bytes(body[at + 4 : at + 8], "big")
        at += HEAD_BYTES + size
    assert at == len(body)
    return packets, lost


class _Forward:
    """ForwardEnd and a hostile copy: it is sent packets as long as there is room, and answers."""

    def __call__(self, data: bytes) -> Hashable:
        end = ForwardEnd(["1025"], "1.2", 0.0, _ROOM)
        now, asked = 0.0, 0
        for piece in pieces(data):
            now += 0.001
            for body in end.receive_data(piece, now):
                flows = decode_questions(body)
                assert len(flows) <= MAX_QUESTIONS and all(len(flow) in (12, 36) for flow in flows)
                asked += len(flows)
                end.answer([(flow, STATES[flow[0] % 3]) for flow in flows])
            assert not end.has_room() or end.established
            if end.has_room():
                frame = end.begin()
                frame += _packed([(CHECKED, 7, SEEDS[1])])
                end.finish(frame, 1)
            assert len(end._reader._buffer) <= MAX_FRAME + 4 + len(piece)
            assert len(end.data_to_send()) < _ROOM + 4096, "a peer that does not read makes it grow"
        assert is_plain(end.closed_because) and is_plain(end.peer_version), "text that forges lines of a log"
        assert not end.closed_because or not end.established
        end.handle_timer(end.next_timer())
        return (
            end.established,
            min(asked, 3),
            end.forwarded > 0,
            end.closed_because[: 26 if "protocol" in end.closed_because else 7],
        )

    def finish(self) -> None:
        """Nothing is left of it."""


def _packed(packets: list[tuple[int, int, bytes]]) -> bytes:
    """Return a PACKETS frame's body of (length's highest bit, age, packet)."""
    return b"".join([struct.pack("!II", flag | len(packet), age) + packet for flag, age, packet in packets])


def _mutate_feed(data: bytes, random: Random) -> bytes:
    """Change packets inside of the frames, whose lengths stay right; or the stream as it is."""
    if random.random() < 0.4:
        return mutate_stream(data, random, _FRAMES)
    reader, made = FrameReader(), bytearray(data[:1] or b"\0")
    reader.append(data[1:])
    try:
        while (kind := reader.next_frame()) >= 0:
            body = reader.body
            made += encode_frame(kind, _change_packets(body, random) if kind == PACKETS else body)
    except DecodeError:
        return mutate_stream(data, random, _FRAMES)
    if random.random() < 0.2:
        made += (_SOME, _LOST, _STATES)[below(random, 3)]
    return bytes(made[:MAX_FRAME])


def _change_packets(body: bytes, random: Random) -> bytes:
    """Change, drop, repeat or move packets in a PACKETS frame's body, or what is said of them."""
    packets = []
    at = 0
    while at + HEAD_BYTES <= len(body):
        word, age = struct.unpack_from("!II", body, at)
        end = at + HEAD_BYTES + (word & ~CHECKED)
        packets.append((word & CHECKED, age, body[at + HEAD_BYTES : end]))
        at = end
    for _ in range(1 + below(random, 3)):
        if not packets:
            break
        index, kind = below(random, len(packets)), below(random, 10)
        flag, age, packet = packets[index]
        if kind < 6:
            packets[index] = flag, age, mutate_packet(packet, random)
        elif kind == 6:
            packets[index] = flag ^ CHECKED, (0, 1, 1000, 60_000_000, 0xFFFFFFFF)[below(random, 5)], packet
        elif kind == 7:
            del packets[index]
        elif kind == 8 and len(packets) < 24:
            packets.append(packets[index])
        else:
            packets[index], packets[-1] = packets[-1], packets[index]
    return _packed(packets)


def _mutate_forward(data: bytes, random: Random) -> bytes:
    return mutate_stream(data, random, _FRAMES)


_FORWARD_HELLO = {"protocol": PROTOCOL_VERSION, "version": "1.2", "forward": {"services": ["1025", "[fd50::10]:80"]}}
_FLOWS = [SEEDS[1][12:24], SEEDS[7][8:40] + SEEDS[7][48:52]]
_WELCOME, _REFUSED = encode_json(WELCOME, {"version": "1.2"}), encode_json(REFUSED, {"reason": "no"})
_GREETING = encode_json(HELLO, _FORWARD_HELLO)
_SOME = encode_frame(PACKETS, _packed([(CHECKED, 1000, packet) for packet in SEEDS[:5]]))
_LOST = encode_frame(PACKETS, _packed([(0, 70_000_000, SEEDS[7]), (0, 5, b""), (CHECKED, 0, SEEDS[1])]))
_STATES = encode_states([(_FLOWS[0], "open"), (_FLOWS[1], "gone")])
_QUESTIONS = encode_frame(QUESTIONS, b"".join([bytes((len(flow),)) + flow for flow in _FLOWS]))
_FRAMES = [_WELCOME, _REFUSED, _GREETING, _SOME, _LOST, _STATES, _QUESTIONS, encode_frame(PING), encode_frame(PONG)]
_TO_FEED = [
    _GREETING + _SOME + _LOST,
    _GREETING + encode_frame(PING) + _STATES + _SOME,
    _GREETING + _LOST + _STATES * 2,
    _GREETING,
]
_TO_FORWARD = [_WELCOME + _QUESTIONS, _WELCOME + encode_frame(PONG) + _QUESTIONS * 3 + _REFUSED]


def _as_seeds(streams: list[bytes]) -> list[bytes]:
    """Cut behind the greeting, so that it is welcome and what follows counts."""
    return [bytes((7,)) + stream for stream in streams]


TARGETS = (
    Target(
        "feed_end",
        "what a forward says never raises, is bounded; each packet is taken in once, and the engine adds up",
        _Feed,
        lambda: _as_seeds(_TO_FEED),
        _mutate_feed,
    ),
    Target(
        "forward_end",
        "what a copy says to forward never raises; what waits for one that does not read is bounded",
        _Forward,
        lambda: _as_seeds(_TO_FORWARD),
        _mutate_forward,
        lives=100_000,
    ),
)
