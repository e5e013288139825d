"""The retransmission time-out follows RFC 6298, with the common lower bound of 200 ms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copytool.mirror.rtt import RttEstimator


def test_before_the_first_sample_it_is_one_second() -> None:
    """RFC 6298, 2.1."""
    assert RttEstimator().rto_s() == 1.0
    assert RttEstimator().unbounded_rto_s() == 0.0


def test_first_sample() -> None:
    """RFC 6298, 2.2: SRTT = R, RTTVAR = R/2, RTO = SRTT + 4 RTTVAR."""
    rtt = RttEstimator()
    rtt.sample(0.4)
    assert (rtt.smoothed_s, rtt.variation_s) == (0.4, 0.2)
    assert rtt.rto_s() == pytest.approx(1.2)


def test_later_samples() -> None:
    """RFC 6298, 2.3: gains of 1/8 and 1/4, the variation first."""
    rtt = RttEstimator()
    rtt.sample(0.4)
    rtt.sample(0.8)
    assert rtt.variation_s == pytest.approx(0.75 * 0.2 + 0.25 * 0.4)
    assert rtt.smoothed_s == pytest.approx(0.875 * 0.4 + 0.125 * 0.8)


@given(st.lists(st.floats(0, 100), max_size=30), st.integers(0, 16))
def test_bounds(samples: list[float], backoff: int) -> None:
    """Whatever is measured, the time-out stays between 200 ms and a minute."""
    rtt = RttEstimator()
    for sample in samples:
        rtt.sample(sample)
    rtt.backoff = backoff
    assert 0.2 <= rtt.rto_s() <= 60.0


def test_back_off_doubles() -> None:
    """Each step of back-off doubles the time-out up to the bound."""
    rtt = RttEstimator()
    rtt.sample(0.001)
    values = []
    for rtt.backoff in range(12):
        values.append(rtt.rto_s())
    assert values[:4] == [0.2, 0.4, 0.8, 1.6]
    assert values[-1] == 60.0
