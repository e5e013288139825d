"""Asking several daemons at once: who answers is heard, who does not costs no more than the limit."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from copytool.io.control import ControlServer
from copytool.io.gather import ask_all
from copytool.io.loop import EventLoop

LARGE = "x" * 1_000_000


@pytest.fixture
def paths(tmp_path: Path) -> Iterator[dict[int, Path]]:
    """Control sockets: 1 and 2 answer, 3 is there but says nothing, 4 has died, 5 never was."""
    loop = EventLoop()
    stop, stopped = socket.socketpair()
    loop.watch(stopped, 1, lambda _events: loop.stop())
    made = {number: tmp_path / f"{number}.sock" for number in range(1, 6)}
    servers = [
        ControlServer(loop, made[number], {"status": lambda _request, number=number: {"number": number, "text": LARGE}})
        for number in (1, 2)
    ]
    silent, dead = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    silent.bind(str(made[3]))
    silent.listen(1)
    dead.bind(str(made[4]))
    dead.close()
    thread = threading.Thread(target=loop.run)
    thread.start()
    yield made
    stop.send(b"x")
    thread.join(10)
    for server in servers:
        server.close()
    loop.close()
    for sock in (silent, stop, stopped):
        sock.close()


def test_answers_of_those_that_answer(paths: dict[int, Path]) -> None:
    """Large answers come whole, from all that give one; the silent one is waited for no longer than the limit."""
    began = time.monotonic()
    answers = ask_all(paths, {"command": "status"}, 0.5)
    assert 0.5 <= time.monotonic() - began < 2
    assert answers == {number: {"number": number, "text": LARGE} for number in (1, 2)}


def test_nobody_is_waited_for_without_need(paths: dict[int, Path]) -> None:
    """When all have answered, or cannot, it is over."""
    del paths[3]
    began = time.monotonic()
    assert set(ask_all(paths, {"command": "status"}, 20)) == {1, 2}
    assert time.monotonic() - began < 10


def test_a_refusal_is_an_answer(paths: dict[int, Path]) -> None:
    """What a daemon says to a wrong request is handed on."""
    answers = ask_all({1: paths[1]}, {"command": "sessions"}, 5)
    assert answers == {1: {"error": "unknown command 'sessions'; known here: status"}}


def test_silent_daemon_whose_queue_is_full(paths: dict[int, Path]) -> None:
    """Asking it again and again neither waits for ever nor leaves descriptors behind."""
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(10):
        assert ask_all({3: paths[3]}, {"command": "status"}, 0.02) == {}
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
