"""The copytool command."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from ..errors import ConfigError, CopytoolError
from ..io.journal import is_journal
from .arguments import parse_arguments
from .check import run_check
from .control import CONTROL_COMMANDS, run_control
from .daemonise import Background, PidFile, set_up_logging
from .exit_status import ExitStatus
from .exporter import run_exporter
from .status import format_status, print_status, status_paths
from .version import version_text
from .watch import watch

if TYPE_CHECKING:
    from ..io.loop import EventLoop
    from ..io.settings import CopySettings

__all__ = ["entry_point", "main"]

_log = logging.getLogger("copytool")
_status_log = logging.getLogger("copytool.status")

_OBJECTS_PER_COLLECTION = 100_000
"""Sessions leave no reference cycles. Looking for some after each 700 objects, as Python does, took copy a twelfth of
its time at 5,000 connections a second."""


class _Daemon(Protocol):
    @property
    def capabilities(self) -> tuple[str, ...]: ...

    def status(self) -> dict[str, Any]: ...

    def shut_down(self) -> None: ...


def entry_point() -> None:
    """Run the command and exit."""
    sys.exit(main(sys.argv[1:]))


def main(arguments: Sequence[str]) -> ExitStatus:
    """Run the command; return its exit status."""
    try:
        command, values = parse_arguments(arguments)
        if command == "status":
            if values["watch"] is not None:
                _watch(values)
            print_status(values)
            return ExitStatus.OK
        if command == "exporter":
            run_exporter(values)
            return ExitStatus.OK
        if command == "check":
            return run_check(values)
        if command in CONTROL_COMMANDS:
            run_control(command, values)
            return ExitStatus.OK
        return _run_daemon(command, values)
    except CopytoolError as error:
        priority = "<3>" if is_journal(sys.stderr) else ""  # sd-daemon(3)
        print(f"{priority}copytool: {error}", file=sys.stderr)
        return _exit_status(error)
    except (BrokenPipeError, KeyboardInterrupt):
        return ExitStatus.OK


def _watch(values: dict[str, Any]) -> NoReturn:
    if values["json"] or values["sessions"] is not None:
        raise ConfigError("--watch shows figures for people; leave --json and --sessions out")
    watch(status_paths(values), values["watch"])


def _exit_status(error: CopytoolError) -> ExitStatus:
    return ExitStatus.USAGE if isinstance(error, ConfigError) else ExitStatus.HOST


def _run_daemon(command: str, values: dict[str, Any]) -> ExitStatus:
    # Imported late: `copytool status` and mistakes in the arguments answer without waiting for netlink.
    from ..io.capabilities import give_up_others
    from ..io.forward_daemon import ForwardDaemon
    from ..io.intercept_daemon import InterceptDaemon
    from ..io.loop import EventLoop
    from .settings import copy_settings, forward_settings, intercept_settings

    make_daemon: Callable[[EventLoop], _Daemon]
    if command == "copy":
        make_daemon = partial(_make_copy, copy_settings(values))
    elif command == "forward":
        make_daemon = partial(ForwardDaemon, forward_settings(values))
    else:
        make_daemon = partial(InterceptDaemon, intercept_settings(values))
    gc.set_threshold(_OBJECTS_PER_COLLECTION)
    background = Background() if values["daemon"] else None
    try:
        pid_path, log_path = values["pid_file"], values["log_file"]
        if background is not None:
            pid_path = pid_path or Path("/run/copytool") / command / "pid"
            log_path = log_path or Path(f"/var/log/copytool-{command}.log")
        set_up_logging(command, log_path, values["log_level"])
        pid_file = PidFile(pid_path) if pid_path is not None else None
        try:
            loop = EventLoop()
            daemon = make_daemon(loop)
            give_up_others(daemon.capabilities)
            _serve(daemon, loop, command, values, background)
        finally:
            if pid_file is not None:
                pid_file.remove()
    except CopytoolError as error:
        if background is None:
            raise
        background.fail(_exit_status(error), f"copytool: {error}")
        return _exit_status(error)
    except Exception as error:
        if background is None:
            raise
        _log.critical("internal error, %s ends; please report it", command, exc_info=True)
        background.fail(ExitStatus.INTERNAL_ERROR, f"copytool: internal error: {error!r}; please report it")
        return ExitStatus.INTERNAL_ERROR
    return ExitStatus.OK


def _make_copy(settings: CopySettings, loop: EventLoop) -> _Daemon:
    from ..io.copy_daemon import CopyDaemon
    from ..io.neighbours import NeighbourKeeper
    from ..io.supervisor import Supervisor

    keeper = NeighbourKeeper()
    return (CopyDaemon if settings.workers == 1 else Supervisor)(settings, keeper, loop)


def _serve(daemon: _Daemon, loop: Any, command: str, values: dict[str, Any], background: Background | None) -> None:
    from ..io.notify import notify_systemd

    def log_status() -> None:
        for line in format_status(daemon.status()):
            _status_log.info("%s", line)

    if "NOTIFY_SOCKET" in os.environ:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.on_signal(number, loop.stop)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup and -d set that
        loop.on_signal(signal.SIGHUP, loop.stop)
    loop.on_signal(signal.SIGUSR1, log_status)
    if background is not None:
        background.ready()
    notify_systemd("READY=1")
    _log.info("%s %s started", command, version_text())
    if values["plain"] and not values.get("dry_run"):
        _log.warning("the link is not encrypted (--plain): keep it on a network where nobody else is")
    loop.run()
    notify_systemd("STOPPING=1")
    log_status()
    daemon.shut_down()
    loop.close()
    _log.info("%s stopped", command)
