"""The control socket: a local stream socket on which a daemon is asked for what it knows.

Each connection is one question: a line of JSON, {"command": "status"}, and a line of JSON back, after which the daemon
closes. What cannot be answered gets {"error": "what is wrong"}. Whatever a client does or fails to do costs itself
only: requests and connections are bounded in size, number and time, and nothing waits for anybody.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import selectors
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import CopytoolError, HostError
from ..link.frames import plain
from .loop import EventLoop

__all__ = [
    "DEADLINE_S",
    "MAX_ANSWER_BYTES",
    "MAX_CONNECTIONS",
    "MAX_REQUEST_BYTES",
    "ROLES",
    "Command",
    "ControlServer",
    "ask_daemon",
    "decode_answer",
    "default_control_socket",
    "default_sockets",
    "may_exist",
]

ROLES = ("copy", "intercept", "forward")
"""The daemons that have control sockets."""

MAX_CONNECTIONS = 16
"""Control connections at once; one more closes the one that has done nothing for longest."""

MAX_REQUEST_BYTES = 4096
"""The longest request, its newline included."""

MAX_ANSWER_BYTES = 16 << 20
"""The longest answer that anybody reads; a thousand sessions take half a megabyte."""

DEADLINE_S = 5.0
"""How long a client may take to send its request, and again to read the answer."""

_audit = logging.getLogger("copytool.audit")
_audit.setLevel(logging.INFO)  # whatever else is not to be logged

_READ_ONLY = ("status", "sessions", "probe-result")
_MAX_LOGGED = 200
_MAX_ERROR = 2000
_READ_BYTES = 1 << 16
_PEER = struct.Struct("iII")  # struct ucred
_PROBE_TIMEOUT_S = 0.5
_BACKLOG = 64

Command = Callable[[dict[str, Any]], dict[str, Any]]
"""Takes the whole request, returns the answer; a CopytoolError that it raises is the answer's "error"."""


def default_control_socket(role: str) -> Path:
    """Return where the daemon of `role` (one of ROLES) listens unless told otherwise."""
    return Path("/run/copytool") / role / "control.sock"


def default_sockets() -> dict[str, Path]:
    """Return the default control sockets that are there, or may be where this process is not allowed to look."""
    return {role: path for role in ROLES if may_exist(path := default_control_socket(role))}


def may_exist(path: Path) -> bool:
    """Return whether a path is there, or may be where this process is not allowed to look."""
    try:
        path.stat()
    except OSError as error:
        return isinstance(error, PermissionError)  # who opens it will say so
    return True


