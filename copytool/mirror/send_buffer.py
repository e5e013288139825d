"""What a sender may send: released client octets that the target has not acknowledged, and where they are urgent."""

from __future__ import annotations

from bisect import bisect_right

__all__ = ["MAX_URGENT", "SendBuffer"]

MAX_URGENT = 4096
"""Urgent octets that wait; beyond it the oldest becomes an ordinary one, as it does for a receiver that reads late."""

_SMALL = 2048
_MIN_FORGOTTEN = 256


class SendBuffer:
    """The unacknowledged end of the stream. Positions count octets from the ISN: the SYN is 0, data starts at 1.

    The octets stay in the pieces they came in: in one array each addition would move all that waits. start, end:
    positions of the first octet held and behind the last one. finished: nothing will be appended.
    """

    __slots__ = ("_first", "_pieces", "_starts", "_urgent", "end", "finished", "start")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._starts: list[int] = []
        self._first = 0
        self._urgent: list[int] = []
        self.start = 1
        self.end = 1
        self.finished = False

    def __len__(self) -> int:
        return self.end - self.start

    def append(self, octets: bytes, urgent: bool) -> None:
        """Append octets; `urgent` says that the last one is."""
        pieces = self._pieces
        if self._first < len(pieces) and len(octets) < _SMALL and len(pieces[-1]) < _SMALL:
            pieces[-1] += octets
        else:
            pieces.append(octets)
            self._starts.append(self.end)
        self.end += len(octets)
        if urgent:
            self._urgent.append(self.end)
            if len(self._urgent) > MAX_URGENT:
                del self._urgent[0]

    def acknowledge(self, position: int) -> int:
        """Forget what lies before `position`; return how many octets that were."""
        position = min(position, self.end)
        count = position - self.start
        if count <= 0:
            return 0
        self.start = position
        pieces, starts, first = self._pieces, self._starts, self._first
        if position == self.end:
            del pieces[:], starts[:], self._urgent[:]
            self._first = 0
            return count
        while first < len(pieces) and starts[first] + len(pieces[first]) <= position:
            pieces[first] = b""
            first += 1
        if first >= _MIN_FORGOTTEN and first * 2 >= len(pieces):
            del pieces[:first], starts[:first]
            first = 0
        self._first = first
        if self._urgent:
            del self._urgent[: bisect_right(self._urgent, position)]
        return count

    def read(self, position: int, size: int) -> bytes:
        """Return `size` octets from `position`; all of them are held."""
        index = self._first
        offset = position - self._starts[index]
        octets = self._pieces[index]
        if offset >= len(octets):
            index = bisect_right(self._starts, position, index) - 1
            offset = position - self._starts[index]
            octets = self._pieces[index]
        if offset or size < len(octets):
            octets = octets[offset : offset + size]
        if len(octets) == size:
            return octets
        parts = [octets]
        missing = size - len(octets)
        while missing:
            index += 1
            parts.append(self._pieces[index][:missing])
            missing -= len(parts[-1])
        return b"".join(parts)

    def has_urgent(self) -> bool:
        """Return whether an urgent octet waits."""
        return len(self._urgent) > 0

    def urgent_after(self, position: int) -> int:
        """Return the position behind the first urgent octet at or after `position`, or 0.

        A segment has room for one urgent pointer, so it must not reach beyond that.
        """
        if not self._urgent:
            return 0
        index = bisect_right(self._urgent, position)
        return self._urgent[index] if index < len(self._urgent) else 0

    def end_at_urgent(self, position: int, end: int, segment_bytes: int) -> tuple[int, bool]:
        """Return where a packet ends that would reach to `end`, and whether its last octet is urgent.

        A segment with an urgent octet at its end goes by itself, and what comes before it in a packet of its own.
        """
        urgent = self.urgent_after(position)
        if not urgent or urgent > end:
            return end, False
        before = (urgent - position - 1) // segment_bytes * segment_bytes
        return (position + before, False) if before else (urgent, True)
