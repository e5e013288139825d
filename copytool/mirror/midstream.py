"""Connections that were open before copy started: counted, and joined where a request begins if the user allows it.

Theory of operation. Nothing says in TCP where a request begins. A client that asks and waits shows it, though: it has
acknowledged new response octets since its own last octet, has been silent for a moment, and now sends the octet that
follows the last one captured. So the first payload segment with all three is taken as the beginning of a request.
A client that streams, or whose previous octets were not captured, is never joined.
"""

from __future__ import annotations

from ..wire import seq as serial
from ..wire.flow import FlowKey
from ..wire.segment import FIN, RST, Segment

__all__ = ["MAX_WATCHED", "MidstreamWatch", "assumed_syn"]

MAX_WATCHED = 65536
"""Connections watched for a boundary; beyond it the one that was seen first is never joined."""

_WINDOW_SCALE = 7  # what most clients offer


class MidstreamWatch:
    """Per connection: the next sequence number, the ack of its last payload, and when it was last heard."""

    __slots__ = ("_quiet_s", "_watched")

    def __init__(self, quiet_s: float) -> None:
        self._quiet_s = quiet_s
        self._watched: dict[FlowKey, tuple[int, int, float]] = {}

    def discard(self, key: FlowKey) -> None:
        """Forget a connection."""
        self._watched.pop(key, None)

    def begins_request(self, key: FlowKey, segment: Segment, now: float) -> bool:
        """Take in a segment of a connection whose SYN was not captured; return whether to join with it."""
        known = self._watched.pop(key, None)
        if segment.flags & (RST | FIN):
            return False
        end = serial.seq_add(segment.seq, segment.payload_len)
        payload_ack = segment.ack
        if known is not None:
            next_seq, payload_ack, heard_at = known
            answered = serial.seq_diff(segment.ack, payload_ack) > 0
            if segment.captured_len and segment.seq == next_seq and answered and now - heard_at >= self._quiet_s:
                return True
            if segment.payload_len:
                payload_ack = segment.ack
            if serial.seq_diff(end, next_seq) < 0:
                end = next_seq
        while len(self._watched) >= MAX_WATCHED:
            del self._watched[next(iter(self._watched))]
        self._watched[key] = (end, payload_ack, now)
        return False


def assumed_syn(segment: Segment, mss: int) -> Segment:
    """Return the SYN of a connection that would begin with `segment`."""
    syn = Segment()
    syn.seq = serial.seq_add(segment.seq, -1)
    syn.mss = mss
    syn.window_scale = _WINDOW_SCALE
    return syn
