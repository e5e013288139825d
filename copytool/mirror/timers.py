"""A timer queue: one deadline per item, cost independent of how many idle items wait."""

from __future__ import annotations

import heapq
from typing import Protocol

__all__ = ["NEVER", "Timed", "TimerQueue"]

NEVER = float("inf")

_MIN_DELAY_S = 0.001  # an item that stays due, which would be a bug, must not hold the process
_MIN_STALE = 64


class Timed(Protocol):
    """An item with a deadline."""

    timer_at: float
    """When the queue will next look at the item; kept by the queue, NEVER when it is not queued."""

    def next_timer(self) -> float:
        """Return the item's real deadline, or NEVER."""
        ...

    def handle_timer(self, now: float) -> None:
        """Act on the deadline."""
        ...


class TimerQueue:
    """A heap with lazy updates: a deadline that moves later (the usual case) costs nothing until it comes up.

    Entries that an earlier one replaced would stay until their far deadline, one for each request of a session, so
    they are cleared away whenever they are more than half of the heap.
    """

    __slots__ = ("_heap", "_serial", "_stale")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timed]] = []
        self._serial = 0
        self._stale = 0

    def __len__(self) -> int:
        return len(self._heap)

    def update(self, item: Timed) -> None:
        """Note that the deadline of `item` may have changed."""
        self._push(item, item.next_timer())

    def _push(self, item: Timed, when: float) -> None:
        if when < item.timer_at:
            replaced = item.timer_at != NEVER
            item.timer_at = when
            self._serial += 1
            heapq.heappush(self._heap, (when, self._serial, item))
            if replaced:
                self._note_stale()

    def discard(self, item: Timed) -> None:
        """Forget the item, which has no deadline any more."""
        if item.timer_at != NEVER:
            item.timer_at = NEVER
            self._note_stale()

    def _note_stale(self) -> None:
        heap = self._heap
        self._stale += 1
        if self._stale > _MIN_STALE and self._stale * 2 > len(heap):
            heap[:] = [entry for entry in heap if entry[0] == entry[2].timer_at]
            heapq.heapify(heap)
            self._stale = 0

    def next_timer(self) -> float:
        """Return when handle_due has something to look at, or NEVER."""
        return self._heap[0][0] if self._heap else NEVER

    def handle_due(self, now: float) -> None:
        """Call handle_timer of every item whose deadline has come."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            when, _, item = heapq.heappop(heap)
            if when != item.timer_at:
                self._stale -= self._stale > 0
                continue  # superseded by an earlier entry
            item.timer_at = NEVER
            if item.next_timer() <= now:
                item.handle_timer(now)
            self._push(item, max(item.next_timer(), now + _MIN_DELAY_S))
