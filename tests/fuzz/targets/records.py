"""The engine: sequences of captured packets, response records, time, link states and the kernel's answers."""

from __future__ import annotations

from collections.abc import Hashable
from random import Random

from copytool.link.records import RECORD_SIZE
from copytool.mirror.config import MirrorConfig
from copytool.mirror.engine import Engine
from copytool.mirror.mapping import ClientNetwork
from copytool.mirror.outcome import ACTIVE
from copytool.mirror.timers import NEVER
from copytool.wire.segment import ACK, SYN, Segment, parse_segment

from ..mutation import Items, below, decode_items, encode_items, mutate_items, mutate_octets
from ..packets import mutate_packet, raw_packet
from ..target import Target

__all__ = ["TARGETS", "TIMES_S", "Drive", "fail"]

_ONLINE, _TARGET = bytes((192, 168, 50, 10)), bytes((192, 168, 50, 101))
_ONLINE6, _TARGET6 = bytes.fromhex("fd50" + "00" * 13 + "10"), bytes.fromhex("fd50" + "00" * 13 + "65")
_CLIENT, _CLIENT6 = bytes((10, 9, 0, 1)), bytes.fromhex("fd00" + "00" * 13 + "01")
_NETWORK = ((bytes((192, 168, 60, 1)), 6), (bytes.fromhex("fd60" + "00" * 13 + "01"), 6))
_TARGETS = {(_ONLINE, 1025): (_TARGET, 1025), (_ONLINE6, 1025): (_TARGET6, 1025), (None, 80): (_TARGET, 8080)}
_MAX_SESSIONS = 24
_SESSION_BYTES, _TOTAL_BYTES = 20_000, 60_000
_LARGEST_PACKET = 0xFFFF

_CHECKED, _UNCHECKED, _RECORD, _TIME, _FEEDBACK, _CHECK, _SEND, _STEER = range(8)
TIMES_S = (0.0, 0.0001, 0.002, 0.02, 0.07, 0.3, 1.0, 5.0, 31.0, 100.0, 700.0, 8000.0)

_CONFIG = MirrorConfig(
    copies=2,
    max_sessions=_MAX_SESSIONS,
    session_buffer_bytes=_SESSION_BYTES,
    total_buffer_bytes=_TOTAL_BYTES,
    join_midstream=True,
)


def _new_engine() -> Engine:
    engine = Engine(dict(_TARGETS), ClientNetwork(_NETWORK), _CONFIG)
    engine.set_feedback(True, 0.0)
    return engine


def fail() -> None:
    """Make an exception in the engine one of the test."""
    raise


