"""How much payload fits into a packet to one target, learnt from the route and from packets that vanish.

Nobody tells copy when a packet is too large for a link in the middle: the router's ICMP message goes to the client
network. So a segment that stays unacknowledged again and again is sent in smaller pieces (RFC 4821, section 7.7). When
such a piece is acknowledged the target may just as well have been away. But when the same happens to a segment sent
after that, all sessions to this target use the smaller size.
"""

from __future__ import annotations

__all__ = ["PathLimit", "SegmentSize"]

_MIN_MSS = 64

_MTUS = (1400, 1280, 1024, 576)
_FORGET_S = 600.0  # RFC 4821, section 7.3: try the larger size again after ten minutes
_SUSPECT_S = 60.0
_CLOCK_S = 0.001


class PathLimit:
    """The payload limit towards one target address; `header_bytes` are those of IP and TCP without options."""

    __slots__ = (
        "_configured",
        "_dropped_at",
        "_header_bytes",
        "_learnt",
        "_learnt_until",
        "_suspected_at",
        "payload_bytes",
    )

    def __init__(self, header_bytes: int, configured_mtu_bytes: int) -> None:
        self._header_bytes = header_bytes
        self._configured = configured_mtu_bytes - header_bytes
        self._learnt = 0
        self._learnt_until = 0.0
        self._suspected_at = float("-inf")
        self._dropped_at = float("-inf")
        self.payload_bytes = self._configured

    def set_route(self, mtu_bytes: int, now: float) -> None:
        """Take in the route's MTU, and forget what was learnt long ago."""
        limit = min(self._configured, mtu_bytes - self._header_bytes)
        if self._learnt and now >= self._learnt_until:
            self._learnt = 0
        self.payload_bytes = min(limit, self._learnt) if self._learnt else limit

    def note_own_drops(self, now: float) -> None:
        """Packets of whatever size were not sent by this host."""
        self._dropped_at = now

    def smaller(self, payload_bytes: int) -> int:
        """Return the next smaller payload worth trying, or `payload_bytes` if there is none."""
        for mtu in _MTUS:
            if mtu - self._header_bytes < payload_bytes:
                return mtu - self._header_bytes
        return payload_bytes

    def suspect(self, payload_bytes: int, failing_since: float, now: float) -> None:
        """Packets with more payload, sent from `failing_since` on, vanished, and with this much they arrive."""
        if failing_since < self._suspected_at - _CLOCK_S or failing_since <= self._dropped_at:
            return
        suspected_at, self._suspected_at = self._suspected_at, now
        if failing_since <= suspected_at + _SUSPECT_S:
            self._learnt = payload_bytes
            self._learnt_until = now + _FORGET_S
            self.payload_bytes = min(self.payload_bytes, payload_bytes)


class SegmentSize:
    """How much payload one session puts into a segment; smaller ones are tried while larger ones seem to vanish.

    target_mss: the limit that the target has announced.
    """

    __slots__ = ("_failing_since", "_path", "_tried", "target_mss")

    def __init__(self, path: PathLimit, target_mss: int) -> None:
        self._path = path
        self._tried = 0
        self._failing_since = 0.0
        self.target_mss = target_mss

    def limit(self) -> int:
        """The most that a segment may carry now."""
        limit = min(self.target_mss, self._path.payload_bytes)
        if self._tried:
            limit = min(limit, self._tried)
        return max(limit, _MIN_MSS)

    def note_failing(self, since: float) -> None:
        """What was sent `since` then is not acknowledged."""
        self._failing_since = since

    def try_smaller(self, waiting_bytes: int) -> bool:
        """Take a smaller size if a segment of what waits may be too large for the path; return whether there is one."""
        size = min(self.limit(), waiting_bytes)
        smaller = self._path.smaller(size)
        if smaller == size:
            return False
        self._tried = smaller
        return True

    def note_acknowledged(self, now: float) -> None:
        """A segment arrived: one of a smaller size that was tried says something about the path."""
        if self._tried:
            self._path.suspect(self._tried, self._failing_since, now)
        self.forget()

    def forget(self) -> None:
        """What has failed until now says nothing about the path, or nothing new."""
        self._tried = 0
        self._failing_since = 0.0