class ControlServer:
    """Answers root and the socket's group with the functions in `commands`."""

    def __init__(self, loop: EventLoop, path: Path, commands: Mapping[str, Command]) -> None:
        self._loop = loop
        self._path = path
        self._commands = commands
        self._connections: list[_Connection] = []
        self._unanswered: deque[_Connection] = deque()
        try:
            path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            self._socket = _bind(path)
            self._identity = _identity(path)
        except OSError as error:
            reason = error.strerror or str(error)
            raise HostError(f"cannot create the control socket {path} (--control-socket): {reason}") from None
        loop.watch(self._socket, selectors.EVENT_READ, self._on_accept)

    def close(self) -> None:
        """Stop answering and remove the socket, unless another one has its name by now."""
        for connection in self._connections[:]:
            self._drop(connection)
        self._loop.unwatch(self._socket)
        with contextlib.suppress(OSError):
            if _identity(self._path) == self._identity:
                self._path.unlink()
        self._socket.close()

    # -- the loop calls these, while there are connections ---------------------------------------------------

    def next_timer(self) -> float:
        """Return when handle_timer wants to be called."""
        if self._unanswered:
            return 0.0
        return min((connection.deadline for connection in self._connections), default=float("inf"))

    def handle_timer(self, now: float) -> None:
        """Answer one request, however many wait: in between, the loop serves the mirror. Give up who is late."""
        if self._unanswered:
            connection = self._unanswered.popleft()
            self._reply(connection, self._answer(connection), now)
        for connection in self._connections[:]:
            if connection.deadline <= now:
                if connection.answer:
                    self._drop(connection)
                else:
                    self._reply(connection, _error(f"no request within {DEADLINE_S:g} s"), now)

    def _on_accept(self, _events: int) -> None:
        accepted = self._loop.accept(self._socket)
        if accepted is None:
            return
        sock = accepted[0]
        sock.setblocking(False)
        if not self._connections:
            self._loop.services.append(self)
        elif len(self._connections) >= MAX_CONNECTIONS:
            self._drop(min(self._connections, key=lambda connection: connection.active_at))
        connection = _Connection(sock, self._loop.now())
        self._connections.append(connection)
        self._loop.watch(sock, selectors.EVENT_READ, lambda _events: self._on_readable(connection))

    # -- one connection --------------------------------------------------------------------------------------

    def _on_readable(self, connection: _Connection) -> None:
        now = self._loop.now()
        try:
            data = connection.sock.recv(MAX_REQUEST_BYTES - len(connection.request))
        except BlockingIOError:
            return
        except OSError:
            self._drop(connection)
            return
        connection.active_at = now
        line, newline, _ = data.partition(b"\n")
        connection.request += line
        if newline:
            self._loop.unwatch(connection.sock)
            connection.deadline = float("inf")  # the client did its part
            self._unanswered.append(connection)
        elif not data and not connection.request:
            self._drop(connection)  # somebody only looked whether the daemon lives
        elif not data:
            self._reply(connection, _error("the request does not end with a newline"), now)
        elif len(connection.request) >= MAX_REQUEST_BYTES:
            self._reply(connection, _error(f"the request is longer than {MAX_REQUEST_BYTES} bytes"), now)

    def _answer(self, connection: _Connection) -> bytes:
        """Return what the request's command says, or what is wrong with it."""
        try:
            document = json.loads(connection.request.decode())
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict) or not isinstance(document.get("command"), str):
            return _error('the request is not a JSON object like {"command": "status"}')
        if any(isinstance(value, (dict, list)) for value in document.values()):
            return _error("the request has more in it than numbers and texts")
        name = document["command"]
        if name not in self._commands:
            return _error(f"unknown command {name[:40]!r}; known here: {', '.join(self._commands)}")
        who = "" if name in _READ_ONLY else f"{connection.peer()} asked for {_shown(document)}"
        return self._carry_out(self._commands[name], document, who)

    def _carry_out(self, command: Command, request: dict[str, Any], who: str) -> bytes:
        """Return the answer; what changes something is logged with `who` asks for it."""
        result, level = "done", logging.INFO
        try:
            return json.dumps(command(request)).encode()
        except CopytoolError as error:
            result, level = str(error)[:_MAX_LOGGED], logging.WARNING
            return _error(str(error))
        except Exception as error:
            self._loop.note_failure()
            result, level = "internal error", logging.ERROR
            return _error(f"internal error: {error!r}; see the daemon's log and report it")
        finally:
            if who:
                _audit.log(level, "%s: %s", who, result)

    def _reply(self, connection: _Connection, answer: bytes, now: float) -> None:
        connection.answer = memoryview(answer + b"\n")
        connection.deadline = now + DEADLINE_S
        self._send(connection)

    def _send(self, connection: _Connection) -> None:
        """Send what the client takes, then close; what is left goes out when it has read some."""
        try:
            sent = connection.sock.send(connection.answer)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._drop(connection)
            return
        connection.answer = connection.answer[sent:]
        if not connection.answer:
            self._drop(connection)
            return
        if sent:
            connection.active_at = self._loop.now()
        self._loop.watch(connection.sock, selectors.EVENT_WRITE, lambda _events: self._send(connection))

    def _drop(self, connection: _Connection) -> None:
        if connection not in self._connections:
            return  # it was ready in the round of the loop that dropped it
        self._connections.remove(connection)
        with contextlib.suppress(ValueError):
            self._unanswered.remove(connection)
        self._loop.unwatch(connection.sock)
        connection.sock.close()
        if not self._connections:
            self._loop.services.remove(self)


