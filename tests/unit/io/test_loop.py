"""The event loop: one thread, and no callback can end it."""

from __future__ import annotations

import logging
import os
import signal
import socket

import pytest

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
