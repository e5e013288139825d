"""Both ends of the link between forward and copy: packets one way, what a kernel says of connections the other."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copytool.errors import DecodeError
from copytool.link import frames
from copytool.link.connection import ClientEnd, CopyEnd, InterceptEnd, ServerEnd
from copytool.link.forwarding import (
    CHECKED,
    HEAD_BYTES,
    MAX_AGE,
    MAX_QUESTIONS,
    STATES,
    FeedEnd,
    ForwardEnd,
    check_packets,
    decode_questions,
    decode_states,
    encode_states,
)
from copytool.link.frames import FrameReader, decode_json, encode_frame, encode_json
from copytool.wire.flow import flow_key

from .test_connection import SHARE
from .test_frames import cut, fed

HELLO = {"protocol": frames.PROTOCOL_VERSION, "version": "1.2", "forward": {"services": ["1025"]}}
FLOW = flow_key(bytes((10, 9, 0, 1)), 40000, bytes((192, 168, 50, 10)), 1025)
FLOW6 = flow_key(bytes(15) + b"\1", 40000, bytes(15) + b"\2", 1025)
ROOM = 10_000

FLOWS = st.binary(min_size=12, max_size=12) | st.binary(min_size=36, max_size=36)


def packed(*packets: tuple[int, int, bytes]) -> bytes:
    """Return a PACKETS frame's body of (length's highest bit, age, packet)."""
    return b"".join([struct.pack("!II", flag | len(packet), age) + packet for flag, age, packet in packets])


class Link:
    """The two ends, joined by pipes that cut anywhere."""

    def __init__(self, seed: int = 0, services: tuple[str, ...] = ("1025",), room: int = ROOM) -> None:
        self.random = random.Random(seed)
        self.forward = ForwardEnd(list(services), "1.2", 0.0, room)
        self.feed = FeedEnd(0.0)
        self.packets: list[bytes] = []
        self.questions: list[bytes] = []

    def exchange(self) -> Link:
        """Carry everything that waits, in both directions."""
        while self.forward.data_to_send() or self.feed.data_to_send():
            for piece in cut(self.random, self.forward.data_to_send()):
                self.packets += self.feed.receive_data(piece, 0.0)
            for piece in cut(self.random, self.feed.data_to_send()):
                self.questions += self.forward.receive_data(piece, 0.0)
        return self

    def established(self) -> Link:
        """Go through hello and welcome."""
        self.exchange()
        self.feed.welcome("3.4", 0.0)
        return self.exchange()

    def sends(self, *packets: bytes) -> Link:
        """One frame with these packets."""
        frame = self.forward.begin()
        frame += packed(*((0, 0, packet) for packet in packets))
        self.forward.finish(frame, len(packets))
        return self


# -- greeting ----------------------------------------------------------------------------------------------------------


@given(st.integers(0, 1000))
def test_hello_and_welcome(seed: int) -> None:
    """What is captured and both versions arrive, however the bytes are cut."""
    link = Link(seed, ("1025", "192.168.50.10:80")).exchange()
    assert link.feed.awaits_decision and link.feed.services == ["1025", "192.168.50.10:80"]
    link.feed.welcome("3.4", 0.0)
    link.exchange()
    assert link.forward.established and link.feed.established
    assert (link.forward.peer_version, link.feed.peer_version) == ("3.4", "1.2")


@pytest.mark.parametrize(
    "forward", [None, [], "1025", {}, {"services": None}, {"services": "1025"}, {"services": {"1025": 1}}]
)
def test_who_is_no_forward_is_told_so(forward: object) -> None:
    """Whatever it says in place of its services."""
    end = FeedEnd(0.0)
    end.receive_data(encode_json(frames.HELLO, {**HELLO, "forward": forward}), 0.0)
    assert end.refused and not end.awaits_decision
    ((kind, body),) = fed(FrameReader(), bytes(end.data_to_send()))
    assert kind == frames.REFUSED and "no `copytool forward`" in decode_json(body)["reason"]


def test_daemons_that_are_connected_to_the_wrong_port() -> None:
    """A copy that takes another for an intercept, and a forward that does so, are refused."""
    for client, server in ((CopyEnd(SHARE, "1", 0.0), FeedEnd(0.0)), (Link().forward, InterceptEnd(0.0))):
        server.receive_data(bytes(client.data_to_send()), 0.0)
        assert server.refused
        client.receive_data(bytes(server.data_to_send()), 0.0)
        assert client.closed_because.startswith("refused: ")


@pytest.mark.parametrize("text", ["no\nINFO: forged", "\x1b[2Jno", "\ud800", "x" * 1000])
def test_services_are_plain_and_few(text: str) -> None:
    """They are logged, and shown in a terminal."""
    end = FeedEnd(0.0)
    end.receive_data(encode_json(frames.HELLO, {**HELLO, "forward": {"services": [text, 7, None] * 30}}), 0.0)
    assert end.awaits_decision and len(end.services) == 16
    assert all(service.isprintable() and len(service) <= 60 for service in end.services)


def test_an_end_of_no_daemon_takes_nothing() -> None:
    """What it is sent, and who may connect to it, each kind of end says itself."""
    client, server = ClientEnd({}, "1", 0.0), ServerEnd(0.0)
    client.receive_data(encode_json(frames.WELCOME, {"version": "1"}), 0.0)
    with pytest.raises(NotImplementedError):
        client.receive_data(encode_frame(frames.RECORDS), 0.0)
    with pytest.raises(NotImplementedError):
        server.receive_data(encode_json(frames.HELLO, HELLO), 0.0)


@pytest.mark.parametrize("kind", [frames.PACKETS, frames.ANSWERS, frames.QUESTIONS, frames.RECORDS])
def test_nothing_counts_before_the_welcome(kind: int) -> None:
    """An end that sends what it has before it may is closed, and an intercept is never sent such."""
    for end in (Link().feed, Link().exchange().feed, Link().forward, InterceptEnd(0.0)):
        assert end.receive_data(encode_frame(kind), 0.0) == []
        assert end.closed_because == f"protocol error: unexpected frame type {kind}"


@pytest.mark.parametrize(
    ("side", "kinds"),
    [
        ("forward", (frames.PACKETS, frames.ANSWERS, frames.RECORDS)),
        ("feed", (frames.QUESTIONS, frames.RECORDS, frames.WELCOME)),
    ],
)
def test_frames_in_the_wrong_direction_close(side: str, kinds: tuple[int, ...]) -> None:
    """Also when the link is established."""
    for kind in kinds:
        end = getattr(Link().established(), side)
        assert end.receive_data(encode_frame(kind), 0.0) == []
        assert end.closed_because == f"protocol error: unexpected frame type {kind}"


# -- packets -----------------------------------------------------------------------------------------------------------


@given(st.integers(0, 1000), st.lists(st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=9), max_size=5))
def test_packets_arrive_in_order(seed: int, blocks: list[list[bytes]]) -> None:
    """Each frame's body, once."""
    link = Link(seed).established()
    for block in blocks:
        link.sends(*block)
    assert link.exchange().packets == [packed(*((0, 0, packet) for packet in block)) for block in blocks]
    assert link.forward.forwarded == sum(len(block) for block in blocks)


