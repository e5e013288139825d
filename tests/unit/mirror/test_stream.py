"""A client's byte stream comes out whole, whatever way its segments were captured."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copytool.mirror.stream import MAX_HELD_PIECES, PUSHED, URGENT, ClientStream, Piece
from copytool.wire.build import build_segment
from copytool.wire.segment import ACK, FIN, PSH, SYN, URG, Segment, parse_segment
from copytool.wire.seq import SEQ_MASK

ADDRESS = bytes(4)
BASE = 700_000


class Captured:
    """A stream and a short way to feed it. Positions count from the first payload octet."""

    def __init__(self, isn: int = 0) -> None:
        self.isn = isn
        self.stream = ClientStream(isn)
        self.pieces: list[Piece] = []
        self.fed = 0

    def feed(
        self, position: int, payload: bytes = b"", flags: int = ACK, seen: int = 0, cut: int = 0, urgent: int = 0
    ) -> None:
        """A segment was captured; the last `cut` octets of its payload were not. `urgent` is its urgent pointer."""
        flags |= URG if urgent else 0
        seq = (self.isn + 1 + position) & SEQ_MASK
        ack = (BASE + seen) & SEQ_MASK if flags & ACK else 0
        packet = build_segment(ADDRESS, ADDRESS, 1, 2, seq, ack, flags, 0, b"", payload, urgent)
        view = memoryview(packet)[: len(packet) - cut]
        segment = Segment()
        assert parse_segment(segment, view) == 0
        self.fed += segment.captured_len
        self.pieces += self.stream.receive(segment, view)
        assert self.fed == self.accounted

    @property
    def octets(self) -> bytes:
        """Everything delivered so far."""
        return b"".join(octets for octets, _, _, _ in self.pieces)

    @property
    def accounted(self) -> int:
        """Octets delivered, held, captured again or behind the FIN."""
        stream = self.stream
        return len(self.octets) + stream.held_bytes + stream.duplicate_bytes + stream.unread_bytes


ISNS = st.one_of(st.integers(0, SEQ_MASK), st.integers(SEQ_MASK - 400, SEQ_MASK))


@st.composite
def schedules(draw: st.DrawFn) -> tuple[bytes, list[tuple[int, int]]]:
    """Draw a byte string and segments (start, end) that cover it, overlap, repeat and come in any order."""
    data = random.Random(draw(st.integers(0, 1000))).randbytes(draw(st.integers(1, 300)))
    cuts = sorted({0, len(data), *draw(st.lists(st.integers(0, len(data)), max_size=8))})
    cover = list(pairwise(cuts))
    index = st.integers(0, len(data))
    extra = [(min(pair), max(pair)) for pair in draw(st.lists(st.tuples(index, index), max_size=8))]
    return data, draw(st.permutations(cover + extra))


@settings(max_examples=400)
@given(schedules(), ISNS)
def test_any_schedule_reassembles_exactly(schedule: tuple[bytes, list[tuple[int, int]]], isn: int) -> None:
    """Splits, reordering, overlaps and repetitions, across the sequence wrap, give the very bytes, once."""
    data, segments = schedule
    captured = Captured(isn)
    for start, end in segments:
        captured.feed(start, data[start:end])
        assert data.startswith(captured.octets)
    assert captured.octets == data
    assert captured.stream.next_seq == (isn + 1 + len(data)) & SEQ_MASK
    assert captured.stream.held_bytes == 0 and not captured.stream.has_hole()


@given(schedules(), ISNS, st.integers(0, 20))
def test_fin_at_any_time_ends_the_stream_at_its_place(schedule, isn: int, when: int) -> None:
    """A FIN that overtakes data, or comes twice, finishes the stream exactly when everything before it is there."""
    data, segments = schedule
    captured = Captured(isn)
    for index, (start, end) in enumerate(segments):
        if index == when:
            captured.feed(len(data), b"", ACK | FIN)
        captured.feed(start, data[start:end])
        assert captured.stream.finished == (index >= when and captured.octets == data)
    captured.feed(len(data), b"", ACK | FIN)
    assert captured.stream.finished
    assert captured.octets == data
    assert not captured.stream.has_hole()


def test_segments_of_64_kib() -> None:
    """GRO super-segments are segments like others."""
    data = random.Random(1).randbytes(200_000)
    captured = Captured(SEQ_MASK - 70_000)
    for start in (65_000, 0, 130_000, 195_000):
        captured.feed(start, data[start : start + 65_000])
    assert captured.octets == data


def test_hole_is_known() -> None:
    """Bytes behind a hole are held and reported as such."""
    captured = Captured()
    captured.feed(0, b"abc")
    assert not captured.stream.has_hole()
    captured.feed(5, b"fgh")
    assert captured.stream.has_hole() and captured.stream.held_bytes == 3
    captured.feed(3, b"de")
    assert captured.octets == b"abcdefgh" and not captured.stream.has_hole()


def test_fin_behind_a_hole_is_a_hole() -> None:
    """A FIN whose bytes before it are missing does not finish the stream."""
    captured = Captured()
    captured.feed(3, b"", ACK | FIN)
    assert captured.stream.has_hole() and not captured.stream.finished


def test_cut_payload_is_missing_from_where_it_is_cut() -> None:
    """A snapshot length makes a hole, not a shorter stream."""
    captured = Captured()
    captured.feed(0, b"abcdef", cut=2)
    captured.feed(6, b"gh")
    assert captured.octets == b"abcd" and captured.stream.has_hole()
    captured.feed(0, b"abcdef")
    assert captured.octets == b"abcdefgh"


def test_fin_of_a_cut_segment_does_not_finish() -> None:
    """The FIN behind a cut payload is not in order before the payload is."""
    captured = Captured()
    captured.feed(0, b"abcdef", ACK | FIN, cut=2)
    assert not captured.stream.finished
    captured.feed(0, b"abcdef", ACK | FIN)
    assert captured.stream.finished


def test_data_in_the_syn() -> None:
    """TCP Fast Open: the first payload octet is the one behind the SYN."""
    captured = Captured(1000)
    captured.feed(-1, b"early", SYN)
    captured.feed(5, b" bird")
    assert captured.octets == b"early bird"


def test_keep_alive_probes_add_nothing() -> None:
    """One octet from before the next one, of any value, is a duplicate."""
    captured = Captured()
    captured.feed(0, b"abc")
    captured.feed(2, b"\0")
    captured.feed(2)
    assert captured.octets == b"abc" and not captured.stream.has_hole()


def test_octets_behind_the_fin_are_refused() -> None:
    """Nothing behind the FIN joins the stream, whether it comes before or after the FIN."""
    captured = Captured()
    captured.feed(0, b"abc", ACK | FIN)
    captured.feed(3, b"xyz")
    captured.feed(4, b"uvw")
    assert captured.octets == b"abc" and captured.stream.finished
    captured = Captured()
    captured.feed(4, b"uvw")
    captured.feed(2, b"cde")
    captured.feed(3, b"", ACK | FIN)
    captured.feed(0, b"abc")
    assert captured.octets == b"abc" and captured.stream.finished
    assert captured.stream.held_bytes == 0


def test_first_fin_counts() -> None:
    """A second FIN elsewhere does not move the end of the stream."""
    captured = Captured()
    captured.feed(3, b"", ACK | FIN)
    captured.feed(9, b"", ACK | FIN)
    captured.feed(0, b"abc")
    assert captured.stream.finished


def test_fin_before_what_was_delivered_is_ignored() -> None:
    """A FIN that would cut off delivered bytes is not the client's."""
    captured = Captured()
    captured.feed(0, b"abcdef")
    captured.feed(2, b"", ACK | FIN)
    assert not captured.stream.finished and not captured.stream.has_hole()


