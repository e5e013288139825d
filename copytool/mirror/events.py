"""What the engine tells whoever asks next_event()."""

from __future__ import annotations

from ..wire.flow import FlowEnds, FlowKey, flow_ends

__all__ = ["SessionEnded"]


class SessionEnded:
    """A session has its final outcome.

    outcome: a key of outcome.OUTCOMES. reason: why, in a few words for people; empty where the outcome says it all.
    turns: requests released to the target. client_bytes: captured in order; of these, delivered_bytes were acknowledged
    by the target, and undelivered_bytes were not, and nobody sends them any more. response_bytes: of the target.
    duration_s: from the end of the client's handshake to the end of the mirror session.
    """

    __slots__ = (
        "_flow",
        "_mirror_flow",
        "client_bytes",
        "delivered_bytes",
        "duration_s",
        "outcome",
        "reason",
        "response_bytes",
        "turns",
        "undelivered_bytes",
    )

    def __init__(
        self,
        flow: FlowKey,
        mirror_flow: FlowKey,
        outcome: str,
        reason: str,
        turns: int,
        client_bytes: int,
        delivered_bytes: int,
        undelivered_bytes: int,
        response_bytes: int,
        duration_s: float,
    ) -> None:
        """flow: from the client to the online service. mirror_flow: from the mirror's address to the target."""
        self._flow = flow
        self._mirror_flow = mirror_flow
        self.outcome = outcome
        self.reason = reason
        self.turns = turns
        self.client_bytes = client_bytes
        self.delivered_bytes = delivered_bytes
        self.undelivered_bytes = undelivered_bytes
        self.response_bytes = response_bytes
        self.duration_s = duration_s

    @property
    def client(self) -> tuple[bytes, int]:
        """Packed address and port of the client."""
        return flow_ends(self._flow)[:2]

    @property
    def mirror(self) -> FlowEnds:
        """Mirror address and port, target address and port."""
        return flow_ends(self._mirror_flow)
