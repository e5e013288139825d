"""A share that goes from one value to another in a given time."""

from __future__ import annotations

__all__ = ["Ramp"]


class Ramp:
    """Goes from `start` to `goal`, in per cent, in `duration_s` from `begins_at`: as much each second."""

    def __init__(self, start: float, goal: float, begins_at: float, duration_s: float = 0.0) -> None:
        self.goal = goal
        self._start = start
        self._begins_at = begins_at
        self._duration_s = duration_s

    def at(self, now: float) -> float:
        """Return the share at a time."""
        if now < self._begins_at:
            return self._start
        rest_s = self.rest_s(now)
        return self.goal + (self._start - self.goal) * rest_s / self._duration_s if rest_s else self.goal

    def rest_s(self, now: float) -> float:
        """Return how long it takes until the goal is reached."""
        return max(self._begins_at + self._duration_s - now, 0.0)
