"""Ends open sessions of whole connections, the oldest first, when a budget asks for it."""

from __future__ import annotations

from itertools import islice

from .client import ClientConnection
from .engine import Engine
from .outcome import ACTIVE

__all__ = ["Shedder"]

_BATCHES = 20


class Shedder:
    """Knows which connections are outside of the share that is admitted; they are looked for only when that falls."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._outside: list[ClientConnection] = []
        self._batch = 0

    def look_outside(self) -> None:
        """Find the connections that are mirrored and would be left out if they came now."""
        leaves_out = self._engine.admission.reason_to_leave_out
        self._outside = [one for one in self._engine.connections() if leaves_out(one.flow)]
        self._outside.reverse()
        self._batch = -(-len(self._outside) // _BATCHES)

    def forget(self) -> None:
        """Let those that were found go on: the share has risen."""
        self._outside = []

    def is_any_outside(self) -> bool:
        """Return whether one of those that were found is still mirrored, and outside: the ratio may have risen."""
        outside = self._outside
        leaves_out = self._engine.admission.reason_to_leave_out
        while outside and not (outside[-1].is_mirrored() and leaves_out(outside[-1].flow)):
            outside.pop()
        return bool(outside)

    def end_outside(self, outcome: str, reason: str, now: float) -> None:
        """End a few per cent of those that were found."""
        ended = 0
        while ended < self._batch and self.is_any_outside():
            self._outside.pop().end_sessions(outcome, now, reason)
            ended += 1

    def end_oldest(self, sessions: int, outcome: str, reason: str, now: float) -> None:
        """End so many sessions, and the others of their connections."""
        counters = self._engine.counters
        left = counters.outcomes[ACTIVE] - sessions
        for connection in list(islice(self._engine.connections(), sessions)):
            if counters.outcomes[ACTIVE] <= left:
                break
            connection.end_sessions(outcome, now, reason)
