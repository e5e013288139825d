"""Round-trip time and retransmission time-out (RFC 6298). Times in seconds."""

from __future__ import annotations

__all__ = ["RttEstimator"]

_INITIAL_RTO_S = 1.0
_MIN_RTO_S = 0.2  # RFC 6298 asks for 1 s; every common stack uses 200 ms, and so do the clients we stand for
_MAX_RTO_S = 60.0


class RttEstimator:
    """Smoothed RTT, its variation, and the back-off exponent."""

    __slots__ = ("backoff", "smoothed_s", "variation_s")

    def __init__(self) -> None:
        self.smoothed_s = 0.0
        self.variation_s = 0.0
        self.backoff = 0

    def sample(self, rtt_s: float) -> None:
        """Take in one measurement of a segment that was sent once (Karn's rule is the caller's)."""
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
