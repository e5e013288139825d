"""Durations in buckets."""

from __future__ import annotations

import math

import pytest

from copytool.mirror.histogram import BOUNDS_S, Histogram, quantile

from .playbook import Scene


def test_each_duration_is_in_the_bucket_that_its_bound_says() -> None:
    """Below the bound, and not below the one before; the last bucket has no bound. A negative one counts as none."""
    for index, bound in enumerate(BOUNDS_S):
        histogram = Histogram()
        histogram.note(bound * 0.99)
        assert list(histogram.to_json()["buckets"]) == [f"{bound:g}"]
        histogram.note(bound * 1.01)
        following = f"{BOUNDS_S[index + 1]:g}" if bound != BOUNDS_S[-1] else "inf"
        assert histogram.to_json()["buckets"] == {f"{bound:g}": 1, following: 1}
    histogram = Histogram()
    histogram.note(-5.0)
    histogram.note(1e9)
    assert histogram.to_json() == {"count": 2, "sum_s": 1e9, "buckets": {"5e-05": 1, "inf": 1}}


def test_quantiles() -> None:
    """They are upper bounds, also of what several histograms count together."""
    histogram = Histogram()
    for milliseconds in range(1, 101):
        histogram.note(milliseconds / 1000)
    shown = histogram.to_json()
    assert shown["sum_s"] == pytest.approx(5.05)
    assert 0.05 <= quantile(shown, 0.5) <= 0.11
    assert 0.099 <= quantile(shown, 0.99) <= 0.21
    twice = {"count": 200, "buckets": {name: 2 * count for name, count in shown["buckets"].items()}}
    assert quantile(twice, 0.5) == quantile(shown, 0.5)
    histogram = Histogram()
    histogram.note(100.0)
    assert quantile(histogram.to_json(), 0.5) == math.inf
    assert quantile(Histogram().to_json(), 0.5) == math.inf


def test_lag_is_from_the_capture_to_the_release() -> None:
    """A request that waits for the answer to the one before is late by that, and by the time in the ring."""
    scene = Scene()
    client, target = scene.opened()
    client.says(b"first")
    assert scene.engine.counters.lag.to_json()["buckets"] == {"5e-05": 1}
    client.says(b"second", seen=10)
    scene.now += 0.3
    target.answers(10, acked=5)
    lag = scene.engine.counters.lag.to_json()
    assert lag["sum_s"] == pytest.approx(0.3)
    assert lag["count"] == 2
    answers = scene.engine.counters.release.answer_time.to_json()
    assert (answers["count"], answers["sum_s"]) == (1, pytest.approx(0.3))


def test_time_in_the_capture_ring_counts() -> None:
    """The kernel says when a packet came; a time in the future, after a step of the clock, counts as now."""
    for captured_at, lag in ((4.2, 0.8), (9.0, 0.0)):
        scene = Scene()
        scene.opened()
        scene.now = 5.0
        scene.client().segment_at(captured_at, b"abc")
        assert scene.engine.counters.lag.to_json()["sum_s"] == pytest.approx(lag)
