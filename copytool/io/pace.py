"""How often a busy daemon looks for more to do.

Each look costs the host a wake-up, whatever it finds. So a daemon that has much to do lets it collect for a moment, and
one that has little to do answers at once.
"""

from __future__ import annotations

__all__ = ["Pace"]

_BUSY = 4


class Pace:
    """Times in seconds. `relaxed_s` and `pressed_s`: the shortest time between two looks of a busy daemon.

    pressed: somebody waits for what is found.
    """

    def __init__(self, relaxed_s: float, pressed_s: float) -> None:
        self._relaxed_s = relaxed_s
        self._pressed_s = pressed_s
        self._done = 0

    def after(self, done: int, is_pressed: bool) -> float:
        """Return how long after the last look the next may come; `done`: packets and records dealt with in all."""
        new = done - self._done
        self._done = done
        if new < _BUSY:
            return 0.0
        return self._pressed_s if is_pressed else self._relaxed_s
