"""Waiting for a moment that is far shorter than a poll() in whole milliseconds can express.

This module is never compiled: compiled modules take wait_readable() from waiting.pxd, which is one system call (ppoll).
"""

from __future__ import annotations

import select

__all__ = ["wait_readable"]


def wait_readable(descriptor: int, seconds: float) -> None:
    """Return when the descriptor is readable, after `seconds`, or when a signal was handled."""
    select.select([descriptor], [], [], seconds)
