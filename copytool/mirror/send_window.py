"""The target's receive window, as the sender knows it."""

from __future__ import annotations

__all__ = ["SendWindow"]


class SendWindow:
    """octets: the window of the newest acknowledgement, scaled.

    scale: how often header fields are doubled; until the SYN/ACK is here the option of our SYN, -1 without it.
    """

    __slots__ = ("_largest", "octets", "scale")

    def __init__(self, offered_scale: int) -> None:
        self.scale = offered_scale
        self._largest = 0
        self.octets = 0

    def open(self, field: int, scale: int) -> None:
        """Take in the SYN/ACK's window, which is never scaled (RFC 7323, section 2.2), and its option."""
        self.scale = scale if scale >= 0 and self.scale >= 0 else 0
        self.octets = self._largest = field

    def scaled(self, field: int) -> int:
        """Return the octets that a header's window field means."""
        return field << self.scale

    def set(self, octets: int) -> None:
        """Take in a newer window."""
        self.octets = octets
        if octets > self._largest:
            self._largest = octets

    def usable(self, size: int, room: int) -> int:
        """Return how much of a segment of `size` fits into `room` octets; 0 rather than a silly small one.

        The rule is that of RFC 9293, section 3.8.6.2.1: whole, or at least half of the largest window seen.
        """
        if room >= size:
            return size
        return room if 0 < self._largest <= 2 * room else 0
