"""Going to the background, pid files, log files."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import logging.handlers
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

from ..errors import HostError
from ..io.journal import JOURNAL_SOCKET, JournalHandler, is_journal
from ..io.log_limit import LogLimit
from .exit_status import ExitStatus

__all__ = ["Background", "PidFile", "set_up_logging"]


class PidFile:
    """A pid file that is locked while its process lives, so that a stale one is recognised."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            reason = "it is a symbolic link; remove it" if error.errno == errno.ELOOP else error.strerror
            raise HostError(f"-P (--pid-file) {str(path)!r}: {reason}") from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._descriptor, 20).decode(errors="replace").strip()
            os.close(self._descriptor)
            raise HostError(f"-P (--pid-file) {str(path)!r}: held by the running process {holder}") from None
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, f"{os.getpid()}\n".encode())

    def remove(self) -> None:
        """Delete the file and release the lock."""
        with contextlib.suppress(OSError):
            self._path.unlink()
        os.close(self._descriptor)


class Background:
    """Detaches from the terminal; the foreground process stays until ready() or fail() and exits accordingly."""

    def __init__(self) -> None:
        """Fork; only the background process returns."""
        reader, self._writer = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        if os.fork():
            os.close(self._writer)
            _wait_for_child(reader)
        os.close(reader)
        os.setsid()
        if os.fork():
            os._exit(0)
        os.chdir("/")
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.closerange(3, self._writer)
        os.closerange(self._writer + 1, os.sysconf("SC_OPEN_MAX"))

    def ready(self) -> None:
        """Let the foreground process exit with status 0."""
        self._report(ExitStatus.OK, "")

    def fail(self, status: ExitStatus, message: str) -> None:
        """Let the foreground process print `message` and exit with `status`."""
        self._report(status, message)

    def _report(self, status: ExitStatus, message: str) -> None:
        if self._writer >= 0:
            with contextlib.suppress(OSError):
                os.write(self._writer, bytes([status]) + message.encode())
            os.close(self._writer)
            self._writer = -1


def _wait_for_child(reader: int) -> NoReturn:
    with open(reader, "rb") as pipe:
        report = pipe.read()
    if not report:
        report = bytes([ExitStatus.INTERNAL_ERROR]) + b"copytool: the background process died at start"
    if len(report) > 1:
        print(report[1:].decode(errors="replace"), file=sys.stderr)
    sys.stderr.flush()
    os._exit(report[0])


def set_up_logging(role: str, log_file: Path | None, level: str) -> None:
    """Log to `log_file` (reopened when it is rotated), else to stderr, or to journald where that reads stderr.

    role: what the process is. What happens again and again is shown now and then (io/log_limit.py).
    """
    handler: logging.Handler
    if log_file is not None:
        try:
            log_file.parent.mkdir(parents=True, exist_ok=True)
            handler = _LogFile(log_file)
        except OSError as error:
            raise HostError(f"-l (--log-file) {str(log_file)!r}: {error.strerror}") from None
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    elif is_journal(sys.stderr) and JOURNAL_SOCKET.is_socket():
        handler = JournalHandler(role)
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("copytool: %(message)s"))
    handler.addFilter(LogLimit())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.raiseExceptions = False  # a full disk must not end a daemon or fill its stderr


class _LogFile(logging.handlers.WatchedFileHandler):
    """Loses lines rather than raise while the file cannot be reopened or written, and tries again with the next."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            super().emit(record)
        except (OSError, ValueError):  # ValueError: a file that was closed by an attempt that failed
            self.stream = None  # makes the next emit open it
