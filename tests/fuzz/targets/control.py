"""The control socket: what clients ask a daemon, what a worker reports to its supervisor, and what netlink answers."""

from __future__ import annotations

import contextlib
import json
import logging
import selectors
import socket
import struct
import tempfile
from collections.abc import Callable, Hashable
from pathlib import Path
from random import Random
from typing import Any

from copytool.errors import CopytoolError
from copytool.io.control import MAX_REQUEST_BYTES, ControlServer
from copytool.io.log_level import set_log_level
from copytool.io.session_log import SessionLog
from copytool.io.sockdiag import GONE, OPEN, UNKNOWN, SocketLookup
from copytool.io.steering import Steering
from copytool.io.worker import Worker, WorkerFailed
from copytool.mirror.config import MirrorConfig
from copytool.mirror.engine import Engine
from copytool.mirror.events import SessionEnded
from copytool.mirror.mapping import ClientNetwork

from ..documents import mutate_document
from ..mutation import below, mutate_octets
from ..target import Target

__all__ = ["TARGETS", "ended_session"]

_PIECES = (1, 2, 3, 7, 16, 64, 1000, 4095, 4096, 1 << 16)
_TARGET = (bytes((192, 168, 50, 101)), 1025)


def ended_session() -> SessionEnded:
    """Return a session as the engine tells of it."""
    flow, mirror = (
        bytes((10, 9, 0, 1, 192, 168, 50, 10, 156, 64, 4, 1)),
        bytes((192, 168, 60, 7, 192, 168, 50, 101, 156, 64, 4, 1)),
    )
    return SessionEnded(flow, mirror, "mirrored", "", 3, 10, 10, 0, 50, 0.25)


class _Loop:
    """What ControlServer needs of a loop: sockets to watch, and a clock that stands still."""

    def __init__(self) -> None:
        self.services: list[Any] = []
        self.failures = 0
        self.watches: dict[socket.socket, Callable[[int], None]] = {}

    def watch(self, sock: socket.socket, events: int, callback: Callable[[int], None]) -> None:
        self.watches[sock] = callback

    def unwatch(self, sock: socket.socket) -> None:
        self.watches.pop(sock, None)

    def accept(self, listener: socket.socket) -> tuple[socket.socket, Any] | None:
        try:
            return listener.accept()
        except BlockingIOError:
            return None

    def now(self) -> float:
        return 0.0

    def note_failure(self) -> None:
        self.failures += 1

    def turn(self) -> None:
        """Do what can be done."""
        for callback in list(self.watches.values()):
            callback(selectors.EVENT_READ | selectors.EVENT_WRITE)
        for service in self.services[:]:
            service.handle_timer(0.0)


class _Audit(logging.Handler):
    """Looks at each line that would be logged."""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        assert text.isprintable() and len(text) < 1000, f"a line that forges others: {text!r}"


class _Requests:
    """A control server of a copy; the input is what a client sends, in pieces as the first octet says."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory()
        self._path = Path(self._directory.name) / "control.sock"
        network = ClientNetwork([(bytes((192, 168, 60, 1)), 254)])
        self._engine = Engine({(None, 1025): _TARGET}, network, MirrorConfig())
        self._engine.set_feedback(True, 0.0)
        log = SessionLog()
        log.add(ended_session())
        steering = Steering(self._engine, self._show, 0.0)
        self._loop = _Loop()
        self._level = logging.getLogger().level
        self._audit = _Audit()
        logging.getLogger("copytool.audit").addHandler(self._audit)
        logging.getLogger("copytool.audit").propagate = False
        commands = {
            "status": lambda _request: {**self._engine.status(), "steering": steering.status()},
            "sessions": log.answer,
            "log-level": set_log_level,
            **steering.commands(lambda: 0.0),
        }
        self._server = ControlServer(self._loop, self._path, commands)  # type: ignore[arg-type]

    @staticmethod
    def _show(percent: float) -> None:
        assert 0 < percent <= 100
        if percent > 99.5:
            raise OSError(12, "Cannot allocate memory")

    def __call__(self, data: bytes) -> Hashable:
        size = _PIECES[(data[0] if data else 0) % len(_PIECES)]
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(self._path))
            self._loop.turn()
            for at in range(1, min(len(data), 2 * MAX_REQUEST_BYTES), size):
                try:
                    client.sendall(data[at : at + size])
                except OSError:  # answered, and closed
                    break
                self._loop.turn()
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_WR)
            for _ in range(3):
                self._loop.turn()
            answer = self._answer(client)
        assert self._loop.failures == 0, f"an internal error: {answer!r}"
        assert not self._loop.services, "the connection is still there"
        admission = self._engine.admission
        assert 0 < admission.ratio_percent <= 100 and 1 <= admission.copies <= 1024
        return self._checked(answer, data)

    @staticmethod
    def _answer(client: socket.socket) -> bytes:
        answer = b""
        try:
            while received := client.recv(1 << 16):
                answer += received
        except ConnectionResetError:  # it was sent more than it wanted to read
            pass
        return answer

    @staticmethod
    def _checked(answer: bytes, data: bytes) -> Hashable:
        if not answer:
            return "nothing"
        assert answer.endswith(b"\n") and answer.count(b"\n") == 1
        document = json.loads(answer)
        assert isinstance(document, dict)
        error = document.get("error", "")
        assert "internal error" not in error and len(error) < 400
        return error[:16], tuple(document)[:3]

    def finish(self) -> None:
        """Put the log level back, and the socket away."""
        logging.getLogger().setLevel(self._level)
        logging.getLogger("copytool.audit").removeHandler(self._audit)
        logging.getLogger("copytool.audit").propagate = True
        self._server.close()
        self._directory.cleanup()


class _Report:
    """What comes through a worker's channel while its supervisor waits for it to be ready."""

    def __call__(self, data: bytes) -> Hashable:
        worker = Worker.__new__(Worker)
        worker.number, worker.ready, worker.pid = 1, False, 0
        worker.channel, its_channel = socket.socketpair()
        with worker.channel, its_channel:
            its_channel.sendall(data or b"\0")
            worker.channel.setblocking(False)
            try:
                worker.read_report()
            except (WorkerFailed, CopytoolError) as error:
                assert not worker.ready
                return type(error)
        assert worker.ready
        return "ready"

    def finish(self) -> None:
        """Nothing is left of it."""


