"""A timer queue: one deadline per item, cost independent of how many idle items wait."""

from __future__ import annotations

__all__ = ["NEVER", "Timed", "TimerQueue"]

NEVER = float("inf")

_NEVER = NEVER
_MIN_DELAY_S = 0.001  # an item that stays due, which would be a bug, must not hold the process


class Timed:
    """An item with a deadline.

    timer_at: when the queue will next look at the item, NEVER when it is not queued. timer_index: where it is in the
    queue's heap, -1 when it is not. The queue keeps both.
    """

    __slots__ = ("timer_at", "timer_index")

    def __init__(self) -> None:
        self.timer_at = _NEVER
        self.timer_index = -1

    def next_timer(self) -> float:
        """Return the item's real deadline, or NEVER."""
        raise NotImplementedError

    def handle_timer(self, now: float) -> None:
        """Act on the deadline."""
        raise NotImplementedError


class TimerQueue:
    """A heap whose items know their places, so that one can move or leave.

    A deadline that moves later (the usual case) costs nothing until the earlier one comes up.
    """

    __slots__ = ("_heap",)

    def __init__(self) -> None:
        self._heap: list[Timed] = []

    def __len__(self) -> int:
        return len(self._heap)

    def update(self, item: Timed) -> None:
        """Note that the deadline of `item` may have changed."""
        self._schedule(item, item.next_timer())

    def _schedule(self, item: Timed, when: float) -> None:
        if when < item.timer_at:
            item.timer_at = when
            if item.timer_index < 0:
                item.timer_index = len(self._heap)
                self._heap.append(item)
            self._rise(item)

    def discard(self, item: Timed) -> None:
        """Forget the item, which has no deadline any more."""
        index = item.timer_index
        if index < 0:
            return
        item.timer_index = -1
        item.timer_at = _NEVER
        last = self._heap.pop()
        if last is not item:
            last.timer_index = index
            self._heap[index] = last
            self._sink(last)
            self._rise(last)

    def _rise(self, item: Timed) -> None:
        """Move an item up to where nothing above it is later."""
        heap = self._heap
        index = item.timer_index
        while index:
            above = heap[(index - 1) >> 1]
            if above.timer_at <= item.timer_at:
                break
            heap[index] = above
            above.timer_index = index
            index = (index - 1) >> 1
        heap[index] = item
        item.timer_index = index

    def _sink(self, item: Timed) -> None:
        """Move an item down to where nothing below it is earlier."""
        heap = self._heap
        size = len(heap)
        index = item.timer_index
        while True:
            child = 2 * index + 1
            if child >= size:
                break
            below = heap[child]
            if child + 1 < size:
                other = heap[child + 1]
                if other.timer_at < below.timer_at:
                    child += 1
                    below = other
            if item.timer_at <= below.timer_at:
                break
            heap[index] = below
            below.timer_index = index
            index = child
        heap[index] = item
        item.timer_index = index

    def next_timer(self) -> float:
        """Return when handle_due has something to look at, or NEVER."""
        if not self._heap:
            return _NEVER
        first = self._heap[0]
        return first.timer_at

    def handle_due(self, now: float) -> None:
        """Call handle_timer of every item whose deadline has come."""
        heap = self._heap
        while heap:
            item = heap[0]
            if item.timer_at > now:
                break
            self.discard(item)
            if item.next_timer() <= now:
                item.handle_timer(now)
            self._schedule(item, max(item.next_timer(), now + _MIN_DELAY_S))
