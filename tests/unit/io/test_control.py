"""The control socket: answers, takes over from the dead, does not push aside the living."""

from __future__ import annotations

import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from copytool.errors import HostError
from copytool.io.control import ControlServer, query_status
from copytool.io.loop import EventLoop


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    made = EventLoop()
    yield made
    made.close()


def _serve_once(loop: EventLoop, server: ControlServer) -> threading.Thread:
    original = server._on_accept

    def accept_and_stop(events: int) -> None:
        original(events)
        loop.stop()

    loop.watch(server._socket, 1, accept_and_stop)
    thread = threading.Thread(target=loop.run)
    thread.start()
    return thread


def test_status_is_answered(loop: EventLoop, tmp_path: Path) -> None:
    """A query gets the document that the daemon's function returns; only owner and group may ask."""
    path = tmp_path / "run" / "control.sock"
    server = ControlServer(loop, path, lambda: {"role": "copy", "sessions": {"seen": 3}})
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    thread = _serve_once(loop, server)
    assert query_status(path) == {"role": "copy", "sessions": {"seen": 3}}
    thread.join(5)
    server.close()
    assert not path.exists()


def test_socket_of_a_killed_daemon_is_replaced(loop: EventLoop, tmp_path: Path) -> None:
    """A socket file that nobody answers on is left over, and in nobody's way."""
    path = tmp_path / "control.sock"
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()
    with pytest.raises(HostError, match="no daemon answers"):
        query_status(path)
    ControlServer(loop, path, dict).close()


def test_second_daemon_is_refused(loop: EventLoop, tmp_path: Path) -> None:
    """A socket that is answered belongs to a running daemon."""
    path = tmp_path / "control.sock"
    server = ControlServer(loop, path, dict)
    with pytest.raises(HostError, match="another copytool answers"):
        ControlServer(loop, path, dict)
    server.close()


def test_unusable_path_is_named(loop: EventLoop, tmp_path: Path) -> None:
    """A path below a file cannot be made, and the message names flag and path."""
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match=r"control socket .*file/control.sock \(--control-socket\): "):
        ControlServer(loop, tmp_path / "file" / "control.sock", dict)


def test_sockets_of_others_are_left_alone(loop: EventLoop, tmp_path: Path) -> None:
    """A socket that is no stream socket, a living but busy one, and a file are named, and stay."""
    datagram, busy = tmp_path / "datagram.sock", tmp_path / "busy.sock"
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as first,
        socket.socket(socket.AF_UNIX) as second,
        socket.socket(socket.AF_UNIX) as waiting,
    ):
        first.bind(str(datagram))
        second.bind(str(busy))
        second.listen(0)
        waiting.connect(str(busy))
        (tmp_path / "file").write_text("")
        for path in (datagram, busy, tmp_path / "file"):
            with pytest.raises(HostError, match=str(path)):
                ControlServer(loop, path, dict)
            assert path.exists()


def test_successor_keeps_its_socket(loop: EventLoop, tmp_path: Path) -> None:
    """A daemon whose socket was removed and made again by another leaves that one alone when it ends."""
    path = tmp_path / "control.sock"
    first = ControlServer(loop, path, dict)
    path.unlink()
    second = ControlServer(loop, path, dict)
    first.close()
    assert path.is_socket()
    second.close()
    assert not path.exists()