def test_number_of_held_pieces_is_bounded() -> None:
    """A client that sends every second octet is cut off at the limit, not served with ever more work."""
    captured = Captured()
    for index in range(MAX_HELD_PIECES):
        captured.feed(1 + 2 * index, b"x")
    with pytest.raises(OverflowError):
        captured.feed(1 + 2 * MAX_HELD_PIECES, b"x")


def test_held_pieces_sent_again_are_not_held_twice() -> None:
    """Retransmissions behind a hole cost no memory."""
    captured = Captured()
    for _ in range(MAX_HELD_PIECES * 2):
        captured.feed(10, b"behind")
    assert captured.stream.held_bytes == 6


# -- seen ---------------------------------------------------------------------------------------------------


def seen_of(captured: Captured) -> list[int]:
    """Return the `seen` of each piece."""
    return [seen for _, seen, _, _ in captured.pieces]


def test_seen_counts_from_the_first_acknowledgement() -> None:
    """Each piece carries how much of the response its sender had read."""
    captured = Captured()
    captured.feed(0)
    captured.feed(0, b"one")
    captured.feed(3, b"two", seen=100)
    captured.feed(6, b"three", seen=2**31)
    assert seen_of(captured) == [0, 100, 100 + 2**31 - 100]


def test_seen_passes_four_gigabytes() -> None:
    """A long download wraps its sequence numbers; seen does not."""
    captured = Captured()
    captured.feed(0)
    total = 0
    for step in range(1, 9):
        total = step * (2**30)
        captured.feed(step - 1, b"x", seen=total)
    assert seen_of(captured)[-1] == 2**33


def test_seen_belongs_to_the_segment_not_to_its_arrival() -> None:
    """A segment that was overtaken keeps the smaller count it was sent with."""
    captured = Captured()
    captured.feed(0)
    captured.feed(3, b"two", seen=100)
    captured.feed(0, b"one", seen=0)
    assert captured.pieces == [(b"one", 0, PUSHED, 0.0), (b"two", 100, PUSHED, 0.0)]
    assert captured.stream.seen == 100


