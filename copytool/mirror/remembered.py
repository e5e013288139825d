"""Connections that are not mirrored, or not any more, and would be counted twice if they were forgotten."""

from __future__ import annotations

from ..wire.flow import FlowKey

__all__ = ["MAX_REMEMBERED", "Remembered"]

MAX_REMEMBERED = 65536
"""The oldest go first."""


class Remembered:
    """Why the newest connection of a client address and port is ignored, its ISN (-1 where it is not known), and how
    many sessions were counted for it."""

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: dict[FlowKey, tuple[str, int, int]] = {}

    def note(self, key: FlowKey, reason: str, isn: int, sessions: int = 0) -> None:
        """Remember a connection."""
        entries = self._entries
        entries.pop(key, None)
        while len(entries) >= MAX_REMEMBERED:
            del entries[next(iter(entries))]
        entries[key] = (reason, isn, sessions)

    def reason(self, key: FlowKey) -> str:
        """Return why the connection is ignored, or ""."""
        entry = self._entries.get(key)
        return entry[0] if entry is not None else ""

    def sessions(self, key: FlowKey) -> int:
        """Return how many sessions were counted for the connection."""
        entry = self._entries.get(key)
        return entry[2] if entry is not None else 0

    def is_isn(self, key: FlowKey, isn: int) -> bool:
        """Return whether the remembered connection began with this ISN."""
        entry = self._entries.get(key)
        return entry is not None and entry[1] == isn

    def discard(self, key: FlowKey) -> None:
        """Forget a connection: its ports have a newer one."""
        self._entries.pop(key, None)
