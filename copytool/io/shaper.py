"""Keeps what is sent within a rate: a token bucket, and a short queue before it.

The budgets bring a load down to its limit within seconds, by whole sessions. Until then this holds packets back for a
moment, and drops what is too much, as a slow link would: senders notice, slow down and send it again. Order is kept.
"""

from __future__ import annotations

from collections import deque

from ..mirror.emitter import Outgoing

__all__ = ["MAX_WAITING", "Shaper"]

BURST_S = 0.25
"""A rate may be exceeded by what it allows in this time."""

LATENCY_S = 0.2
"""What waits is at most what the rate allows in this time."""

MAX_WAITING = 65_536
"""Packets without payload that wait; with more, nobody may ask the engine for others."""

_LEAST_BYTES = 1 << 16  # a burst is one packet of up to so many octets
_NEVER = float("inf")


class Shaper:
    """A queue that lets so many bits of IP packets pass in a second. dropped: packets that found no place in it.

    Packets without payload always find one: they are small, and an RST that gets lost leaves the target with a session.
    So many of them may wait that is_full() has to be asked; they take nothing from the place for the others.
    """

    def __init__(self, bits_per_s: float, now: float) -> None:
        self.dropped = 0
        self._rate = bits_per_s / 8
        self._most_tokens = max(self._rate * BURST_S, _LEAST_BYTES)
        self._most_waiting = max(self._rate * LATENCY_S, _LEAST_BYTES)
        self._tokens = self._most_tokens
        self._filled_at = now
        self._queue: deque[tuple[Outgoing, int, int]] = deque()
        self._waiting = 0

    def is_full(self) -> bool:
        """Return whether no more should be passed on until something has been sent."""
        return len(self._queue) >= MAX_WAITING

    def pass_on(self, packets: list[Outgoing], now: float) -> list[Outgoing]:
        """Take packets in; return those that may be sent now, older ones first."""
        self._tokens = min(self._tokens + (now - self._filled_at) * self._rate, self._most_tokens)
        self._filled_at = now
        passing = []
        while self._queue and self._tokens > 0:
            outgoing, octets, waiting = self._queue.popleft()
            self._waiting -= waiting
            self._tokens -= octets
            passing.append(outgoing)
        for outgoing in packets:
            headers, octets = _sizes(outgoing)
            if self._tokens > 0:
                self._tokens -= octets
                passing.append(outgoing)
            elif octets == headers:
                self._queue.append((outgoing, octets, 0))
            elif self._waiting + octets > self._most_waiting:
                self.dropped += 1
            else:
                self._queue.append((outgoing, octets, octets))
                self._waiting += octets
        return passing

    def next_timer(self) -> float:
        """Return when something that waits may be sent."""
        if not self._queue:
            return _NEVER
        return self._filled_at + max(1 - self._tokens, 0.0) / self._rate

    def drain(self) -> list[Outgoing]:
        """Return all that waits: it is the end."""
        waiting = [outgoing for outgoing, _, _ in self._queue]
        self._queue.clear()
        self._waiting = 0
        return waiting


def _sizes(outgoing: Outgoing) -> tuple[int, int]:
    """Return the octets of a packet's headers, and of all IP packets that it stands for."""
    packet, segment_bytes = outgoing
    start = 20 if packet[0] >> 4 == 4 else 40  # what is sent has no IP options
    headers = start + (packet[start + 12] >> 4) * 4
    payload = len(packet) - headers
    segments = -(-payload // segment_bytes) if segment_bytes else 1
    return headers, payload + segments * headers