def test_a_frame_without_packets_is_not_sent() -> None:
    """A block may have had only packets for others in it."""
    link = Link().established().sends()
    assert not link.forward.data_to_send() and link.forward.forwarded == 0


@pytest.mark.parametrize(("lost", "said"), [(1, 1), (MAX_AGE, MAX_AGE), (MAX_AGE + 1, MAX_AGE)])
def test_what_was_lost_is_told_once(lost: int, said: int) -> None:
    """Before the packets behind it, or alone."""
    for packets in ((), (b"behind",)):
        link = Link().established()
        link.forward.lost = lost
        link.sends(*packets).sends(b"later").exchange()
        behind = [(0, 0, packet) for packet in packets]
        assert link.packets == [packed((0, said, b""), *behind), packed((0, 0, b"later"))]
        assert link.forward.lost == 0


def test_packets_wait_for_the_link_only_so_far() -> None:
    """There is room from the welcome on, as long as less than that waits; and none when it is over."""
    link = Link()
    assert not link.forward.has_room()
    link.established()
    while link.forward.has_room():
        link.sends(bytes(1000))
    assert ROOM <= link.forward.waiting_bytes() < ROOM + 2000
    del link.forward.data_to_send()[:1100]
    assert link.forward.has_room()
    link.forward.close("gone")
    assert not link.forward.has_room()


