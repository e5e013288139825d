"""Keeps what goes wrong again and again from filling the log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

__all__ = ["BURST", "INTERVAL_S", "MAX_CAUSES", "UNLIMITED", "LogLimit"]

BURST = 5
"""Messages of one cause that are shown at once."""

INTERVAL_S = 60.0
"""After a burst one is shown in this time."""

MAX_CAUSES = 256
"""Causes that are remembered; the one that has been quiet for longest is forgotten."""

UNLIMITED = ("copytool.audit", "copytool.status")
"""Loggers of which all is shown: who has changed what, and what somebody has asked for."""

_Cause = tuple[object, ...]


class LogLimit(logging.Filter):
    """Lets a burst of messages of each cause pass, then one a minute, which says how many were not shown.

    A cause is a logger, a level, the message before its arguments are put in, and where the exception arose if there
    is one. So what differs only in its addresses is one cause. What is logged at level DEBUG always passes: somebody
    has asked for it, to see all of it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._causes: dict[_Cause, _Bucket] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is to be shown; adds to its message what was not."""
        if record.levelno <= logging.DEBUG or record.name in UNLIMITED:
            return True
        now = self._clock()
        bucket = self._bucket(_cause(record), now)
        if not bucket.take(now):
            return False
        if bucket.not_shown:
            record.not_shown = bucket.not_shown
            record.msg = f"{record.getMessage()} ({bucket.not_shown} more like it were not shown)"
            record.args = None
            bucket.not_shown = 0
        return True

    def _bucket(self, cause: _Cause, now: float) -> _Bucket:
        bucket = self._causes.pop(cause, None) or _Bucket(now)
        while len(self._causes) >= MAX_CAUSES:
            del self._causes[next(iter(self._causes))]
        self._causes[cause] = bucket  # last: it is the one that was heard of last
        return bucket


class _Bucket:
    """How many messages of one cause may still be shown, and how many were not."""

    __slots__ = ("_left", "_since", "not_shown")

    def __init__(self, now: float) -> None:
        self._left = float(BURST)
        self._since = now
        self.not_shown = 0

    def take(self, now: float) -> bool:
        """Return whether one more may be shown, and count it."""
        self._left = min(self._left + (now - self._since) / INTERVAL_S, float(BURST))
        self._since = now
        if self._left < 1.0:
            self.not_shown += 1
            return False
        self._left -= 1.0
        return True


def _cause(record: logging.LogRecord) -> _Cause:
    cause: _Cause = (record.name, record.levelno, record.msg if isinstance(record.msg, str) else type(record.msg))
    if not record.exc_info or record.exc_info[0] is None:
        return cause
    kind, _, traceback = record.exc_info
    place: _Cause = ()
    while traceback is not None:
        place = (traceback.tb_frame.f_code.co_filename, traceback.tb_lineno)
        traceback = traceback.tb_next
    return (*cause, kind, *place)