_KEY = (bytes((10, 9, 0, 1)), 40000, bytes((192, 168, 50, 10)), 1025)


class _Netlink:
    """What the kernel answers to sock_diag, datagram by datagram; the first octet says where the first one ends."""

    def __init__(self) -> None:
        self._lookup = SocketLookup()
        self._lookup.close()
        ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        ours.setblocking(False)
        self._lookup._socket = ours

    def __call__(self, data: bytes) -> Hashable:
        cut = 1 + (data[0] if data else 0)
        serial = struct.pack("=I", self._lookup._serial + 1)
        for part in (data[1:cut], data[cut:]):
            self._theirs.send(part[:8] + serial + part[12:] if part[:1] != b"\xff" and len(part) > 12 else part)
        state = self._lookup.find(_KEY)
        assert state in (OPEN, GONE, UNKNOWN)
        self._theirs.recv(4096)
        try:
            while True:
                self._lookup._socket.recv(4096)
        except BlockingIOError:
            return state

    def finish(self) -> None:
        """Close both ends."""
        self._theirs.close()
        self._lookup.close()


_REQUESTS = (
    {"command": "status"},
    {"command": "sessions", "count": 5},
    {"command": "ratio", "percent": 5, "ramp_s": 60.0},
    {"command": "ratio", "percent": 100},
    {"command": "copies", "count": 3},
    {"command": "pause"},
    {"command": "resume"},
    {"command": "log-level", "level": "debug"},
    {"command": "unknown"},
)
_REPORTS = (
    {"error": "", "kind": ""},
    {"error": "-x is missing", "kind": "config"},
    {"error": "no port", "kind": "host"},
)


def _request_seeds() -> list[bytes]:
    return [bytes((index,)) + json.dumps(request).encode() + b"\n" for index, request in enumerate(_REQUESTS)]


def _mutate_request(data: bytes, random: Random) -> bytes:
    pieces = data[:1] if random.random() < 0.7 else bytes((below(random, 256),))
    made = mutate_document(data[1:].rstrip(b"\n"), random)
    return pieces + made + (b"" if random.random() < 0.05 else b"\n")


def _netlink_seeds() -> list[bytes]:
    found = struct.pack("=IHHIIBBBB", 88, 20, 0, 0, 0, 2, 1, 0, 0) + bytes(68)
    missing = struct.pack("=IHHIIi", 36, 2, 0, 0, 0, -2) + bytes(16)
    return [b"\0" + found, b"\0" + missing, bytes((len(found),)) + found + missing]


def _mutate_netlink(data: bytes, random: Random) -> bytes:
    return bytes(mutate_octets(bytearray(data), random, (struct.pack("=i", -(1 << 31)), struct.pack("=H", 2))))[:400]


TARGETS = (
    Target(
        "request",
        "one line of JSON for one request, whatever it says; what is steered stays within bounds; no forged log line",
        _Requests,
        _request_seeds,
        _mutate_request,
    ),
    Target(
        "report",
        "a worker is ready, or an error says why not",
        _Report,
        lambda: [json.dumps(report).encode() for report in _REPORTS],
        lambda data, random: mutate_document(data, random)[:4096],
        lives=10_000,
    ),
    Target(
        "netlink",
        "open, gone or unknown",
        _Netlink,
        _netlink_seeds,
        _mutate_netlink,
        lives=10_000,
    ),
)
