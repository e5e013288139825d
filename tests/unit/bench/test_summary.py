"""Medians, spreads, ratios and percentiles."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.summary import Summary, percentile, ratio, summarise


def test_rounds() -> None:
    assert summarise([3.0, 1.0, 2.0]) == Summary(2.0, 1.0, 3.0, 3)
    assert summarise([4.0, 1.0]) == Summary(2.5, 1.0, 4.0, 2)
    assert summarise(iter([])) is None


def test_spread_is_a_share_of_the_median() -> None:
    assert Summary(10.0, 9.0, 12.0, 3).spread == pytest.approx(0.3)
    assert Summary(0.0, 0.0, 1.0, 3).spread == 0.0


def test_ratio_needs_both_and_a_reference_that_is_not_nothing() -> None:
    six, three, nothing = (Summary(value, value, value, 1) for value in (6.0, 3.0, 0.0))
    assert ratio(six, three) == 2.0
    assert ratio(six, nothing) is None
    assert ratio(None, six) is None
    assert ratio(six, None) is None


def test_percentiles_are_values_that_occurred() -> None:
    values = list(range(1, 1001))
    assert percentile(values, 0.5) == 500
    assert percentile(values, 0.99) == 990
    assert percentile(values, 0.999) == 999
    assert percentile(values, 1.0) == 1000
    assert percentile([7.0], 0.5) == percentile([7.0], 0.999) == 7.0
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


@given(st.lists(st.integers(), min_size=1, max_size=50), st.sampled_from([0.01, 0.25, 0.5, 0.75, 0.9, 1.0]))
def test_so_many_do_not_exceed_a_percentile(values: list[int], share: float) -> None:
    found = percentile(sorted(values), share)
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
    assert sum(value < found for value in values) < share * len(values) + 1e-9
    assert percentile(sorted(values), 0.5) == statistics.median_low(values)
