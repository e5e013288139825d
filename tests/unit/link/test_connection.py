"""Both ends of the link against each other, and each against a peer that misbehaves."""

from __future__ import annotations

import random
from ipaddress import ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copytool.link import frames
from copytool.link.connection import DEAD_AFTER_S, PING_INTERVAL_S, CopyEnd, InterceptEnd
from copytool.link.frames import FrameReader, decode_json, encode_frame, encode_json
from copytool.link.records import RECORD_SIZE, ResponseRecord, decode_records, encode_record
from copytool.link.share import Share
from copytool.wire.segment import ACK, Segment

from .test_frames import cut, fed

SHARE = Share([ip_network("192.168.60.0/24")], [(bytes((192, 168, 50, 101)), 1025)])


def record(ack: int = 7) -> bytes:
    """Return an encoded record."""
    segment = Segment()
    segment.key, segment.flags, segment.ack = bytes(12), ACK, ack
    return encode_record(ResponseRecord.of(segment))


class Link:
    """The two ends, joined by pipes that cut anywhere, on a simulated clock."""

    def __init__(self, seed: int = 0) -> None:
        self.now = 100.0
        self.random = random.Random(seed)
        self.copy = CopyEnd(SHARE, "1.2", self.now)
        self.intercept = InterceptEnd(self.now)
        self.acks: list[int] = []

    def exchange(self, up: bool = True, down: bool = True) -> Link:
        """Carry everything that waits, in both directions unless one is cut."""
        while (up and self.copy.data_to_send()) or (down and self.intercept.data_to_send()):
            if up:
                for piece in cut(self.random, self.copy.data_to_send()):
                    self.intercept.receive_data(piece, self.now)
            if down:
                for piece in cut(self.random, self.intercept.data_to_send()):
                    for body in self.copy.receive_data(piece, self.now):
                        self.acks += [found.ack for found in decode_records(body)]
        return self

    def established(self) -> Link:
        """Go through hello and welcome."""
        self.exchange()
        self.intercept.welcome("3.4", self.now)
        return self.exchange()

    def passes(self, seconds: float, up: bool = True, down: bool = True) -> Link:
        """Time goes by; both ends' timers fire."""
        end = self.now + seconds
        while not (self.copy.closed_because or self.intercept.closed_because):
            due = min(self.copy.next_timer(), self.intercept.next_timer())
            if due > end:
                break
            self.now = max(due, self.now)
            self.copy.handle_timer(self.now)
            self.intercept.handle_timer(self.now)
            self.exchange(up, down)
        self.now = max(end, self.now)
        return self


@given(st.integers(0, 1000))
def test_hello_and_welcome(seed: int) -> None:
    """The share and both versions arrive, however the bytes are cut."""
    link = Link(seed).exchange()
    assert link.intercept.awaits_decision and not link.intercept.established
    assert link.intercept.share.networks == SHARE.networks
    assert link.intercept.share.targets == SHARE.targets
    link.intercept.welcome("3.4", link.now)
    link.exchange()
    assert link.copy.established and link.intercept.established
    assert not link.intercept.awaits_decision
    assert (link.copy.peer_version, link.intercept.peer_version) == ("3.4", "1.2")


@given(st.integers(0, 1000), st.lists(st.lists(st.integers(0, 2**32 - 1), max_size=20), max_size=5))
def test_records_arrive_in_order(seed: int, flushes: list[list[int]]) -> None:
    """Every record of every flush arrives once."""
    link = Link(seed).established()
    for flush in flushes:
        link.intercept.send_records(b"".join(record(ack) for ack in flush))
    link.exchange()
    assert link.acks == [ack for flush in flushes for ack in flush]


def test_refusal_closes_both_ends_with_the_reason() -> None:
    """copy learns why it is refused."""
    link = Link().exchange()
    link.intercept.refuse("192.168.60.0/24 belongs to another copy")
    assert link.intercept.closed_because and link.intercept.data_to_send()
    link.exchange()
    assert "another copy" in link.copy.closed_because
    assert not link.copy.established
    link.intercept.refuse("again")
    assert not link.intercept.data_to_send(), "a closed link says nothing more"
    assert "another copy" in link.intercept.closed_because


def test_closed_stays_closed() -> None:
    """After a refusal nothing re-establishes the link or yields records, and the first reason stays."""
    link = Link().exchange()
    refusal = encode_json(frames.REFUSED, {"reason": "no"})
    welcome = encode_json(frames.WELCOME, {"version": "1"})
    assert list(link.copy.receive_data(refusal + welcome, link.now)) == []
    assert list(link.copy.receive_data(b"", link.now)) == []
    assert not link.copy.established
    assert list(link.copy.receive_data(welcome, link.now)) == []
    assert list(link.copy.receive_data(encode_frame(frames.RECORDS, record()), link.now)) == []
    assert not link.copy.established
    assert "no" in link.copy.closed_because
    link.copy.close("another reason")
    assert "no" in link.copy.closed_because


