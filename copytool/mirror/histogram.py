"""How long something took, counted in buckets: cheap enough for each request, and sums of several make sense."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["BOUNDS_S", "Histogram", "quantile"]

_BUCKETS = 20
_FIRST_S = 50e-6
_PER_S = 20_000.0  # 1 / _FIRST_S

BOUNDS_S = tuple(_FIRST_S * (1 << index) for index in range(_BUCKETS))
"""Upper bounds of the buckets, 50 µs to 26 s, each twice the one before; the last bucket has none."""


class Histogram:
    """Durations in seconds. count: how many there were."""

    __slots__ = ("_counts", "_sum_s", "count")

    def __init__(self) -> None:
        self._counts = [0] * (_BUCKETS + 1)
        self._sum_s = 0.0
        self.count = 0

    def note(self, seconds: float) -> None:
        """Count one; a negative one, after a step of the clock, as none."""
        units = int(seconds * _PER_S) if seconds > 0 else 0
        index = 0
        while units and index < _BUCKETS:
            units >>= 1
            index += 1
        self._counts[index] += 1
        self.count += 1
        if seconds > 0:
            self._sum_s += seconds

    def to_json(self) -> dict[str, Any]:
        """Return {"count": …, "sum_s": …, "buckets": {upper bound in seconds: durations below it, not below the one
        before}}, of which empty ones are left out."""
        names = [*(f"{bound:g}" for bound in BOUNDS_S), "inf"]
        buckets = {name: count for name, count in zip(names, self._counts, strict=True) if count}
        return {"count": self.count, "sum_s": round(self._sum_s, 6), "buckets": buckets}


def quantile(histogram: Mapping[str, Any], share: float) -> float:
    """Return the bound below which at least a share of the durations of a to_json() are; inf if there is none."""
    rest = share * histogram["count"]
    for bound, count in sorted((float(name), count) for name, count in histogram["buckets"].items()):
        rest -= count
        if rest <= 0:
            return bound
    return float("inf")
