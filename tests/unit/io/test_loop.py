"""The event loop: one thread, and no callback can end it."""

from __future__ import annotations

import logging
import os
import selectors
import signal
import socket

import pytest

from copytool.io import loop as loop_module
from copytool.io.loop import EventLoop


class _Timer:
    def __init__(self, loop: EventLoop, action: object) -> None:
        self.at = loop.now()
        self._action = action

    def next_timer(self) -> float:
        return self.at

    def handle_timer(self, now: float) -> None:
        self.at = float("inf")
        self._action()  # type: ignore[operator]


def test_an_exception_is_counted_and_the_loop_goes_on() -> None:
    """A callback that raises costs itself only."""
    loop = EventLoop()
    left, right = socket.socketpair()

    def fail(_events: int) -> None:
        left.recv(10)
        loop.services.append(_Timer(loop, loop.stop))
        raise ValueError("a bug")

    loop.watch(left, 1, fail)
    right.send(b"x")
    loop.run()
    assert loop.failures == 1
    loop.close()
    left.close()
    right.close()


def test_a_log_that_raises_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the bug nor a log that cannot be written leaves run()."""

    def fail(*_: object) -> None:
        raise OSError("no log")

    monkeypatch.setattr(logging.getLogger("copytool.io.loop"), "handle", fail)
    loop = EventLoop()
    loop.services.append(_Timer(loop, fail))
    loop.services.append(_Timer(loop, loop.stop))
    loop.run()
    assert loop.failures == 1
    loop.close()


class _Broken:
    """A service, and a file callback, with a bug that does not go away."""

    def __init__(self) -> None:
        self.calls = 0

    def next_timer(self) -> float:
        return 0.0

    def handle_timer(self, _now: float) -> None:
        self.calls += 1
        raise ValueError("a bug")


def test_a_service_that_keeps_failing_is_left_alone_for_a_while() -> None:
    """It does not turn the loop into a busy one; the others are served on time."""
    loop = EventLoop()
    broken, end = _Broken(), _Timer(loop, loop.stop)
    end.at = loop.now() + 0.3
    loop.services += [broken, end]
    loop.run()
    assert broken.calls == 1
    end.at = loop.now() + loop_module.SERVICE_REST_S
    loop.run()
    assert broken.calls == 2
    loop.close()


def test_a_callback_that_keeps_failing_is_left_alone_for_a_while() -> None:
    """It is called again after a short rest, not in a busy loop."""
    loop = EventLoop()
    left, right = socket.socketpair()
    broken, end = _Broken(), _Timer(loop, loop.stop)
    end.at = loop.now() + 3.5 * loop_module.FILE_REST_S
    loop.services.append(end)
    loop.watch(left, selectors.EVENT_READ, broken.handle_timer)
    right.send(b"x")
    loop.run()
    assert 2 <= broken.calls <= 4
    loop.close()
    left.close()
    right.close()


def test_a_resting_file_may_be_unwatched_or_watched() -> None:
    """unwatch() ends the rest for good, watch() ends it at once."""
    loop = EventLoop()
    left, right = socket.socketpair()
    broken, end = _Broken(), _Timer(loop, loop.stop)
    right.send(b"x")
    loop.watch(left, selectors.EVENT_READ, broken.handle_timer)
    loop.rest(left, 0.05)
    loop.unwatch(left)
    end.at = loop.now() + 0.1
    loop.services.append(end)
    loop.run()
    assert broken.calls == 0
    loop.watch(left, selectors.EVENT_READ, lambda _events: loop.stop())
    loop.rest(left, 3600)
    loop.watch(left, selectors.EVENT_READ, lambda _events: loop.stop())
    loop.run()
    assert loop.services == [end]
    loop.close()
    left.close()
    right.close()


def test_a_file_may_be_closed_before_its_watch_ends() -> None:
    """Its number may belong to another file by then, whose watch stays."""
    loop = EventLoop()
    first, peer = socket.socketpair()
    loop.watch(first, selectors.EVENT_READ, lambda _events: None)
    number = first.fileno()
    first.close()
    second, sender = socket.socketpair()
    assert number in (second.fileno(), sender.fileno())
    reused, other = (second, sender) if second.fileno() == number else (sender, second)
    loop.watch(reused, selectors.EVENT_READ, lambda _events: loop.stop())
    loop.unwatch(first)
    other.send(b"x")
    loop.run()
    loop.unwatch(reused)
    loop.unwatch(reused)
    for sock in (peer, second, sender):
        sock.close()
    loop.close()


def test_callbacks_hear_what_they_asked_for() -> None:
    """Readable, writable, and both when the other end is gone; a watch that ended in this round hears nothing."""
    loop = EventLoop()
    left, right = socket.socketpair()
    heard: list[int] = []

    def note(events: int) -> None:
        heard.append(events)
        loop.stop()

    right.send(b"x")
    loop.watch(left, selectors.EVENT_WRITE, note)
    loop.run()
    loop.watch(left, selectors.EVENT_READ | selectors.EVENT_WRITE, note)
    loop.run()
    loop.watch(left, selectors.EVENT_READ, note)
    right.close()
    loop.run()
    assert heard == [selectors.EVENT_WRITE, selectors.EVENT_READ | selectors.EVENT_WRITE, selectors.EVENT_READ]
    loop.unwatch(left)
    pairs = [socket.socketpair() for _ in range(2)]
    ends: list[int] = []

    def end_all(events: int) -> None:
        ends.append(events)
        for near, _ in pairs:
            loop.unwatch(near)

    for near, far in pairs:
        far.send(b"x")
        loop.watch(near, selectors.EVENT_READ, end_all)
    loop.services.append(_Timer(loop, loop.stop))
    loop.run()
    assert len(ends) == 1
    for near, far in (*pairs, (left, right)):
        near.close()
        far.close()
    loop.close()


def test_signals_are_handled_in_the_loop() -> None:
    """A signal wakes the loop, which calls the handler like any other callback."""
    loop = EventLoop()
    seen = []
    loop.on_signal(signal.SIGUSR1, lambda: (seen.append("usr1"), loop.stop()))  # type: ignore[func-returns-value]
    loop.services.append(_Timer(loop, lambda: os.kill(os.getpid(), signal.SIGUSR1)))
    loop.run()
    assert seen == ["usr1"]
    loop.close()
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
