"""The control socket: a local stream socket that answers each connection with one JSON document."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import selectors
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import HostError
from .loop import EventLoop

__all__ = ["ControlServer", "default_control_socket", "query_status"]

_log = logging.getLogger(__name__)

_SEND_TIMEOUT_S = 0.5


def default_control_socket(role: str) -> Path:
    """Return where the daemon of `role` ("copy" or "intercept") listens unless told otherwise."""
    return Path("/run/copytool") / role / "control.sock"


class ControlServer:
    """Answers status queries of root and of the socket's group."""

    def __init__(self, loop: EventLoop, path: Path, status: Callable[[], dict[str, Any]]) -> None:
        self._loop = loop
        self._path = path
        self._status = status
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
        self._loop.unwatch(self._socket)
        with contextlib.suppress(OSError):
            if _identity(self._path) == self._identity:
                self._path.unlink()
        self._socket.close()

    def _on_accept(self, _events: int) -> None:
        accepted = self._loop.accept(self._socket)
        if accepted is not None:
            with contextlib.suppress(OSError), accepted[0] as connection:
                # A document fits into the socket buffer, so a reader that does not read cannot hold the daemon.
                connection.settimeout(_SEND_TIMEOUT_S)
                connection.sendall(json.dumps(self._status()).encode() + b"\n")


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
        sock.listen(8)
    except BaseException:
        sock.close()
        raise
    return sock


def _remove_dead(path: Path) -> None:
    """Remove the socket of a daemon that was killed, and nothing else."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_SEND_TIMEOUT_S)
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


def query_status(path: Path) -> dict[str, Any]:
    """Return the status of the daemon that listens on `path`."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(5.0)
            sock.connect(str(path))
            with sock.makefile("rb") as stream:
                document = json.loads(stream.read())
    except FileNotFoundError:
        raise HostError(f"no daemon: {path} does not exist; is it started, with this --control-socket?") from None
    except ConnectionRefusedError:
        raise HostError(f"no daemon answers on {path}; it was killed, start it again") from None
    except PermissionError:
        raise HostError(f"not allowed to use {path}; be root or in its group") from None
    except (OSError, ValueError) as error:
        raise HostError(f"no status from {path}: {error}") from None
    if not isinstance(document, dict):
        raise HostError(f"no status from {path}: unexpected answer")
    return document
