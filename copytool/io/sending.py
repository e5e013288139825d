"""Sending many packets on one packet socket.

This module is never compiled: compiled modules take send_many() from sending.pxd, which hands all of them to the kernel
in one system call (sendmmsg).
"""

from __future__ import annotations

import os
from typing import Any

__all__ = ["MAX_BATCH", "send_many"]

MAX_BATCH = 64
"""Messages that one call of send_many() takes in."""


def send_many(descriptor: int, messages: list[Any], first: int) -> int:
    """Send messages, whose first two items are the octets to send, from number `first` on.

    Return how many were sent, at least one, or the negative errno of the first.
    """
    sent = 0
    for message in messages[first : first + MAX_BATCH]:
        try:
            os.writev(descriptor, message[:2])
        except OSError as error:
            return sent or -(error.errno or 0)
        sent += 1
    return sent
