"""Logs to journald by its native protocol, with fields that can be searched (systemd, JOURNAL_NATIVE_PROTOCOL)."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

__all__ = ["JOURNAL_SOCKET", "JournalHandler", "encode_fields", "is_journal"]

JOURNAL_SOCKET = Path("/run/systemd/journal/socket")

_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG_PRIORITY = 7
_FACILITY_DAEMON = 3
_MAX_VALUE_BYTES = 1 << 15  # a datagram must fit into net.core.wmem_default, about 208 KiB


class JournalHandler(logging.Handler):
    """Sends each record as one datagram and never waits: what journald has no room for is counted in `lost`.

    stream: the socket, under the name that logging's own handlers have for where they write to.
    """

    def __init__(self, role: str, path: Path = JOURNAL_SOCKET) -> None:
        """role: what the process is, for the field COPYTOOL_ROLE."""
        super().__init__()
        self.lost = 0
        self.stream = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._role = role
        self._path = str(path)

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record, or count it."""
        try:
            self.stream.sendto(encode_fields(self._fields(record)), self._path)
        except OSError:  # journald is behind (EAGAIN), or is being started again
            self.lost += 1
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """Close the socket."""
        self.stream.close()
        super().close()

    def _fields(self, record: logging.LogRecord) -> dict[str, str]:
        optional = {
            "COPYTOOL_PROCESS": getattr(record, "process_label", ""),
            "COPYTOOL_NOT_SHOWN": getattr(record, "not_shown", ""),
            "COPYTOOL_LOST": self.lost or "",
        }
        return {
            "MESSAGE": self.format(record),
            "PRIORITY": str(_priority(record.levelno)),
            "SYSLOG_IDENTIFIER": "copytool",
            "SYSLOG_FACILITY": str(_FACILITY_DAEMON),
            "CODE_FILE": record.pathname,
            "CODE_LINE": str(record.lineno),
            "CODE_FUNC": record.funcName or "",
            "COPYTOOL_ROLE": self._role,
            "COPYTOOL_LOGGER": record.name,
            **{name: str(value) for name, value in optional.items() if value != ""},
        }


def encode_fields(fields: Mapping[str, str]) -> bytes:
    """Return fields as journald reads them: NAME=value lines, and values of several lines by their length."""
    parts = []
    for name, text in fields.items():
        value = text.encode(errors="replace")[:_MAX_VALUE_BYTES]
        if b"\n" in value:
            parts += [name.encode(), b"\n", len(value).to_bytes(8, "little"), value, b"\n"]
        else:
            parts += [name.encode(), b"=", value, b"\n"]
    return b"".join(parts)


def is_journal(stream: TextIO | None, environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether a stream leads to journald: JOURNAL_STREAM has its device and inode (systemd.exec(5))."""
    if stream is None:  # it was closed before Python started
        return False
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):  # closed, or no file at all
        return False
    return environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _priority(level: int) -> int:
    """Return the syslog priority of a level of logging."""
    return next((priority for least, priority in _PRIORITIES if level >= least), _DEBUG_PRIORITY)