def test_closed_intercept_end_buffers_nothing() -> None:
    """A peer that goes on sending after it was refused cannot make intercept grow."""
    end = InterceptEnd(0.0)
    end.receive_data(b"\xff" * 100, 0.0)
    waiting = len(end.data_to_send())
    for _ in range(100):
        end.receive_data(b"\xff" * 10_000, 0.0)
    assert len(end.data_to_send()) == waiting
    assert len(end._reader._buffer) <= 100
    assert not end.awaits_decision


def test_other_protocol_version_is_refused_with_advice() -> None:
    """A copy of another protocol version is told so, and nothing of its hello is used."""
    hello = {"protocol": 99, "version": "9"} | SHARE.to_json()
    end = InterceptEnd(0.0)
    end.receive_data(encode_json(frames.HELLO, hello), 0.0)
    assert "link protocol 99" in end.closed_because
    assert not end.awaits_decision
    ((kind, body),) = fed(FrameReader(), bytes(end.data_to_send()))
    assert kind == frames.REFUSED
    assert "same copytool version" in decode_json(body)["reason"]


@pytest.mark.parametrize("frame", [frames.RECORDS, frames.WELCOME, frames.PONG, frames.PING, 0, 200])
def test_intercept_wants_a_hello_first(frame: int) -> None:
    """Any other first frame is a protocol error."""
    end = InterceptEnd(0.0)
    end.receive_data(encode_frame(frame), 0.0)
    assert end.closed_because.startswith("protocol error")


@pytest.mark.parametrize("frame", [frames.RECORDS, frames.HELLO, frames.PING, 0, 200])
def test_copy_wants_a_welcome_first(frame: int) -> None:
    """Records before the welcome, and frames only copy sends, are protocol errors."""
    end = CopyEnd(SHARE, "1", 0.0)
    assert list(end.receive_data(encode_frame(frame), 0.0)) == []
    assert end.closed_because.startswith("protocol error")


def test_second_hello_and_second_welcome_are_errors() -> None:
    """The greeting happens once."""
    link = Link().established()
    link.intercept.receive_data(encode_json(frames.HELLO, {}), link.now)
    assert link.intercept.closed_because
    list(link.copy.receive_data(encode_json(frames.WELCOME, {}), link.now))
    assert link.copy.closed_because


def test_records_of_a_frame_that_is_cut_wrong() -> None:
    """A body that is no whole number of records closes the link."""
    link = Link().established()
    data = encode_frame(frames.RECORDS, record()[: RECORD_SIZE - 1])
    assert list(link.copy.receive_data(data, link.now)) == []
    assert "protocol error" in link.copy.closed_because


# -- liveness -----------------------------------------------------------------------------------------------


def test_quiet_link_stays_alive() -> None:
    """Pings and pongs keep a link that carries nothing for hours."""
    link = Link().established().passes(3600)
    assert not link.copy.closed_because and not link.intercept.closed_because
    assert link.copy.established and link.intercept.established


@pytest.mark.parametrize(("up", "down"), [(False, False), (True, False), (False, True)])
def test_silence_kills_the_link(up: bool, down: bool) -> None:
    """When the network goes, in either direction, somebody notices within the limit."""
    link = Link().established().passes(60)
    cut = link.now
    link.passes(100, up=up, down=down)
    reasons = link.copy.closed_because + link.intercept.closed_because
    assert "silent for" in reasons
    closed = link.copy if link.copy.closed_because else link.intercept
    assert closed._heard_at + DEAD_AFTER_S <= cut + DEAD_AFTER_S + PING_INTERVAL_S + 0.01


def test_connection_without_greeting_dies() -> None:
    """A peer that connects and says nothing is dropped."""
    end = InterceptEnd(50.0)
    assert end.next_timer() == 50.0 + DEAD_AFTER_S
    end.handle_timer(50.0 + DEAD_AFTER_S)
    assert end.closed_because.startswith("no greeting")


def test_only_a_greeting_counts_before_the_greeting() -> None:
    """Octets that never become a greeting do not keep a connection open, at either end."""
    slow = encode_frame(frames.HELLO, bytes(100))
    ends = (InterceptEnd(50.0), CopyEnd(SHARE, "1", 50.0))
    for second in range(int(DEAD_AFTER_S)):
        ends[0].receive_data(slow[second : second + 1], 50.0 + second)
        assert list(ends[1].receive_data(slow[second : second + 1], 50.0 + second)) == []
    for end in ends:
        end.handle_timer(50.0 + DEAD_AFTER_S)
        assert end.closed_because.startswith("no greeting")


def test_silence_is_measured() -> None:
    """A copy that lives is heard every ping interval; of one that does not, the silence grows."""
    link = Link().established().passes(60)
    assert link.intercept.silent_for(link.now) <= PING_INTERVAL_S
    link.passes(5, up=False, down=False)
    assert link.intercept.silent_for(link.now) > PING_INTERVAL_S


