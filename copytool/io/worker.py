"""One of several processes of `copytool copy`: how it is started, says that it is ready, and ends.

A socket pair joins it to its supervisor. The worker writes one line to it, when it is ready or why it cannot be; the
supervisor writes nothing. Its end of file tells the other side that this one is gone: the supervisor looks what became
of a worker, and a worker ends, with RSTs for its sessions, when the supervisor closes the pair or was killed.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import signal
import socket
import sys
import time
from pathlib import Path
from typing import NoReturn

from ..errors import ConfigError, CopytoolError, HostError
from .capabilities import give_up_others
from .copy_daemon import CopyDaemon
from .loop import EventLoop
from .neighbours import NeighbourKeeper
from .processes import leave_parent
from .settings import CopySettings

__all__ = ["Worker", "WorkerFailed"]

_log = logging.getLogger(__name__)

_REPORT_BYTES = 4096
_MAX_ERROR = 300  # letters, each of which JSON may write as twelve octets
_REAP_S = 1.0


class WorkerFailed(Exception):
    """A worker ended with an internal error, or was killed, before it was ready."""


class Worker:
    """A worker process as its supervisor sees it.

    number: from 1. ready: whether it runs. channel: readable when it has reported, or is gone.
    """

    def __init__(self, settings: CopySettings, keeper: NeighbourKeeper) -> None:
        """Start the process. Nothing else may run in this process that a fork would break (threads)."""
        self.number = settings.worker + 1
        self.control_socket: Path = settings.control_socket
        self.ready = False
        self.channel, its_channel = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _be_worker(settings, its_channel, keeper)
        its_channel.close()

    def wait_ready(self, timeout_s: float) -> None:
        """Wait for the report; raises what kept the worker from starting."""
        self.channel.settimeout(timeout_s)
        try:
            self.read_report()
        except TimeoutError:
            raise HostError(f"worker {self.number} (pid {self.pid}) is not ready within {timeout_s:g} s") from None
        self.channel.setblocking(False)

    def read_report(self) -> None:
        """Note that the worker is ready; raises what kept it from that, EOFError if it is gone since."""
        data = self.channel.recv(_REPORT_BYTES)
        if not data and not self.ready:
            raise WorkerFailed(f"worker {self.number} {self.reap()} before it was ready; please report it")
        if not data:
            raise EOFError
        try:
            report = json.loads(data)
            error, kind = str(report["error"]), str(report["kind"])
        except (ValueError, TypeError, KeyError, RecursionError):
            raise WorkerFailed(f"worker {self.number} does not say whether it is ready; please report it") from None
        if error:
            kinds: dict[str, type[Exception]] = {"config": ConfigError, "host": HostError}
            raise kinds.get(kind, WorkerFailed)(error)
        self.ready = True

    def ask_to_end(self) -> None:
        """Make the worker end its sessions and itself."""
        with contextlib.suppress(OSError):
            self.channel.shutdown(socket.SHUT_RDWR)

    def reap(self, timeout_s: float = _REAP_S) -> str:
        """Wait until the process has ended, kill it if it takes too long; return how it ended, as words."""
        deadline = time.monotonic() + timeout_s
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        while not pid:
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
                pid, status = os.waitpid(self.pid, 0)
                return f"did not end within {timeout_s:g} s and was killed"
            time.sleep(0.01)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        code = os.waitstatus_to_exitcode(status)
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"

    def close(self) -> None:
        """Release the channel."""
        self.channel.close()


def _be_worker(settings: CopySettings, channel: socket.socket, keeper: NeighbourKeeper) -> NoReturn:
    """Run in the new process and never return: what is on the stack belongs to the supervisor."""
    status = 1
    try:
        leave_parent({channel.fileno(), keeper.channel.fileno()}, f"worker {settings.worker + 1}")
        _run(settings, channel, keeper)
        status = 0
    except CopytoolError as error:
        _report(channel, str(error), "config" if isinstance(error, ConfigError) else "host")
    except BaseException as error:
        with contextlib.suppress(Exception):
            _log.critical("internal error, it ends; please report it", exc_info=True)
        _report(channel, f"internal error: {error!r}", "internal")
    finally:
        os._exit(status)


def _run(settings: CopySettings, channel: socket.socket, keeper: NeighbourKeeper) -> None:
    loop = EventLoop()
    daemon = CopyDaemon(settings, keeper, loop)
    give_up_others(daemon.capabilities)
    loop.watch(channel, selectors.EVENT_READ, lambda _events: loop.stop())
    _report(channel, "", "")
    loop.run()
    daemon.shut_down()
    loop.close()


def _report(channel: socket.socket, error: str, kind: str) -> None:
    with contextlib.suppress(OSError):
        channel.sendall(json.dumps({"error": error[:_MAX_ERROR], "kind": kind}).encode())
