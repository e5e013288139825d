"""Congestion control: slow start, avoidance, one reduction a loss (RFC 5681, RFC 6582)."""

from __future__ import annotations

from copytool.mirror.congestion import Congestion

MSS = 1000


def test_slow_start_doubles_in_a_round_trip() -> None:
    """Every acknowledged octet opens the window by one."""
    congestion = Congestion(MSS)
    assert congestion.window == 10 * MSS
    for step in range(1, 11):
        assert not congestion.acknowledge(MSS, step * MSS)
    assert congestion.window == 20 * MSS


def test_window_has_an_upper_bound() -> None:
    """A session that never loses anything does not grow without end."""
    congestion = Congestion(MSS)
    for step in range(100):
        congestion.acknowledge(10**6, step * 10**6)
    assert congestion.window == 4 * 1024 * 1024


def test_loss_halves_once() -> None:
    """The third duplicate halves what is in flight; further duplicates of the same loss change nothing."""
    congestion = Congestion(MSS)
    assert not congestion.note_duplicates(2, 1, 20_001)
    assert congestion.note_duplicates(1, 1, 20_001)
    assert congestion.window == 10_000
    assert not congestion.note_duplicates(9, 1, 20_001)
    assert congestion.window == 10_000


def test_partial_acknowledgements_belong_to_the_same_loss() -> None:
    """Until everything that was in flight is acknowledged each advance names another hole."""
    congestion = Congestion(MSS)
    congestion.note_duplicates(3, 1, 20_001)
    assert congestion.acknowledge(5000, 5001)
    assert not congestion.acknowledge(15_000, 20_001)


def test_avoidance_grows_by_a_segment_in_a_round_trip() -> None:
    """Behind a loss the window grows linearly."""
    congestion = Congestion(MSS)
    congestion.note_duplicates(3, 1, 20_001)
    congestion.acknowledge(20_000, 20_001)
    start = congestion.window
    for step in range(1, start // MSS + 1):
        congestion.acknowledge(MSS, 20_001 + step * MSS)
    assert start + 0.8 * MSS < congestion.window <= start + 1.2 * MSS


def test_time_out_starts_again_with_one_segment() -> None:
    """A time-out is the strongest sign of congestion; duplicates of what is repeated then are echoes."""
    congestion = Congestion(MSS)
    congestion.time_out(1, 20_001, window_is_closed=False)
    assert congestion.window == MSS
    assert not congestion.note_duplicates(5, 10_001, 20_001)


def test_closed_window_is_no_congestion() -> None:
    """Time-outs of window probes leave the window as it is."""
    congestion = Congestion(MSS)
    congestion.time_out(1, 20_001, window_is_closed=True)
    assert congestion.window == 10 * MSS


def test_duplicates_need_something_in_flight() -> None:
    """With nothing unacknowledged nothing can be lost."""
    assert not Congestion(MSS).note_duplicates(9, 5001, 5001)
