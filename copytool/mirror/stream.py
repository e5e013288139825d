"""A client's byte stream, put together again from captured segments.

Handles retransmissions, overlaps, reordering and sequence wrap. Of bytes captured twice the first copy wins.
Each piece of the stream carries `seen`: how many response octets the client had acknowledged when it sent it,
which is what the release rule needs to keep cause before effect; and whether its last octet is urgent (RFC 6093),
because a receiver may take urgent octets out of the stream.
"""

from __future__ import annotations

from ..wire.segment import ACK, FIN, SYN, Segment
from ..wire.seq import SEQ_MASK, seq_diff

__all__ = ["MAX_HELD_PIECES", "MAX_URGENT", "ClientStream", "Piece"]

Piece = tuple[bytes, int, bool]
"""(octets, response octets the client had seen when it sent them, whether the last octet is urgent)"""

MAX_HELD_PIECES = 4096
"""Out-of-order pieces held; a client that sends only every second octet cannot make insertion slow or memory grow."""

MAX_URGENT = 16
"""Urgent octets known ahead of the stream; further ones are delivered as ordinary ones."""

_MAX_AHEAD = 1 << 30  # no window can be larger (RFC 7323, section 2.3): what lies beyond is not of this stream


class ClientStream:
    """One direction of one connection.

    next_seq: the next in-order sequence number. held_bytes: octets waiting behind a hole. finished: the FIN is in
    order. seen: response octets the client has acknowledged; fin_seen: those it had seen with its FIN. missing_bytes:
    octets that the client must have sent, because later numbers were captured, and that were not captured.
    duplicate_bytes: octets captured again. unread_bytes: octets that nobody reads: behind the FIN, outside any window.
    """

    __slots__ = (
        "_fin_seq",
        "_held",
        "_highest",
        "_response_base",
        "_urgent",
        "duplicate_bytes",
        "fin_seen",
        "finished",
        "held_bytes",
        "next_seq",
        "seen",
        "unread_bytes",
    )

    def __init__(self, isn: int) -> None:
        self.next_seq = (isn + 1) & SEQ_MASK
        self.held_bytes = 0
        self.finished = False
        self.fin_seen = 0
        self.duplicate_bytes = 0
        self.unread_bytes = 0
        self._fin_seq = -1
        self._held: list[tuple[int, bytes, int]] = []
        self._highest = self.next_seq
        self._urgent: list[int] = []
        self._response_base = -1
        self.seen = 0

    @property
    def has_hole(self) -> bool:
        """Whether something that the client sent later was captured already: octets, its FIN, an acknowledgement."""
        return self._highest != self.next_seq or (self._fin_seq >= 0 and not self.finished)

    @property
    def missing_bytes(self) -> int:
        """Octets that the client has sent and that were not captured (yet)."""
        return seq_diff(self._highest, self.next_seq) - self.held_bytes

    @property
    def held_pieces(self) -> int:
        """Pieces that wait behind a hole."""
        return len(self._held)

    def receive(self, segment: Segment, packet: memoryview) -> list[Piece]:
        """Take in one segment; return the pieces that are now in order.

        Raises OverflowError when more than MAX_HELD_PIECES pieces wait behind a hole. A payload that the capture
        cut short counts as missing from where it is cut.
        """
        seen = self.update_seen(segment)
        pieces: list[Piece] = []
        length = segment.captured_len
        seq = (segment.seq + ((segment.flags & SYN) >> 1)) & SEQ_MASK  # TCP Fast Open sends data with the SYN
        if seq_diff(seq, self.next_seq) >= _MAX_AHEAD:
            self.unread_bytes += length
            return pieces
        if segment.flags & FIN and length == segment.payload_len and self._fin_seq < 0:
            self._note_fin((seq + length) & SEQ_MASK, seen)
        self._note_sent((seq + segment.payload_len) & SEQ_MASK)
        if segment.urgent:
            self._note_urgent((seq + segment.urgent) & SEQ_MASK)
        if length and self._fin_seq >= 0:
            inside = min(max(seq_diff(self._fin_seq, seq), 0), length)
            self.unread_bytes += length - inside
            length = inside
        if length:
            start = segment.payload_start
            self._insert(seq, packet[start : start + length], seen, pieces)
        if self._fin_seq == self.next_seq:
            self.finished = True
        return pieces

    def _note_sent(self, end: int) -> None:
        """The client has sent everything before `end`, be it captured or not."""
        if self._fin_seq < 0 and seq_diff(end, self._highest) > 0:  # behind its FIN it only acknowledges
            self._highest = end

    def _note_urgent(self, end: int) -> None:
        """The octet before `end` is urgent; it may not have been sent yet."""
        urgent = self._urgent
        if 0 < seq_diff(end, self.next_seq) < _MAX_AHEAD and end not in urgent and len(urgent) < MAX_URGENT:
            urgent.append(end)
            urgent.sort(key=lambda mark: seq_diff(mark, self.next_seq))

    def _note_fin(self, fin_seq: int, seen: int) -> None:
        """The stream ends at `fin_seq`: what is held from behind it does not count."""
        if seq_diff(fin_seq, self.next_seq) < 0:
            return
        self._fin_seq = self._highest = fin_seq
        self.fin_seen = seen
        for piece in self._held[:]:
            size = len(piece[1])
            if seq_diff((piece[0] + size) & SEQ_MASK, fin_seq) > 0:
                self._held.remove(piece)
                self.held_bytes -= size
                self.unread_bytes += size

    def update_seen(self, segment: Segment) -> int:
        """Return how many response octets the client has seen; the first acknowledgement is the base."""
        if not segment.flags & ACK:
            return self.seen
        if self._response_base < 0:
            self._response_base = segment.ack
            return 0
        newer = seq_diff(segment.ack, (self._response_base + self.seen) & SEQ_MASK)
        if newer > 0:
            self.seen += newer
            return self.seen
        return max(self.seen + newer, 0)

    def _insert(self, seq: int, payload: memoryview, seen: int, pieces: list[Piece]) -> None:
        ahead = seq_diff(seq, self.next_seq)
        if ahead > 0:
            self._hold(seq, bytes(payload), seen)
            return
        size = len(payload)
        if -ahead >= size:
            self.duplicate_bytes += size
            return
        self.duplicate_bytes -= ahead
        self._deliver(bytes(payload[-ahead:]), seen, pieces)
        while self._held:
            held_seq, held, held_seen = self._held[0]
            ahead = seq_diff(held_seq, self.next_seq)
            if ahead > 0:
                return
            del self._held[0]
            self.held_bytes -= len(held)
            if -ahead >= len(held):
                self.duplicate_bytes += len(held)
            else:
                self.duplicate_bytes -= ahead
                self._deliver(held[-ahead:], held_seen, pieces)

    def _deliver(self, octets: bytes, seen: int, pieces: list[Piece]) -> None:
        """Append in-order octets to `pieces`, cut behind each urgent one."""
        urgent = self._urgent
        while urgent and (size := seq_diff(urgent[0], self.next_seq)) <= len(octets):
            del urgent[0]
            self.next_seq = (self.next_seq + size) & SEQ_MASK
            pieces.append((octets[:size], seen, True))
            octets = octets[size:]
        if octets:
            self.next_seq = (self.next_seq + len(octets)) & SEQ_MASK
            pieces.append((octets, seen, False))

    def _hold(self, seq: int, payload: bytes, seen: int) -> None:
        """Keep a piece from behind a hole, sorted by sequence number; drop what is already held."""
        held = self._held
        index = len(held)
        while index and seq_diff(held[index - 1][0], seq) > 0:
            index -= 1
        if index:
            before_seq, before, _ = held[index - 1]
            if seq_diff(seq, before_seq) + len(payload) <= len(before):
                self.duplicate_bytes += len(payload)
                return
        if len(held) >= MAX_HELD_PIECES:
            raise OverflowError("too many pieces behind a hole")
        held.insert(index, (seq, payload, seen))
        self.held_bytes += len(payload)
