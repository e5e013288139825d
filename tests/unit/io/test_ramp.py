"""Shares that change step by step."""

from __future__ import annotations

from copytool.io.ramp import Ramp


def test_a_ramp_goes_evenly_to_its_goal_and_stays_there() -> None:
    """Up and down alike."""
    for start, goal in ((100.0, 20.0), (20.0, 100.0)):
        ramp = Ramp(start, goal, 50.0, 10.0)
        assert [ramp.at(now) for now in (50.0, 55.0, 60.0, 1000.0)] == [start, 60.0, goal, goal]
        assert [ramp.rest_s(now) for now in (50.0, 55.0, 60.0)] == [10.0, 5.0, 0.0]


def test_without_duration_it_is_there_at_once() -> None:
    """Also at the very moment."""
    assert Ramp(100.0, 5.0, 50.0).at(50.0) == 5.0


def test_before_it_begins_nothing_changes() -> None:
    """The time until then is part of the rest."""
    ramp = Ramp(5.0, 50.0, 20.0, 10.0)
    assert [(ramp.at(now), ramp.rest_s(now)) for now in (10.0, 19.0, 20.0)] == [(5, 20), (5, 11), (5, 10)]
    at_once = Ramp(5.0, 50.0, 20.0)
    assert [at_once.at(now) for now in (19.9, 20.0)] == [5, 50]
