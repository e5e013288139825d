"""How far a response has come, and when it is acknowledged."""

from __future__ import annotations

from copytool.link.records import ResponseRecord
from copytool.mirror.responses import ResponseSide
from copytool.mirror.timers import NEVER
from copytool.wire.segment import ACK, FIN, SYN

IRS = 2**32 - 10


def record(end: int, flags: int = ACK, data_segments: int = 1) -> ResponseRecord:
    """Return a record whose newest response octet lies before position `end`."""
    made = ResponseRecord()
    made.end = (IRS + 1 + end) % 2**32
    made.flags, made.data_segments = flags, data_segments
    return made


def opened() -> ResponseSide:
    """Return the side after the SYN/ACK, which was acknowledged."""
    side = ResponseSide(0.01)
    side.open(IRS, 0.0)
    assert side.ack_at == 0.0
    assert side.acknowledge(True) == (IRS + 1) % 2**32
    assert side.ack_at == NEVER
    return side


def test_one_segment_waits_two_do_not() -> None:
    """An acknowledgement is due after the delay, or at once for the second segment (RFC 9293, section 3.8.6.3)."""
    side = opened()
    assert side.receive(record(100), 1.0)
    assert side.ack_at == 1.01
    assert side.receive(record(200), 1.002)
    assert side.ack_at == 1.002
    assert side.acknowledge(True) == (IRS + 201) % 2**32


def test_an_acknowledgement_that_goes_alone_for_nothing_waits_longer_next_time() -> None:
    """Twice as long each time, up to eight times; one that the target has waited for makes it start again."""
    side, end, delays = opened(), 0, []
    for _ in range(5):
        end += 100
        side.receive(record(end), 1.0)
        delays.append(round(side.ack_at - 1.0, 3))
        side.acknowledge(True)
        side.acknowledge(False)
    assert delays == [0.01, 0.02, 0.04, 0.08, 0.08]
    for end in (600, 700):  # without client data in between
        side.receive(record(end), 2.0)
        side.acknowledge(True)
    side.receive(record(800), 3.0)
    assert side.ack_at == 3.01


def test_acknowledgements_that_were_due_at_once_say_nothing() -> None:
    """What follows the second segment, or goes with client data anyhow, changes no delay."""
    side = opened()
    side.receive(record(300, data_segments=2), 1.0)
    side.acknowledge(True)
    side.receive(record(500, data_segments=1), 1.0)
    side.acknowledge(False)
    side.receive(record(600), 2.0)
    assert side.ack_at == 2.01


def test_fin_counts_as_an_octet_and_is_acknowledged_at_once() -> None:
    """The end of the response ends it."""
    side = opened()
    side.receive(record(1, ACK | FIN), 1.0)
    assert side.finished and side.received == 1 and side.ack_at == 1.0


def test_what_was_acknowledged_before_is_acknowledged_again() -> None:
    """A repeated segment, SYN/ACK or probe shows that our acknowledgement was lost; a pure one shows nothing."""
    for again in (record(50), record(100, data_segments=1), record(100, ACK | SYN, 0)):
        side = opened()
        side.receive(record(100), 1.0)
        side.acknowledge(True)
        side.receive(again, 2.0)
        assert side.ack_at == 2.0
    side = opened()
    side.receive(record(0, data_segments=0), 2.0)
    assert side.ack_at == NEVER


def test_a_jump_beyond_any_window_is_refused() -> None:
    """A number that no window allows changes nothing."""
    side = opened()
    assert not side.receive(record(2**30 + 1), 1.0)
    assert side.received == 0


def test_resets_are_expected_at_what_was_acknowledged_or_is_newest() -> None:
    """Others are plausible inside the window, and nothing outside."""
    side = opened()
    side.receive(record(100), 1.0)
    base = IRS + 1
    assert [side.is_expected((base + offset) % 2**32) for offset in (0, 100, 50)] == [True, True, False]
    assert [side.is_plausible((base + offset) % 2**32) for offset in (50, -1, 2**30)] == [True, False, False]


def test_a_fin_that_was_lost_is_asked_for() -> None:
    """A pure acknowledgement with the number behind a FIN that never came leaves one octet open: it is repeated."""
    side = opened()
    side.receive(record(100), 1.0)
    side.acknowledge(True)
    side.receive(record(101, ACK, 0), 2.0)
    assert (side.received, side.ack_at, side.finished) == (100, 2.0, False)
    assert side.acknowledge(True) == (IRS + 101) % 2**32
    side.receive(record(101, ACK | FIN), 2.2)
    assert (side.received, side.finished) == (101, True)
    side.acknowledge(True)
    side.receive(record(101, ACK, 0), 2.3)
    assert side.received == 101


def test_data_that_was_lost_is_acknowledged_but_for_one_octet() -> None:
    """The number of a later acknowledgement shows it; nobody needs the octets, but the last may be a FIN."""
    side = opened()
    side.receive(record(5000, ACK, 0), 1.0)
    assert (side.received, side.ack_at) == (4999, 1.0)