def test_any_bytes_count_as_life() -> None:
    """A long frame that arrives slowly is not silence."""
    link = Link().established()
    body = encode_frame(frames.RECORDS, record() * 10)
    for index in range(len(body)):
        link.now += 1.0
        for records in link.copy.receive_data(body[index : index + 1], link.now):
            link.acks += [found.ack for found in decode_records(records)]
        link.copy.handle_timer(link.now)
    assert not link.copy.closed_because and len(link.acks) == 10


def test_a_host_that_takes_what_waits_is_alive() -> None:
    """Its daemon may come to a ping that is behind that only later; before the welcome nothing of the kind counts."""
    link = Link().established()
    link.copy.note_progress(link.now + 5)
    assert link.copy.silent_for(link.now + 6) == 1
    greeting = CopyEnd(SHARE, "1", 0.0)
    greeting.note_progress(5.0)
    assert greeting.silent_for(6.0) == 6


def test_ping_only_when_silent() -> None:
    """copy pings after PING_INTERVAL_S without sending, not before."""
    link = Link().established()
    assert link.copy.next_timer() == link.now + PING_INTERVAL_S
    link.copy.handle_timer(link.now + PING_INTERVAL_S - 0.01)
    assert not link.copy.data_to_send() and link.copy.waiting_bytes() == 0
    link.copy.handle_timer(link.now + PING_INTERVAL_S)
    assert link.copy.data_to_send() == encode_frame(frames.PING)
    assert link.copy.waiting_bytes() == len(encode_frame(frames.PING))


def test_pings_of_a_peer_that_does_not_read_pile_up_nothing() -> None:
    """A peer that floods pings and never reads cannot make intercept's send buffer grow."""
    link = Link().established()
    for _ in range(10_000):
        link.intercept.receive_data(encode_frame(frames.PING), link.now)
    assert len(link.intercept.data_to_send()) < 100


# -- hostile peers ------------------------------------------------------------------------------------------

FRAME_LIKE = st.builds(
    encode_frame,
    st.integers(0, 8),
    st.one_of(st.binary(max_size=80), st.sampled_from([record(), b"{}", b'{"protocol":1}', b"[]", b"\xff"])),
)
STREAMS = st.lists(st.one_of(FRAME_LIKE, st.binary(max_size=20)), max_size=6)


@settings(max_examples=300)
@given(STREAMS, st.booleans())
def test_garbage_never_raises(pieces: list[bytes], welcomed: bool) -> None:
    """Whatever a peer sends, either end takes it or closes, and says why."""
    link = Link()
    if welcomed:
        link.established()
    for piece in pieces:
        link.intercept.receive_data(piece, link.now)
        for body in link.copy.receive_data(piece, link.now):
            assert len(list(decode_records(body))) == len(body) / RECORD_SIZE
    for end in (link.copy, link.intercept):
        assert not (end.established and end.closed_because)


def test_deeply_nested_hello_never_raises() -> None:
    """Nesting close to the recursion limit passes the parser; showing it in the error must not fail."""
    for depth in range(300, 1200, 3):
        for key in ("client_networks", "targets", "protocol", "version"):
            good = {"protocol": 1, "version": "1"} | SHARE.to_json()
            text = b"[" * depth + b"]" * depth
            fields = [f'"{name}":'.encode() + text for name in good if name == key]
            fields += [encode_json(0, {name: value})[6:-1] for name, value in good.items() if name != key]
            end = InterceptEnd(0.0)
            end.receive_data(encode_frame(frames.HELLO, b"{" + b",".join(fields) + b"}"), 0.0)
            assert end.closed_because or end.awaits_decision


@pytest.mark.parametrize("text", ["no\nINFO: forged", "\x1b[2Jno", "\ud800", "x" * 1000])
def test_what_a_peer_says_is_plain(text: str) -> None:
    """It is logged, and shown in a terminal: it forges no line there, and steers nothing."""
    copy = CopyEnd(SHARE, "1.2", 0.0)
    copy.receive_data(encode_json(frames.WELCOME, {"version": text}), 0.0)
    assert copy.established and copy.peer_version.isprintable() and len(copy.peer_version) <= 40
    copy.receive_data(encode_json(frames.REFUSED, {"reason": text}), 0.0)
    assert copy.closed_because.isprintable() and len(copy.closed_because) < 220
    for field in ("version", "protocol"):
        intercept = InterceptEnd(0.0)
        hello = {"protocol": frames.PROTOCOL_VERSION, "version": "1", **SHARE.to_json(), field: text}
        intercept.receive_data(encode_json(frames.HELLO, hello), 0.0)
        assert intercept.peer_version.isprintable() and intercept.closed_because.isprintable()
        assert (field == "protocol") == intercept.refused


def test_a_version_that_is_no_text() -> None:
    """What is deeper than Python's stack is not made a text of."""
    copy = CopyEnd(SHARE, "1.2", 0.0)
    copy.receive_data(encode_json(frames.WELCOME, {"version": [[1]]}), 0.0)
    assert copy.established and copy.peer_version == "?"
