"""Asks several daemons at once through their control sockets, and waits for none longer than for the others."""

from __future__ import annotations

import json
import selectors
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .control import MAX_ANSWER_BYTES, decode_answer

__all__ = ["ask_all"]

_READ_BYTES = 1 << 16


def ask_all(paths: Mapping[int, Path], request: dict[str, Any], limit_s: float) -> dict[int, dict[str, Any]]:
    """Return what the daemons that listen on `paths` answer to a control request within `limit_s`, by the same keys.

    One that gives no answer is left out; one that refuses has answered {"error": …}.
    """
    line = json.dumps(request).encode() + b"\n"
    answers: dict[int, dict[str, Any]] = {}
    deadline = time.monotonic() + limit_s
    with selectors.DefaultSelector() as selector:
        for number, path in paths.items():
            sock = _send(path, line)
            if sock is not None:
                selector.register(sock, selectors.EVENT_READ, (number, bytearray()))
        try:
            while selector.get_map() and (rest_s := deadline - time.monotonic()) > 0:
                for key, _events in selector.select(rest_s):
                    number, received = key.data
                    if _receive(key.fileobj, received):  # type: ignore[arg-type]
                        continue
                    selector.unregister(key.fileobj)
                    key.fileobj.close()  # type: ignore[union-attr]
                    answer = decode_answer(received)
                    if answer is not None:
                        answers[number] = answer
        finally:
            for key in selector.get_map().values():
                key.fileobj.close()  # type: ignore[union-attr]
    return answers


def _send(path: Path, line: bytes) -> socket.socket | None:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.connect(str(path))
        sock.sendall(line)  # a new connection's buffer takes much more
    except OSError:
        sock.close()
        return None
    return sock


def _receive(sock: socket.socket, received: bytearray) -> bool:
    """Read what is there; return whether there may be more."""
    try:
        data = sock.recv(_READ_BYTES)
    except BlockingIOError:
        return True
    except OSError:
        return False
    received += data
    return bool(data) and len(received) <= MAX_ANSWER_BYTES
