"""What a sender may send: released client octets that the target has not acknowledged, and where they are urgent."""

from __future__ import annotations

from collections import deque

__all__ = ["SendBuffer"]


class SendBuffer:
    """The unacknowledged end of the stream. Positions count octets from the ISN: the SYN is 0, data starts at 1.

    start, end: positions of the first octet held and behind the last one. finished: nothing will be appended.
    """

    __slots__ = ("_octets", "_urgent", "end", "finished", "start")

    def __init__(self) -> None:
        self._octets = bytearray()
        self._urgent: deque[int] = deque()
        self.start = 1
        self.end = 1
        self.finished = False

    def __len__(self) -> int:
        return self.end - self.start

    def append(self, octets: bytes, urgent: bool) -> None:
        """Append octets; `urgent` says that the last one is."""
        self._octets += octets
        self.end += len(octets)
        if urgent:
            self._urgent.append(self.end)

    def acknowledge(self, position: int) -> int:
        """Forget what lies before `position`; return how many octets that were."""
        count = min(position, self.end) - self.start
        if count <= 0:
            return 0
        del self._octets[:count]
        self.start += count
        while self._urgent and self._urgent[0] <= self.start:
            self._urgent.popleft()
        return count

    def read(self, position: int, size: int) -> bytearray:
        """Return `size` octets from `position`."""
        offset = position - self.start
        return self._octets[offset : offset + size]

    def urgent_after(self, position: int) -> int:
        """Return the position behind the first urgent octet at or after `position`, or 0.

        A segment has room for one urgent pointer, so it must not reach beyond that.
        """
        for end in self._urgent:
            if end > position:
                return end
        return 0