def test_fin_carries_seen() -> None:
    """The FIN knows what the client had read when it closed."""
    captured = Captured()
    captured.feed(0, b"abc")
    captured.feed(3, b"", ACK | FIN, seen=50)
    assert captured.stream.fin_seen == 50


def test_an_acknowledgement_from_behind_shows_a_hole() -> None:
    """When data was not captured, the number of a later pure acknowledgement tells, and how much is missing."""
    captured = Captured()
    captured.feed(0, b"abc")
    assert not captured.stream.has_hole()
    captured.feed(10)
    assert captured.stream.has_hole()
    assert captured.stream.missing_bytes() == 7
    captured.feed(5, b"fg")
    assert captured.stream.missing_bytes() == 5
    captured.feed(3, b"defghij")
    assert not captured.stream.has_hole()


@pytest.mark.parametrize("position", [-1, 0, 2, -(2**31), 2**30 + 10])
def test_numbers_that_prove_nothing(position: int) -> None:
    """A keep-alive probe, an old segment and a number outside any window are no holes."""
    captured = Captured()
    captured.feed(0, b"abc")
    captured.feed(position)
    assert not captured.stream.has_hole()


def test_acknowledgements_behind_the_fin_are_no_holes() -> None:
    """A client that has closed acknowledges with the number behind its FIN."""
    captured = Captured()
    captured.feed(0, b"abc", ACK | FIN)
    captured.feed(4)
    assert captured.stream.finished and not captured.stream.has_hole()


def test_a_fin_that_was_not_captured_is_a_hole() -> None:
    """What comes with the number behind an uncaptured FIN shows that something is missing."""
    captured = Captured()
    captured.feed(0, b"abc")
    captured.feed(4)
    assert captured.stream.has_hole() and captured.stream.missing_bytes() == 1


def marks(captured: Captured) -> list[tuple[bytes, bool]]:
    """Return the pieces without what the client had seen."""
    return [(octets, bool(marks & URGENT)) for octets, _, marks, _ in captured.pieces]


def test_pieces_end_behind_urgent_octets() -> None:
    """The octet before the urgent pointer ends a piece that says so."""
    captured = Captured()
    captured.feed(0, b"abXcd", urgent=3)
    captured.feed(5, b"Y", urgent=1)
    assert marks(captured) == [(b"abX", True), (b"cd", False), (b"Y", True)]


def test_an_urgent_octet_may_be_announced_early_and_come_late() -> None:
    """The pointer may lead beyond the segment, repeat, and come out of order; the wrap of numbers changes nothing."""
    captured = Captured(SEQ_MASK - 4)
    captured.feed(2, b"cd", urgent=4)
    captured.feed(0, b"ab", urgent=6)
    captured.feed(0, b"ab", urgent=2)
    captured.feed(4, b"efg")
    assert marks(captured) == [(b"ab", False), (b"cd", False), (b"ef", True), (b"g", False)]


def test_of_urgent_octets_ahead_the_newest_counts() -> None:
    """Receivers forget an older pointer, and a client that announces without end makes nothing grow."""
    captured = Captured()
    for ahead in range(1, 100):
        captured.feed(0, b"", urgent=ahead * 2)
    captured.feed(0, bytes(200))
    assert sum(urgent for _, urgent in marks(captured)) == 1
    assert len(captured.octets) == 200


def test_octets_outside_any_window_are_read_by_nobody() -> None:
    """They are counted, and neither held nor taken for a hole."""
    captured = Captured()
    captured.feed(2**30, b"far", ACK | FIN)
    assert captured.stream.unread_bytes == 3
    assert not captured.stream.has_hole()
    captured.feed(0, b"abc")
    assert captured.octets == b"abc"


def test_a_write_ends_where_the_client_says_or_stops() -> None:
    """A full segment without PSH is in the middle of a write; PSH, FIN and a short segment end it."""
    captured = Captured()
    captured.feed(0, bytes(1000))
    captured.feed(1000, bytes(1000), ACK | PSH)
    captured.feed(3000, bytes(1000))
    captured.feed(2000, bytes(1000))
    captured.feed(4000, bytes(10))
    captured.feed(4010, bytes(1000), ACK | FIN)
    assert [marks for _, _, marks, _ in captured.pieces] == [0, PUSHED, 0, 0, PUSHED, PUSHED]


def test_a_pointer_that_leads_as_far_as_it_can_marks_no_octet_on_the_way() -> None:
    """Linux announces an urgent octet that is more than 64 KiB away with 0xFFFF on each segment before it."""
    captured = Captured()
    for start in range(0, 70_000, 1000):
        captured.feed(start, bytes(1000), urgent=min(0xFFFF, 70_000 - start))
    ends, at = [], 0
    for octets, urgent in marks(captured):
        at += len(octets)
        ends += [at] if urgent else []
    assert ends == [70_000]