class Drive:
    """An engine that lives through many scripts, and is looked at after each."""

    def __init__(self) -> None:
        self.engine = _new_engine()
        self.now = 0.0
        self._sent = Segment()

    def __call__(self, data: bytes) -> Hashable:
        engine = self.engine
        counters = engine.counters
        before = counters.accepted, counters.duplicate, counters.sender.packets
        outcomes = dict(counters.outcomes)
        for kind, body in decode_items(data, 8)[:64]:
            self._take(kind, body)
        sent = self.send()
        self.check()
        ended = tuple(word for word, count in counters.outcomes.items() if count > outcomes[word])
        grown = counters.accepted > before[0], counters.duplicate > before[1], counters.sender.packets > before[2]
        return ended, grown, sent

    def _take(self, kind: int, body: bytes) -> None:
        engine, now = self.engine, self.now
        if kind <= _UNCHECKED:
            engine.receive_segment(body, now, kind == _CHECKED)
        elif kind == _RECORD:
            engine.receive_records(body, now, fail)
        elif kind == _TIME:
            self.let_pass(TIMES_S[body[0] % len(TIMES_S)] if body else 0.01)
        elif kind == _FEEDBACK:
            engine.set_feedback(body[:1] != b"\0", now)
        elif kind == _CHECK:
            while (connection := engine.next_check()) is not None:
                connection.checked(body[:1] != b"\0", body[1:2] == b"\1", now)
            if body[2:3] == b"\1":
                engine.note_drops(now)
        elif kind == _SEND:
            self.send(1 + (body[0] if body else 0))
        else:
            self._steer(body)

    def _steer(self, body: bytes) -> None:
        admission = self.engine.admission
        what = body[0] if body else 0
        admission.paused = what & 7 == 7
        admission.copies = 1 + (what >> 3 & 1)
        admission.set_ratio((100.0, 100.0, 100.0, 30.0)[what >> 4 & 3])
        self.engine.forget_left_out()

    def let_pass(self, seconds: float) -> None:
        """Timers fire when they are due; a deadline that stays due for ever would be a busy loop."""
        engine = self.engine
        end = self.now + seconds
        fired = 0
        while (due := engine.next_timer()) <= end:
            fired += 1
            assert fired < 20_000, "timers that are always due"
            self.now = max(due, self.now)
            engine.handle_timer(self.now)
            self.send()
        self.now = end

    def send(self, limit: int = 1 << 20) -> int:
        """What is sent goes to configured targets, from the client network, and is a packet that they can read."""
        flags = 0
        segment = self._sent
        for packet, burst in self.engine.packets_to_send(self.now, limit):
            assert len(packet) <= _LARGEST_PACKET
            assert parse_segment(segment, packet) == 0, "what is sent cannot be read"
            half = (len(segment.key) - 4) // 2
            src, dst = segment.key[:half], segment.key[half:-4]
            port = segment.key[-2] << 8 | segment.key[-1]
            assert (dst, port) in ((_TARGET, 1025), (_TARGET6, 1025), (_TARGET, 8080)), "sent to somebody else"
            first, count = _NETWORK[half == 16]
            assert first[:-1] == src[:-1] and first[-1] <= src[-1] < first[-1] + count, "sent from somebody else"
            assert segment.payload_len == segment.captured_len == len(packet) - segment.payload_start
            assert burst or len(packet) <= 1500
            flags |= segment.flags
        return flags

    def check(self) -> None:
        """Everything adds up, and no more is held than may be."""
        engine, counters = self.engine, self.engine.counters
        assert engine.imbalance() == []
        active = counters.outcomes[ACTIVE]
        assert active == sum(1 for _ in engine.sessions()) <= _MAX_SESSIONS
        assert min(counters.outcomes.values()) >= 0
        held, buffered = engine.gauges()
        assert held >= 0 and buffered >= 0
        assert counters.footprint() <= _TOTAL_BYTES + 2 * _LARGEST_PACKET, "more is held than may be"
        assert not engine.is_busy(), "something is left to send for ever"

    def finish(self) -> None:
        """When all is shut down nothing is left, and nothing is due any more."""
        engine = self.engine
        engine.shut_down(self.now)
        self.send()
        self.check()
        assert engine.counters.outcomes[ACTIVE] == 0
        self.let_pass(20_000.0)
        assert engine.next_timer() == NEVER


# -- seeds -----------------------------------------------------------------------------------------------------------


def _client(
    flags: int, seq: int, payload: bytes = b"", ack: int = 5001, port: int = 40000, v6: bool = False
) -> tuple[int, bytes]:
    ends = (_CLIENT6, _ONLINE6) if v6 else (_CLIENT, _ONLINE)
    options = b"\x02\x04\x05\xb4\x01\x03\x03\x07" if flags & SYN else b""
    return _CHECKED, raw_packet(*ends, (port, 1025), seq, ack if flags & ACK else 0, flags, 65535, options, payload)


def _record(
    key: bytes, flags: int, ack: int, end: int, control: int = 0, counts: tuple[int, int] = (0, 0)
) -> tuple[int, bytes]:
    mapped = b"\0" * 10 + b"\xff\xff"
    ends = mapped + key[:4] + mapped + key[4:] if len(key) == 12 else key
    numbers = b"".join([number.to_bytes(4, "big") for number in (ack, end, control)])
    return _RECORD, ends + numbers + b"\xff\xff\x05\xb4" + bytes((flags, *counts, 7))


def _mirror_keys(port: int, v6: bool) -> list[bytes]:
    """Return the keys of the mirror sessions that a client's connection gets."""
    engine = _new_engine()
    for flags, seq in ((SYN, 1000), (ACK, 1001)):
        engine.receive_segment(_client(flags, seq, port=port, v6=v6)[1], 0.0, True)
    segment = Segment()
    keys = []
    for packet, _ in engine.packets_to_send(0.0):
        parse_segment(segment, packet)
        keys.append(segment.key)
    return keys