class _Connection:
    """A client: it sends `request` up to its newline, then reads `answer`, each until `deadline`."""

    __slots__ = ("active_at", "answer", "deadline", "request", "sock")

    def __init__(self, sock: socket.socket, now: float) -> None:
        self.sock = sock
        self.request = bytearray()
        self.answer = memoryview(b"")
        self.active_at = now
        self.deadline = now + DEADLINE_S

    def peer(self) -> str:
        """Return who asks, as the kernel knows it (SO_PEERCRED, unix(7))."""
        pid, uid, _gid = _PEER.unpack(self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        return f"uid {uid} (pid {pid})"


def _shown(request: dict[str, Any]) -> str:
    """Return a request in one line for the log."""
    words = (f"{key}={value}" for key, value in request.items() if key != "command")
    return ascii(" ".join([request["command"], *words]))[1:-1][:_MAX_LOGGED]


def _error(text: str) -> bytes:
    return json.dumps({"error": text}).encode()


def _bind(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        if path.is_socket():
            _remove_dead(path)
        old_mask = os.umask(0o117)
        try:
            sock.bind(str(path))
        finally:
            os.umask(old_mask)
        sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _remove_dead(path: Path) -> None:
    """Remove the socket of a daemon that was killed, and nothing else."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_TIMEOUT_S)
        code = probe.connect_ex(str(path))
    if code == 0:
        raise HostError(f"another copytool answers on {path}; stop it, or choose another --control-socket")
    if code != errno.ECONNREFUSED:
        reason = os.strerror(code)
        raise HostError(f"the socket {path} is somebody else's ({reason}); choose another --control-socket")
    path.unlink()


def _identity(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino


def ask_daemon(path: Path, command: str, timeout_s: float | None = None, **arguments: Any) -> dict[str, Any]:
    """Return what the daemon that listens on `path` answers to a command, within DEADLINE_S or another time."""
    timeout_s = DEADLINE_S if timeout_s is None else timeout_s
    deadline = time.monotonic() + timeout_s
    request = json.dumps({"command": command, **arguments}).encode() + b"\n"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(timeout_s)
            sock.connect(str(path))
            sock.sendall(request)
            line = _read_line(sock, deadline)
    except FileNotFoundError:
        raise HostError(f"no daemon: {path} does not exist; is it started, with this --control-socket?") from None
    except ConnectionRefusedError:
        raise HostError(f"no daemon answers on {path}; it was killed, start it again") from None
    except PermissionError:
        raise HostError(f"not allowed to use {path}; be root or in its group") from None
    except BlockingIOError:
        raise HostError(f"too many ask the daemon on {path} at once; try again") from None
    except TimeoutError:
        raise HostError(f"the daemon on {path} does not answer within {timeout_s:g} s; see its log") from None
    except OSError as error:
        raise HostError(f"no {command} from {path}: {error}") from None
    document = decode_answer(line)
    if document is None:
        raise HostError(f"no {command} from {path}: " + ("unexpected answer" if line else "closed without an answer"))
    if "error" in document:
        raise HostError(f"{command} refused by {path}: {plain(document['error'], _MAX_ERROR)}")
    return document


def _read_line(sock: socket.socket, deadline: float) -> bytes:
    """Return what the daemon says up to its newline, or its end; OSError if that is too long to be true."""
    line = bytearray()
    while b"\n" not in line[-_READ_BYTES:]:
        sock.settimeout(max(deadline - time.monotonic(), 0.001))
        data = sock.recv(_READ_BYTES)
        if not data:
            break
        line += data
        if len(line) > MAX_ANSWER_BYTES:
            raise OSError(errno.EMSGSIZE, "an answer without end")
    return bytes(line.partition(b"\n")[0])


def decode_answer(line: bytes | bytearray) -> dict[str, Any] | None:
    """Return the JSON object that a daemon answered, None if it is none."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
