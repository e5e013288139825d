"""How often a busy daemon looks for more to do.

Each look costs the host a wake-up, whatever it finds. So a daemon that has much to do lets it collect for a moment, and
one that has little to do answers at once.
"""

from __future__ import annotations

__all__ = ["Pace"]

_BUSY = 4


class Pace:
    """Tells a busy daemon from one that has little to do."""

    def __init__(self) -> None:
        self._done = 0

    def after(self, done: int, rest_s: float) -> float:
        """Return how long after the last look the next may come: `rest_s` if busy, else 0.

        done: packets and records dealt with in all.
        """
        new = done - self._done
        self._done = done
        return rest_s if new >= _BUSY else 0.0
