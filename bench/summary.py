"""What several rounds say together: medians, spreads, ratios."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Summary", "percentile", "ratio", "summarise"]


@dataclass(frozen=True, slots=True)
class Summary:
    """One number of one tool over all rounds."""

    median: float
    low: float
    high: float
    rounds: int

    @property
    def spread(self) -> float:
        """How far the rounds lie apart, as a share of the median; 0 where the median is 0."""
        return (self.high - self.low) / abs(self.median) if self.median else 0.0

    def divided_by(self, value: float) -> Summary:
        """Return the same in units of another value."""
        return Summary(self.median / value, self.low / value, self.high / value, self.rounds)


def summarise(values: Iterable[float]) -> Summary | None:
    """Return the summary of the rounds' values; None if there are none."""
    found = list(values)
    if not found:
        return None
    return Summary(statistics.median(found), min(found), max(found), len(found))


def ratio(value: Summary | None, reference: Summary | None) -> float | None:
    """Return how many times the reference's median a median is; None where one is missing or the reference is 0."""
    if value is None or reference is None or not reference.median:
        return None
    return value.median / reference.median


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value that `share` (0 to 1) of the sorted values do not exceed; ValueError without values."""
    if not ordered:
        raise ValueError("no values")
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]
