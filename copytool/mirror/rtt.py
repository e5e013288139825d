"""Round-trip time and retransmission time-out (RFC 6298). Times in seconds."""

from __future__ import annotations

__all__ = ["RttEstimator"]

_INITIAL_RTO_S = 1.0
_MIN_RTO_S = 0.2  # RFC 6298 asks for 1 s; every common stack uses 200 ms, and so do the clients we stand for
_MAX_RTO_S = 60.0


class RttEstimator:
    """Smoothed RTT, its variation, and the back-off exponent. One segment at a time is measured."""

    __slots__ = ("_timed_at", "_timed_end", "backoff", "smoothed_s", "variation_s")

    def __init__(self) -> None:
        self.smoothed_s = 0.0
        self.variation_s = 0.0
        self.backoff = 0
        self._timed_end = -1
        self._timed_at = 0.0

    def start(self, end: int, now: float) -> None:
        """New octets up to position `end` are sent; measure them if no others are being measured."""
        if self._timed_end < 0:
            self._timed_end, self._timed_at = end, now

    def cancel(self) -> None:
        """Something was sent again: nobody will know which copy was acknowledged (Karn's rule)."""
        self._timed_end = -1
        self._timed_at = 0.0

    def acknowledge(self, position: int, now: float) -> None:
        """Everything before `position` was acknowledged."""
        if 0 <= self._timed_end <= position:
            self.sample(now - self._timed_at)
            self.cancel()

    def sample(self, rtt_s: float) -> None:
        """Take in one measurement."""
        if self.smoothed_s == 0.0:
            self.smoothed_s = rtt_s
            self.variation_s = rtt_s / 2
        else:
            self.variation_s += (abs(self.smoothed_s - rtt_s) - self.variation_s) / 4
            self.smoothed_s += (rtt_s - self.smoothed_s) / 8

    def unbounded_rto_s(self) -> float:
        """Return the time-out without lower bound or back-off; 0 before the first sample."""
        return self.smoothed_s + 4 * self.variation_s

    def rto_s(self) -> float:
        """Return the current retransmission time-out."""
        base = self.unbounded_rto_s() if self.smoothed_s else _INITIAL_RTO_S
        if base < _MIN_RTO_S:
            base = _MIN_RTO_S
        backed_off = base * (1 << self.backoff)
        return backed_off if backed_off < _MAX_RTO_S else _MAX_RTO_S