def test_megabytes_are_handed_out_in_order_and_a_little_at_a_time() -> None:
    """A ping goes before what waits, so that the other end's answer does; what the kernel says goes behind it."""
    link = Link(room=1 << 22).established()
    packets = [bytes([number]) * 100_000 for number in range(20)]
    for packet in packets:
        link.sends(packet)
    link.forward.answer([(FLOW, "gone")])
    assert link.forward.waiting_bytes() > 2_000_000
    assert len(link.forward.data_to_send()) < 1 << 19
    link.forward.handle_timer(2.0)
    link.exchange()
    assert link.packets == [packed((0, 0, packet)) for packet in packets]
    assert link.feed.states == [(FLOW, "gone")]
    assert link.forward.waiting_bytes() == 0


@pytest.mark.parametrize(
    "body",
    [
        b"\0",
        bytes(HEAD_BYTES - 1),
        packed((0, 0, b"whole")) + bytes(3),
        packed((0, 0, b"cut off"))[:-1],
        packed((CHECKED, 0, b"cut off"))[:-1],
        b"\xff" * HEAD_BYTES,
        b"\x7f\xff\xff\xff" + bytes(4),
    ],
)
def test_packets_that_do_not_fill_their_frame(body: bytes) -> None:
    """The link is closed, and none of them is taken in."""
    with pytest.raises(DecodeError, match="ends in a packet's middle"):
        check_packets(body)
    link = Link().established()
    assert link.feed.receive_data(encode_frame(frames.PACKETS, body), 0.0) == []
    assert "ends in a packet's middle" in link.feed.closed_because
    link.exchange()
    assert link.forward.closed_because.startswith("refused: protocol error")


@given(st.binary(max_size=60) | st.lists(st.binary(max_size=9)).map(lambda all_: packed(*((0, 1, x) for x in all_))))
def test_packets_are_checked_as_they_are_read(body: bytes) -> None:
    """What passes the check can be taken apart to its last octet, and what can be passes."""
    at = 0
    while at + HEAD_BYTES <= len(body):
        at += HEAD_BYTES + (int.from_bytes(body[at : at + 4], "big") & ~CHECKED)
    if at == len(body):
        check_packets(body)
    else:
        with pytest.raises(DecodeError):
            check_packets(body)


# -- questions and answers ---------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(FLOWS, st.sampled_from(STATES)), max_size=MAX_QUESTIONS))
def test_states_survive_the_way(states: list[tuple[bytes, str]]) -> None:
    """Of IPv4's connections and of IPv6's."""
    ((kind, body),) = fed(FrameReader(), encode_states(states))
    assert kind == frames.ANSWERS and decode_states(body) == states


def test_a_question_and_its_answer() -> None:
    """One after the other: what is asked while another question waits is asked again later."""
    link = Link()
    link.feed.ask(FLOW)
    assert not link.feed.data_to_send(), "nobody is there to ask"
    link.established()
    for asked in (FLOW, FLOW6):
        link.feed.ask(asked)
        link.feed.ask(FLOW6)
        link.exchange()
        assert [decode_questions(body) for body in link.questions] == [[asked]]
        link.questions.clear()
        link.forward.answer([(asked, "gone")])
        link.exchange()
        assert link.feed.states == [(asked, "gone")]
        link.feed.states.clear()
    assert link.packets == []