def _conversation(port: int, v6: bool = False, ending: str = "fin") -> list[Items]:
    """Return a session from its SYN to its end, in parts that make sense one after the other."""
    keys = _mirror_keys(port, v6)

    def client(flags: int, seq: int, payload: bytes = b"", ack: int = 5001) -> tuple[int, bytes]:
        return _client(flags, seq, payload, ack, port, v6)

    def say(flags: int, ack: int, end: int, control: int = 0, counts: tuple[int, int] = (0, 0)) -> Items:
        return [_record(key, flags, ack, end, control, counts) for key in keys]

    parts = [
        [client(SYN, 1000), client(ACK, 1001), *say(0x12, 1001, 9001, 9000)],
        [client(0x18, 1001, b"x" * 10), *say(0x10, 1011, 9051, 0, (1, 0)), (_TIME, b"\3")],
        [client(0x18, 1011, b"y" * 3000, 5051), (_TIME, b"\2"), *say(0x10, 4011, 9101, 0, (2, 0)), (_TIME, b"\5")],
        [client(0x10, 4011, b"", 5101), (_TIME, b"\6"), client(0x38, 4011, b"urgent", 5101), *say(0x10, 4017, 9101)],
    ]
    if ending == "fin":
        parts.append([client(0x11, 4017, b"", 5101), *say(0x11, 4018, 9102), (_TIME, b"\7")])
    elif ending == "reset":
        parts.append([client(0x14, 4017, b"", 5101), (_TIME, b"\3")])
    else:
        parts.append([*say(0x04, 4017, 9101, 9101), client(0x18, 4017, b"more", 5101), (_TIME, b"\7"), (_CHECK, b"\0")])
    return parts


def _seeds() -> list[bytes]:
    conversations = [_conversation(40000), _conversation(40001, True), _conversation(40002, False, "reset")]
    conversations.append(_conversation(40003, False, "target resets"))
    seeds = [[item for part in parts for item in part] for parts in conversations]
    seeds += [part for parts in conversations for part in parts]
    seeds += [
        [(_FEEDBACK, b"\0"), *conversations[0][0], (_FEEDBACK, b"\1")],
        [(_STEER, b"\7"), *conversations[0][0], (_STEER, b"\0")],
        [*conversations[0][0], (_TIME, b"\x0b"), (_CHECK, b"\0\1\1")],
        [*conversations[0][0], _client(0x18, 1011, b"behind a hole"), (_TIME, b"\x08")],
        [_client(0x18, 1001, b"z" * 60_000, port=40000), *conversations[0][0]],
    ]
    return [encode_items(items) for items in seeds]


def _change(kind: int, body: bytes, random: Random) -> tuple[int, bytes]:
    kind %= 8
    if random.random() < 0.04:
        return below(random, 8), body
    if kind == _RECORD:
        return kind, _change_record(body, random)
    if kind > _RECORD:
        return kind, bytes((below(random, 16), below(random, 2), below(random, 2)))
    if random.random() < 0.05:
        kind ^= 1
    return kind, mutate_packet(body, random)


def _change_record(body: bytes, random: Random) -> bytes:
    """Change numbers, flags, window or MSS of one of the records in a frame's body; or anything."""
    made = bytearray(body)
    if len(made) < RECORD_SIZE or random.random() < 0.05:
        return bytes(mutate_octets(made, random))
    at = below(random, len(made) // RECORD_SIZE) * RECORD_SIZE
    what = below(random, 8)
    if what < 3:
        place = at + 36 + 4 * what
        step = (1, 2, 10, 100, 1460, -1, -10, 1 << 31, 1 << 30)[below(random, 9)]
        number = int.from_bytes(made[place : place + 4], "big") + step
        made[place : place + 4] = (number & 0xFFFFFFFF).to_bytes(4, "big")
    elif what == 3:
        made[at + 52] = (0x12, 0x10, 0x11, 0x04, 0x14, 0x00, 0x17, 0xFF)[below(random, 8)]
    elif what == 4:
        made[at + 48 : at + 50] = (0, 1, 500, 65535)[below(random, 4)].to_bytes(2, "big")
    elif what == 5:
        made[at + 50 : at + 52] = (0, 1, 64, 1460, 65535)[below(random, 5)].to_bytes(2, "big")
    elif what == 6:
        made[at + 53 + below(random, 3)] = (0, 1, 3, 14, 15, 127, 128, 255)[below(random, 8)]
    elif random.random() < 0.5:
        made += made[at : at + RECORD_SIZE]
    else:
        made[at + below(random, RECORD_SIZE)] = below(random, 256)
    return bytes(made)


def _mutate(data: bytes, random: Random) -> bytes:
    return mutate_items(data, random, _change)


TARGETS = (
    Target(
        "engine",
        "everything adds up after each script; packets go to targets only, from the client network; memory is bounded",
        Drive,
        _seeds,
        _mutate,
    ),
)
