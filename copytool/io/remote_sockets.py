"""What the online hosts' kernels say of connections, where copy runs elsewhere: forward asks them (io/sockdiag.py)."""

from __future__ import annotations

from collections.abc import Callable

from ..wire.flow import FlowEnds, FlowKey, flow_ends, flow_key
from .sockdiag import OPEN, UNKNOWN

__all__ = ["RemoteSockets"]

_MAX_SERVICES = 4096


class RemoteSockets:
    """Stands in for a SocketLookup: find() asks, and says UNKNOWN; what comes back later is for answered()."""

    def __init__(self, ask: Callable[[FlowKey], None]) -> None:
        self._ask = ask
        self._services: set[tuple[bytes, int]] = set()

    def knows(self, key: FlowEnds) -> bool:
        """Return whether connections of this service have been found."""
        return key[2:] in self._services

    def find(self, key: FlowEnds) -> str:
        """Ask."""
        self._ask(flow_key(*key))
        return UNKNOWN

    def answered(self, flow: FlowKey, state: str) -> None:
        """Take in what has been found of a connection."""
        if state == OPEN and len(self._services) < _MAX_SERVICES:
            self._services.add(flow_ends(flow)[2:])

    def close(self) -> None:
        """Nothing is open."""
