"""Congestion control and loss recovery of one sender (RFC 5681; NewReno, RFC 6582)."""

from __future__ import annotations

__all__ = ["Congestion"]

_INITIAL_WINDOW_SEGMENTS = 10  # RFC 6928
_MAX_WINDOW = 4 * 1024 * 1024
_DUPLICATES_FOR_LOSS = 3


class Congestion:
    """The congestion window in octets, and whether a loss is being repaired. Positions are the sender's."""

    __slots__ = ("_duplicates", "_in_recovery", "_mss", "_recover", "_threshold", "window")

    def __init__(self, mss: int) -> None:
        self.window = _INITIAL_WINDOW_SEGMENTS * mss
        self._mss = mss
        self._threshold = _MAX_WINDOW
        self._recover = 0
        self._in_recovery = False
        self._duplicates = 0

    def acknowledge(self, octets: int, una: int) -> bool:
        """Take in that `octets` more, up to `una`, arrived; return whether another hole is known behind them."""
        if self._in_recovery and una < self._recover:
            return True
        self._in_recovery = False
        self._duplicates = 0
        if self.window < self._threshold:
            grown = self.window + octets
        else:
            grown = self.window + self._mss * octets // self.window + 1
        self.window = min(grown, _MAX_WINDOW)
        return False

    def note_duplicates(self, count: int, una: int, sent_to: int) -> bool:
        """Take in duplicate acknowledgements of `una`; return whether they mean that a segment was lost."""
        self._duplicates += count
        if self._duplicates < _DUPLICATES_FOR_LOSS or sent_to <= una or self._in_recovery or una < self._recover:
            return False
        self._reduce(sent_to - una)
        self.window = self._threshold
        self._recover = sent_to
        self._in_recovery = True
        return True

    def time_out(self, una: int, sent_to: int, window_is_closed: bool) -> None:
        """Start again from one segment: nothing was heard for the retransmission time-out."""
        if not window_is_closed:  # a closed window that rejects a probe says nothing about congestion
            self._reduce(sent_to - una)
            self.window = self._mss
        self._recover = sent_to  # duplicate acknowledgements up to here are echoes of this (RFC 6582, section 3.2)
        self._in_recovery = False
        self._duplicates = 0

    def _reduce(self, in_flight: int) -> None:
        self._threshold = max(in_flight // 2, 2 * self._mss)
