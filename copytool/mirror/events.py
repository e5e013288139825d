"""What the engine tells whoever asks next_event()."""

from __future__ import annotations

from typing import NamedTuple

from ..wire.flow import FlowEnds

__all__ = ["SessionEnded"]


class SessionEnded(NamedTuple):
    """A session has its final outcome."""

    client: tuple[bytes, int]
    """Packed address and port of the client."""

    mirror: FlowEnds
    """Mirror address and port, target address and port."""

    outcome: str
    """A key of outcome.OUTCOMES."""

    reason: str
    """Why, in a few words for people; empty where the outcome says it all."""

    turns: int
    """Requests released to the target."""

    client_bytes: int
    """Client bytes captured in order."""

    delivered_bytes: int
    """Client bytes that the target acknowledged."""

    undelivered_bytes: int
    """Client bytes that it did not, and that nobody sends any more."""

    response_bytes: int
    """Response bytes of the target."""

    duration_s: float
    """From the end of the client's handshake to the end of the mirror session."""
