"""The control socket: answers, waits for nobody, takes over from the dead, does not push aside the living."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from copytool.errors import ConfigError, HostError
from copytool.io import control
from copytool.io.control import MAX_CONNECTIONS, MAX_REQUEST_BYTES, Command, ControlServer, ask_daemon
from copytool.io.loop import EventLoop


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    made = EventLoop()
    yield made
    made.close()


@pytest.fixture
def audited(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """The log, from which everything but grave errors is kept out."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.CRITICAL)
    yield caplog
    root.setLevel(level)


BIG = {"big": "x" * 1_000_000}
"""An answer that fits into no socket buffer."""


@pytest.fixture
def server(loop: EventLoop, tmp_path: Path) -> Iterator[ControlServer]:
    """A control server at work, with a few commands."""
    commands: dict[str, Command] = {
        "status": lambda _request: {"role": "copy", "sessions": {"seen": 3}},
        "echo": lambda request: {"request": request},
        "big": lambda _request: BIG,
        "refuse": _refuse,
        "bug": lambda _request: {"quotient": 1 // 0},
        "no-json": lambda _request: {"bytes": b"x"},
    }
    made = ControlServer(loop, tmp_path / "run" / "control.sock", commands)
    stop, stopped = socket.socketpair()
    loop.watch(stopped, 1, lambda _events: loop.stop())
    thread = threading.Thread(target=loop.run)
    thread.start()
    yield made
    stop.send(b"x")
    thread.join(10)
    assert not thread.is_alive()
    made.close()
    stop.close()
    stopped.close()
    assert not made._path.exists()
    assert (made._connections, loop.services) == ([], [])


def _refuse(request: dict[str, Any]) -> dict[str, Any]:
    raise ConfigError(f"count: {request['count']!r} is too many")


def _connect(server: ControlServer, sent: bytes = b"") -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(server._path))  # without a time-out: that would not wait for a place in the queue
    sock.settimeout(10)
    sock.sendall(sent)
    return sock


def _answer(sock: socket.socket) -> Any:
    """Return what comes back, up to the end of the connection; None if that is nothing."""
    received = b""
    with sock, contextlib.suppress(ConnectionResetError):
        while part := sock.recv(1 << 16):
            received += part
    assert received.count(b"\n") == received.endswith(b"\n")
    return json.loads(received) if received else None


def test_commands_are_answered(server: ControlServer) -> None:
    """A question gets what its function returns for the request; only owner and group may ask."""
    assert stat.S_IMODE(server._path.stat().st_mode) == 0o660
    assert ask_daemon(server._path, "status") == {"role": "copy", "sessions": {"seen": 3}}
    assert ask_daemon(server._path, "echo", count=5) == {"request": {"command": "echo", "count": 5}}


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("refuse", "count: 7 is too many"),
        ("pause", "unknown command 'pause'; known here: status, echo, big, refuse, bug, no-json"),
        ("bug", r"internal error: ZeroDivisionError.*; see the daemon's log"),
        ("no-json", "internal error: TypeError.*; see the daemon's log"),
    ],
)
def test_a_command_that_fails_says_why(server: ControlServer, command: str, reason: str) -> None:
    """A request that is refused, or unknown, or that meets a bug costs an error answer only."""
    with pytest.raises(HostError, match=f"{command} refused by {server._path}: {reason}"):
        ask_daemon(server._path, command, count=7)
    assert ask_daemon(server._path, "status")["role"] == "copy"


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"status",
        b"\xff\xfe\x00",
        b"[" * 4000,
        b"[]",
        b"{}",
        b'{"command": ["status"]}',
        b'{"command": null}',
        b'{"command": "status"',
        b"9" * 4090,
    ],
)
def test_garbage_is_named(server: ControlServer, line: bytes) -> None:
    """A line that is no JSON object with a command gets told what one looks like."""
    answer = _answer(_connect(server, line + b"\n"))
    assert answer == {"error": 'the request is not a JSON object like {"command": "status"}'}
    assert server._loop.failures == 0


def test_odd_command_names_are_quoted(server: ControlServer) -> None:
    """Half a surrogate pair, control characters and great length do not get in the answer's way."""
    name = "\ud800\x1b" + "x" * 3000
    (error,) = _answer(_connect(server, json.dumps({"command": name}).encode() + b"\n")).values()
    assert error.startswith(r"unknown command '\ud800\x1bxxx")
    assert len(error) < 150