@pytest.mark.parametrize(
    "body",
    [
        bytes(1),
        bytes((12,)) + bytes(11),
        bytes((36,)) + bytes(35),
        bytes((13,)) + bytes(13),
        bytes((255,)) + bytes(300),
        (bytes((12,)) + bytes(12)) * (MAX_QUESTIONS + 1),
    ],
)
def test_questions_that_are_none(body: bytes) -> None:
    """Cut off, of no length that a key has, or more than forward's kernel is to be asked at once."""
    with pytest.raises(DecodeError, match="cut off, too many, or no keys"):
        decode_questions(body)
    link = Link().established()
    assert link.forward.receive_data(encode_frame(frames.QUESTIONS, body), 0.0) == []
    assert "no keys" in link.forward.closed_because


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (bytes((12,)) + bytes(12), "cut off"),
        (bytes((36,)) + bytes(36), "cut off"),
        (bytes((12,)) + bytes(12) + b"\3", "3 is no state"),
        (bytes((12,)) + bytes(12) + b"\0" + bytes((12,)) + bytes(12) + b"\xff", "255 is no state"),
        ((bytes((12,)) + bytes(13)) * (MAX_QUESTIONS + 1), "too many"),
    ],
)
def test_answers_that_are_none(body: bytes, reason: str) -> None:
    """The link is closed, and no part of them counts."""
    with pytest.raises(DecodeError, match=reason):
        decode_states(body)
    link = Link().established()
    link.feed.receive_data(encode_frame(frames.ANSWERS, body), 0.0)
    assert reason in link.feed.closed_because and link.feed.states == []


def test_questions_of_a_peer_that_does_not_read_pile_up_nothing() -> None:
    """They are answered as long as packets would have room, too."""
    link = Link().established()
    body = (bytes((12,)) + FLOW) * MAX_QUESTIONS
    for _ in range(1000):
        for asked in link.forward.receive_data(encode_frame(frames.QUESTIONS, body), 0.0):
            link.forward.answer([(flow, "unknown") for flow in decode_questions(asked)])
    assert ROOM <= link.forward.waiting_bytes() < ROOM + 15 * MAX_QUESTIONS
    assert not link.forward.closed_because
    link.forward.close("gone")
    waiting = link.forward.waiting_bytes()
    link.forward.answer([(FLOW, "open")])
    assert link.forward.waiting_bytes() == waiting


# -- hostile peers -----------------------------------------------------------------------------------------------------

KEYS = st.builds(lambda flow, behind: bytes((len(flow),)) + flow + behind, FLOWS, st.binary(max_size=1))
BODIES = (
    st.binary(max_size=60)
    | st.lists(KEYS, max_size=5).map(b"".join)
    | st.lists(st.binary(max_size=20), max_size=5).map(lambda all_: packed(*((CHECKED, 9, x) for x in all_)))
)
FRAME_LIKE = st.builds(encode_frame, st.integers(0, 10), BODIES)
STREAMS = st.lists(FRAME_LIKE | st.binary(max_size=20), max_size=6)


@settings(max_examples=300)
@given(STREAMS, st.booleans())
def test_garbage_never_raises(pieces: list[bytes], welcomed: bool) -> None:
    """Whatever a peer sends, either end takes it or closes, and says why; and what it took in it can read."""
    link = Link()
    if welcomed:
        link.established()
    for piece in pieces:
        for body in link.feed.receive_data(piece, 0.0):
            check_packets(body)
        for body in link.forward.receive_data(piece, 0.0):
            assert all(len(flow) in (12, 36) for flow in decode_questions(body))
    assert all(len(flow) in (12, 36) and state in STATES for flow, state in link.feed.states)
    for end in (link.feed, link.forward):
        assert not (end.established and end.closed_because)
