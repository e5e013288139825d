"""The timer queue calls each item at its deadline, once, and keeps no memory of what is past."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copytool.mirror.timers import NEVER, Timed, TimerQueue


class Item(Timed):
    """An item with a deadline that notes when it was called."""

    def __init__(self, deadline: float = NEVER) -> None:
        super().__init__()
        self.deadline = deadline
        self.called: list[float] = []

    def next_timer(self) -> float:
        """Return the deadline."""
        return self.deadline

    def handle_timer(self, now: float) -> None:
        """Note the call."""
        self.called.append(now)
        self.deadline = NEVER


def test_empty_queue_has_no_deadline() -> None:
    """Nothing waits, and nothing happens."""
    queue = TimerQueue()
    assert queue.next_timer() == NEVER
    queue.handle_due(1e9)


def test_due_items_are_called_in_order_and_once() -> None:
    """Only what is due is called."""
    queue = TimerQueue()
    early, late = Item(1.0), Item(2.0)
    for item in (late, early):
        queue.update(item)
    assert queue.next_timer() == 1.0
    queue.handle_due(1.5)
    queue.handle_due(1.6)
    assert (early.called, late.called) == ([1.5], [])
    queue.handle_due(2.0)
    assert late.called == [2.0]
    assert queue.next_timer() == NEVER


def test_later_deadline_needs_no_call() -> None:
    """A deadline that moved later is noticed when the old one comes up."""
    queue = TimerQueue()
    item = Item(1.0)
    queue.update(item)
    item.deadline = 5.0
    queue.update(item)
    queue.handle_due(1.0)
    assert item.called == []
    assert queue.next_timer() == 5.0
    queue.handle_due(5.0)
    assert item.called == [5.0]


def test_earlier_deadline_counts() -> None:
    """A deadline that moved earlier is kept, and the old entry does nothing."""
    queue = TimerQueue()
    item = Item(5.0)
    queue.update(item)
    item.deadline = 1.0
    queue.update(item)
    assert queue.next_timer() == 1.0
    queue.handle_due(1.0)
    queue.handle_due(5.0)
    assert item.called == [1.0]


def test_ended_items_are_dropped_silently() -> None:
    """An item whose deadline is NEVER by now is not called."""
    queue = TimerQueue()
    item = Item(1.0)
    queue.update(item)
    item.deadline = NEVER
    queue.handle_due(10.0)
    assert item.called == []
    assert queue.next_timer() == NEVER


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 50)), max_size=60), st.integers(1, 10))
def test_no_deadline_is_missed(moves: list[tuple[int, int]], step: int) -> None:
    """Whatever way deadlines move, an item is called by the first tick at or after its last deadline."""
    queue = TimerQueue()
    items = [Item() for _ in range(10)]
    for index, deadline in moves:
        items[index].deadline = float(deadline)
        queue.update(items[index])
    expected = {index: item.deadline for index, item in enumerate(items) if item.deadline != NEVER}
    for now in range(0, 60 + step, step):
        queue.handle_due(float(now))
    for index, item in enumerate(items):
        deadline = expected.get(index)
        assert item.called == ([] if deadline is None else [float(-(-deadline // step) * step)])


def test_busy_items_leave_nothing_behind() -> None:
    """An item with a far deadline that is often wanted earlier, as each request does it, keeps the queue small."""
    queue = TimerQueue()
    item = Item(7200.0)
    queue.update(item)
    for turn in range(10_000):
        now = turn * 0.1
        item.deadline = now + 0.01
        queue.update(item)
        item.deadline = now + 7200
        queue.handle_due(now + 0.02)
    assert item.called == []
    assert len(queue) < 100


def test_ended_items_are_forgotten() -> None:
    """Items that ended long before their deadline are not kept until then."""
    queue = TimerQueue()
    for _ in range(10_000):
        item = Item(7200.0)
        queue.update(item)
        item.deadline = NEVER
        queue.discard(item)
    assert len(queue) < 100


def test_an_item_says_when_and_what() -> None:
    """The base has no deadline of its own."""
    with pytest.raises(NotImplementedError):
        Timed().next_timer()
    with pytest.raises(NotImplementedError):
        Timed().handle_timer(0.0)
