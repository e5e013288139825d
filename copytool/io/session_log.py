"""The sessions that ended last, one by one, for `copytool status --sessions`."""

from __future__ import annotations

import socket
import time
from collections import deque
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from ..errors import ConfigError
from ..mirror.events import SessionEnded

__all__ = ["KEPT_SESSIONS", "SessionLog", "read_count"]

KEPT_SESSIONS = 1000
"""Ended sessions that are remembered; the oldest go first."""


class SessionLog:
    """Remembers the last `kept` sessions as they are; what they look like is worked out when somebody asks."""

    def __init__(self, kept: int = KEPT_SESSIONS) -> None:
        self._ended = 0
        self._entries: deque[tuple[float, SessionEnded]] = deque(maxlen=kept)

    def add(self, event: SessionEnded) -> None:
        """Remember a session that has just ended."""
        self._ended += 1
        self._entries.append((time.time(), event))

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the last sessions, newest last, as the control command `sessions`: at most request["count"]."""
        count = read_count(request)
        skipped = max(len(self._entries) - count, 0)
        shown = islice(self._entries, skipped, None)
        return {"ended": self._ended, "sessions": [_to_json(at, event) for at, event in shown]}


def read_count(request: dict[str, Any]) -> int:
    """Return how many sessions a request {"count": …} asks for."""
    count = request.get("count", KEPT_SESSIONS)
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise ConfigError(f"count: {repr(count)[:40]} is not a whole number from 0")
    return count


def _to_json(ended_at: float, event: SessionEnded) -> dict[str, Any]:
    return {
        "ended_at": datetime.fromtimestamp(ended_at, UTC).isoformat(timespec="milliseconds"),
        "duration_s": round(event.duration_s, 3),
        "client": _endpoint(*event.client),
        "mirror": _endpoint(*event.mirror[:2]),
        "target": _endpoint(*event.mirror[2:]),
        "turns": event.turns,
        "client_bytes": event.client_bytes,
        "delivered_bytes": event.delivered_bytes,
        "undelivered_bytes": event.undelivered_bytes,
        "response_bytes": event.response_bytes,
        "outcome": event.outcome,
        "reason": event.reason,
    }


def _endpoint(packed: bytes, port: int) -> str:
    """Return host:port, IPv6 in brackets; not with ipaddress, which is slow, while the mirror waits."""
    if len(packed) == 4:
        return f"{socket.inet_ntop(socket.AF_INET, packed)}:{port}"
    return f"[{socket.inet_ntop(socket.AF_INET6, packed)}]:{port}"