@pytest.mark.parametrize("extra", [0, 1, 5000, 1_000_000])
def test_long_requests(server: ControlServer, extra: int) -> None:
    """A line may be as long as the limit with its newline; a longer one is refused, however much still comes."""
    line = json.dumps({"command": "status", "note": ""}).encode()
    line = line[:-2] + b"x" * (MAX_REQUEST_BYTES - len(line) - 1 + extra) + line[-2:] + b"\n"
    sock = _connect(server)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        sock.sendall(line)
    expected = (
        {"error": "the request is longer than 4096 bytes"} if extra else {"role": "copy", "sessions": {"seen": 3}}
    )
    assert _answer(sock) == expected


def test_slow_writer(server: ControlServer) -> None:
    """A request that comes byte by byte is answered."""
    sock = _connect(server)
    for byte in b'{"command": "status"}\n':
        time.sleep(0.002)
        sock.send(bytes([byte]))
    assert _answer(sock)["role"] == "copy"


@pytest.mark.parametrize("sent", [b"", b'{"command": "sta'])
def test_request_that_does_not_come(server: ControlServer, monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    """Who connects and says nothing, or half of it, is told so at the deadline and closed; others do not wait."""
    monkeypatch.setattr(control, "DEADLINE_S", 0.4)
    sock = _connect(server, sent)
    assert ask_daemon(server._path, "status")["role"] == "copy"
    assert _answer(sock) == {"error": "no request within 0.4 s"}


def test_half_a_line_and_the_end(server: ControlServer) -> None:
    """A request cut short is not carried out; who has closed altogether harms nobody."""
    sock = _connect(server, b'{"command": "status"}')
    sock.shutdown(socket.SHUT_WR)
    assert _answer(sock) == {"error": "the request does not end with a newline"}
    for sent in (b"", b'{"comm', b'{"command": "big"}\n'):
        _connect(server, sent).close()
    assert ask_daemon(server._path, "status")["role"] == "copy"
    assert server._loop.failures == 0


def test_two_commands(server: ControlServer) -> None:
    """A connection is for one command; a second one on it is neither carried out nor answered."""
    asked: list[int] = []
    server._commands = {"note": lambda request: {"asked": asked.append(request["n"])}}  # type: ignore[func-returns-value]
    assert _answer(_connect(server, b'{"command": "note", "n": 1}\n{"command": "note", "n": 2}\n')) == {"asked": None}
    assert asked == [1]


def test_slow_reader(server: ControlServer) -> None:
    """An answer larger than the socket buffer arrives whole at who reads it late, and others are served meanwhile."""
    sock = _connect(server, b'{"command": "big"}\n')
    assert ask_daemon(server._path, "status")["role"] == "copy"
    assert _answer(sock) == BIG


def test_reader_that_does_not_read(server: ControlServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the deadline the daemon forgets the answer and closes."""
    monkeypatch.setattr(control, "DEADLINE_S", 0.2)
    sock = _connect(server, b'{"command": "big"}\n')
    time.sleep(0.1)
    assert len(server._connections) == 1
    time.sleep(0.4)
    assert server._connections == []
    with sock:
        assert 0 < sum(len(part) for part in iter(lambda: sock.recv(1 << 16), b"")) < len(BIG["big"])


def test_many_connections(server: ControlServer) -> None:
    """The seventeenth connection closes the one that has done nothing for longest, and is answered itself."""
    socks = [_connect(server)]
    for _ in range(MAX_CONNECTIONS - 1):
        socks.append(_connect(server))
        time.sleep(0.002)
    socks[0].sendall(b'{"command": ')
    time.sleep(0.05)
    assert len(server._connections) == MAX_CONNECTIONS
    assert ask_daemon(server._path, "status")["role"] == "copy"
    assert socks.pop(1).recv(1) == b""
    socks[0].sendall(b'"echo"}\n')
    for sock in socks[1:]:
        sock.sendall(b'{"command": "echo"}\n')
    assert [_answer(sock) for sock in socks] == [{"request": {"command": "echo"}}] * (MAX_CONNECTIONS - 1)
    assert server._loop.failures == 0


def test_flood_of_connections(server: ControlServer) -> None:
    """Connections by the dozen, each with a large answer that nobody reads, never are more than sixteen at once."""
    socks = [_connect(server, b'{"command": "big"}\n') for _ in range(60)]
    assert len(server._connections) <= MAX_CONNECTIONS
    for sock in socks:
        sock.close()
    assert _answer(_connect(server, b'{"command": "status"}\n'))["role"] == "copy"
    assert server._loop.failures == 0


def test_one_answer_for_each_round_of_the_loop(loop: EventLoop, tmp_path: Path) -> None:
    """Many questions at once do not keep the loop from what else it has to do."""
    answered: list[float] = []
    server = ControlServer(loop, tmp_path / "control.sock", {"note": lambda _request: {"n": answered.append(1)}})  # type: ignore[func-returns-value]
    socks = [_connect(server, b'{"command": "note"}\n') for _ in range(5)]
    for _ in socks:
        server._on_accept(1)
    for connection in server._connections:
        server._on_readable(connection)
    for count in range(1, 6):
        assert server.next_timer() == 0.0
        server.handle_timer(loop.now())
        assert len(answered) == count
    assert [_answer(sock) for sock in socks] == [{"n": None}] * 5
    server.close()


def test_daemon_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks a daemon that does not answer is told so after a while, and at once when too many wait already."""
    monkeypatch.setattr(control, "DEADLINE_S", 0.1)
    path = tmp_path / "control.sock"
    with contextlib.ExitStack() as stack:
        listener, *waiting = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(3)]
        listener.bind(str(path))
        listener.listen(1)
        with pytest.raises(HostError, match=r"does not answer within 0\.1 s"):
            ask_daemon(path, "status")
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(str(path))
        with pytest.raises(HostError, match="too many ask the daemon"):
            ask_daemon(path, "status")


@pytest.mark.parametrize("answer", [b"", b"what?\n", b"[1]\n", b'{"role": ', b"[" * 5000 + b"\n", b"9" * 5000 + b"\n"])
def test_answer_that_is_none(tmp_path: Path, answer: bytes) -> None:
    """A daemon that ends while it is asked, or that speaks otherwise, is named."""
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def answer_once() -> None:
            accepted = listener.accept()[0]
            accepted.recv(100)
            accepted.sendall(answer)
            accepted.close()

        thread = threading.Thread(target=answer_once)
        thread.start()
        with pytest.raises(HostError, match=f"no status from {path}: "):
            ask_daemon(path, "status")
        thread.join(5)


def test_answer_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fills its reader's memory is cut off, and what comes octet by octet after the time for all of it."""
    monkeypatch.setattr(control, "MAX_ANSWER_BYTES", 100_000)
    path = tmp_path / "control.sock"
    stop = threading.Event()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def answer() -> None:
            for piece in (b"x" * 1000, b"x"):
                accepted = listener.accept()[0]
                with accepted, contextlib.suppress(OSError):
                    while not stop.wait(0.0 if len(piece) > 1 else 0.01):
                        accepted.sendall(piece)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            with pytest.raises(HostError, match="an answer without end"):
                ask_daemon(path, "status")
            with pytest.raises(HostError, match=r"does not answer within 0\.2 s"):
                ask_daemon(path, "status", timeout_s=0.2)
        finally:
            stop.set()
            thread.join(5)


def test_socket_of_a_killed_daemon_is_replaced(loop: EventLoop, tmp_path: Path) -> None:
    """A socket file that nobody answers on is left over, and in nobody's way."""
    path = tmp_path / "control.sock"
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()
    with pytest.raises(HostError, match="no daemon answers"):
        ask_daemon(path, "status")
    ControlServer(loop, path, {}).close()


def test_second_daemon_is_refused(loop: EventLoop, tmp_path: Path) -> None:
    """A socket that is answered belongs to a running daemon."""
    path = tmp_path / "control.sock"
    server = ControlServer(loop, path, {})
    with pytest.raises(HostError, match="another copytool answers"):
        ControlServer(loop, path, {})
    server.close()


def test_unusable_path_is_named(loop: EventLoop, tmp_path: Path) -> None:
    """A path below a file cannot be made, and the message names flag and path."""
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match=r"control socket .*file/control.sock \(--control-socket\): "):
        ControlServer(loop, tmp_path / "file" / "control.sock", {})


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
                ControlServer(loop, path, {})
            assert path.exists()


def test_successor_keeps_its_socket(loop: EventLoop, tmp_path: Path) -> None:
    """A daemon whose socket was removed and made again by another leaves that one alone when it ends."""
    path = tmp_path / "control.sock"
    first = ControlServer(loop, path, {})
    path.unlink()
    second = ControlServer(loop, path, {})
    first.close()
    assert path.is_socket()
    second.close()
    assert not path.exists()


def test_changes_are_logged_with_who_asked(server: ControlServer, audited: pytest.LogCaptureFixture) -> None:
    """In one line each, whatever is asked and whatever else is logged; those who only look leave no trace."""
    ask_daemon(server._path, "status")
    ask_daemon(server._path, "echo", ratio=5, text="two\nlines")
    with pytest.raises(HostError):
        ask_daemon(server._path, "refuse", count=9)
    ask_daemon(server._path, "echo", junk="x" * 3000)
    who = f"uid {os.getuid()} (pid {os.getpid()})"
    first, second, third = [record.getMessage() for record in audited.records if record.name == "copytool.audit"]
    assert first == f"{who} asked for echo ratio=5 text=two\\nlines: done"
    assert second == f"{who} asked for refuse count=9: count: 9 is too many"
    assert len(third) < 300
