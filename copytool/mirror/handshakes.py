"""SYNs whose connections the online service has not been seen to accept yet.

What it refuses must not reach the target, and neither must a flood of SYNs that it answers with cookies.
"""

from __future__ import annotations

from ..wire import segment as tcp
from ..wire import seq as serial
from ..wire.flow import FlowKey
from ..wire.segment import ACK, RST, Segment

__all__ = ["MAX_HANDSHAKES", "MAX_HANDSHAKE_BYTES", "Handshakes"]

MAX_HANDSHAKES = 65536
"""SYNs kept until their handshakes complete; a flood pushes out the oldest, which then are as if open before."""

MAX_HANDSHAKE_BYTES = 16 << 20
"""Memory for these SYNs; those of TCP Fast Open carry data."""

_MAX_FIRST_FLIGHT = 1 << 20  # the handshake's last packet may be lost, and some of the data behind it


class Handshakes:
    """The newest SYN of each client address and port. `syn` and `packet`: the one that complete() found, parsed."""

    __slots__ = ("_bytes", "_syns", "packet", "syn")

    def __init__(self) -> None:
        self._syns: dict[FlowKey, bytes] = {}
        self._bytes = 0
        self.syn = Segment()
        self.packet = b""

    def __contains__(self, key: FlowKey) -> bool:
        return key in self._syns

    def waiting(self) -> list[FlowKey]:
        """Return the connections that are being opened."""
        return list(self._syns)

    def note(self, key: FlowKey, packet: bytes) -> None:
        """Keep a SYN until the client's next segment shows that the online service accepted the connection."""
        known = self._syns.get(key, b"")
        if len(known) > len(packet) and self._isn(known) == self._isn(packet):
            return  # sent again without the data that the service may have taken from the first
        self.discard(key)
        self._bytes += len(packet)
        while self._syns and (len(self._syns) >= MAX_HANDSHAKES or self._bytes > MAX_HANDSHAKE_BYTES):
            self.discard(next(iter(self._syns)))
        self._syns[key] = packet

    def is_next(self, key: FlowKey, segment: Segment) -> bool:
        """Return whether the segment has the number behind the kept SYN."""
        return segment.seq == serial.seq_add(self._isn(self._syns[key]), 1)

    def _isn(self, packet: bytes) -> int:
        tcp.parse_segment(self.syn, packet)
        return self.syn.seq

    def complete(self, key: FlowKey, segment: Segment, shows_data: bool) -> bool:
        """Return whether `segment` answers the SYN/ACK to the kept SYN, which is then no longer kept.

        shows_data: whether the connection's data is captured; if not, any amount of it may lie in between, and an RST
        behind some of it answers, too.
        """
        packet = self._syns[key]
        syn = self.syn
        tcp.parse_segment(syn, packet)
        ahead = serial.seq_diff(segment.seq, syn.seq)
        if ahead <= 0 or (shows_data and ahead > _MAX_FIRST_FLIGHT):
            return False
        if segment.flags & RST:
            if shows_data or ahead == 1:
                return False
        elif not segment.flags & ACK:
            return False
        self.packet = packet
        self.discard(key)
        return True

    def discard(self, key: FlowKey) -> None:
        """Forget the SYN, if there is one: the client has given up."""
        packet = self._syns.pop(key, b"")
        self._bytes -= len(packet)
