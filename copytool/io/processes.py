"""What a process does first that was forked to work beside its parent: it gives up what belongs to the parent."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import Collection

__all__ = ["leave_parent"]


def leave_parent(channels: Collection[int], name: str) -> None:
    """Close all files but the standard ones, the logs and `channels`; let the log's lines begin with `name`.

    What the parent has open are its pid file's lock, its sockets, and the channels of other such processes. Signals
    that a terminal or a service manager sends to all are the parent's, too: it ends this process by closing a
    channel, so that all end in order.
    """
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    kept = {0, 1, 2, *channels}
    for handler in logging.getLogger().handlers:
        handler.addFilter(lambda record: _name(record, name))
        for value in vars(handler).values():  # a file, or a socket of whichever name
            with contextlib.suppress(AttributeError, OSError, ValueError):
                kept.add(value.fileno())
    _close_others(kept)


def _close_others(kept: set[int]) -> None:
    previous = 2
    for descriptor in sorted(number for number in kept if number > 2):  # a socket that was closed says -1
        os.closerange(previous + 1, descriptor)
        previous = descriptor
    os.closerange(previous + 1, os.sysconf("SC_OPEN_MAX"))


def _name(record: logging.LogRecord, name: str) -> bool:
    record.process_label = name  # a field of the journal
    record.msg = f"{name}: {record.msg}"
    return True
