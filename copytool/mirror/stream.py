"""A client's byte stream, put together again from captured segments.

Handles retransmissions, overlaps, reordering and sequence wrap. Of bytes captured twice the first copy wins.
Each piece of the stream carries `seen`: how many response octets the client had acknowledged when it sent it,
which is what the release rule needs to keep cause before effect; whether the client's write ended with it, which says
that the next piece may have been caused by a response; and whether its last octet is urgent (RFC 6093), because a
receiver may take urgent octets out of the stream.
"""

from __future__ import annotations

from ..wire import octets
from ..wire import seq as serial
from ..wire.segment import ACK, FIN, PSH, SYN, Segment

__all__ = ["MAX_HELD_PIECES", "PUSHED", "URGENT", "ClientStream", "Piece"]

URGENT = 1
"""Mark of a piece whose last octet is urgent."""

PUSHED = 2
"""Mark of a piece that ends what the client had to send (RFC 9293, section 3.9.1.2)."""

Piece = tuple[bytes, int, int, float]
"""(octets, response octets the client had seen when it sent them, marks, when they were captured or the gap before them
was closed)"""

MAX_HELD_PIECES = 4096
"""Out-of-order pieces held; a client that sends only every second octet cannot make insertion slow or memory grow."""

_URGENT = URGENT
_PUSHED = PUSHED
_FULL_SEGMENT = 500  # a shorter one ends a write, also for a client that does not push
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
        "_urgent_end",
        "duplicate_bytes",
        "fin_seen",
        "finished",
        "held_bytes",
        "next_seq",
        "seen",
        "unread_bytes",
    )

    def __init__(self, isn: int) -> None:
        self.next_seq = serial.seq_add(isn, 1)
        self.held_bytes = 0
        self.finished = False
        self.fin_seen = 0
        self.duplicate_bytes = 0
        self.unread_bytes = 0
        self._fin_seq = -1
        self._held: list[tuple[int, bytes, int, int]] | None = None  # None while empty, which it mostly is
        self._highest = self.next_seq
        self._urgent_end = -1
        self._response_base = -1
        self.seen = 0

    def has_hole(self) -> bool:
        """Whether something that the client sent later was captured already: octets, its FIN, an acknowledgement."""
        return self._highest != self.next_seq or (self._fin_seq >= 0 and not self.finished)

    def missing_bytes(self) -> int:
        """Octets that the client has sent and that were not captured (yet)."""
        return serial.seq_diff(self._highest, self.next_seq) - self.held_bytes

    def held_pieces(self) -> int:
        """Pieces that wait behind a hole."""
        return len(self._held) if self._held is not None else 0

    def receive(self, segment: Segment, buffer: octets.Buffer) -> list[Piece]:
        """Take in one segment, parsed from `buffer`; return the pieces that are now in order.

        Raises OverflowError when more than MAX_HELD_PIECES pieces wait behind a hole. A payload that the capture
        cut short counts as missing from where it is cut.
        """
        seen = self.update_seen(segment)
        pieces: list[Piece] = []
        length = segment.captured_len
        seq = serial.seq_add(segment.seq, (segment.flags & SYN) >> 1)  # TCP Fast Open sends data with the SYN
        if serial.seq_diff(seq, self.next_seq) >= _MAX_AHEAD:
            self.unread_bytes += length
            return pieces
        if segment.flags & FIN and length == segment.payload_len and self._fin_seq < 0:
            self._note_fin(serial.seq_add(seq, length), seen)
        self.note_sent(serial.seq_add(seq, segment.payload_len))
        if segment.urgent:
            self._note_urgent(serial.seq_add(seq, segment.urgent))
        if length and self._fin_seq >= 0:
            inside = min(max(serial.seq_diff(self._fin_seq, seq), 0), length)
            self.unread_bytes += length - inside
            length = inside
        if length:
            pushed = segment.flags & (PSH | FIN) != 0 or segment.payload_len < _FULL_SEGMENT
            marks = _PUSHED if pushed else 0
            self._insert(seq, buffer, segment.payload_start, length, seen, marks, segment.captured_at, pieces)
        if self._fin_seq == self.next_seq:
            self.finished = True
        return pieces

    def note_sent(self, end: int) -> None:
        """The client has sent everything before `end`, be it captured or not."""
        if self._fin_seq < 0 and serial.seq_diff(end, self._highest) > 0:  # behind its FIN it only acknowledges
            self._highest = end

    def _note_urgent(self, end: int) -> None:
        """The octet before `end` is urgent; it may not have been sent yet. A newer pointer takes the older one's place.

        Receivers do it alike. Senders rely on it: as long as the urgent octet is more than 64 KiB away, their pointers
        lead as far as they can, each to another octet.
        """
        if 0 < serial.seq_diff(end, self.next_seq) < _MAX_AHEAD and (
            self._urgent_end < 0 or serial.seq_diff(end, self._urgent_end) > 0
        ):
            self._urgent_end = end

    def _note_fin(self, fin_seq: int, seen: int) -> None:
        """The stream ends at `fin_seq`: what is held from behind it does not count."""
        if serial.seq_diff(fin_seq, self.next_seq) < 0:
            return
        self._fin_seq = self._highest = fin_seq
        self.fin_seen = seen
        if self._held is not None:
            inside = [piece for piece in self._held if serial.seq_diff(piece[0], fin_seq) + len(piece[1]) <= 0]
            behind = self.held_bytes - sum([len(piece[1]) for piece in inside])
            self._held = inside or None
            self.held_bytes -= behind
            self.unread_bytes += behind

    def update_seen(self, segment: Segment) -> int:
        """Return how many response octets the client has seen; the first acknowledgement is the base."""
        if not segment.flags & ACK:
            return self.seen
        if self._response_base < 0:
            self._response_base = segment.ack
            return 0
        newer = serial.seq_diff(segment.ack, serial.seq_add(self._response_base, self.seen))
        if newer > 0:
            self.seen += newer
            return self.seen
        return max(self.seen + newer, 0)

    def _insert(
        self,
        seq: int,
        buffer: octets.Buffer,
        start: int,
        size: int,
        seen: int,
        marks: int,
        at: float,
        pieces: list[Piece],
    ) -> None:
        ahead = serial.seq_diff(seq, self.next_seq)
        if ahead > 0:
            self._hold(seq, octets.take(buffer, start, start + size), seen, marks)
            return
        if -ahead >= size:
            self.duplicate_bytes += size
            return
        self.duplicate_bytes -= ahead
        self._deliver(octets.take(buffer, start - ahead, start + size), seen, marks, at, pieces)
        if self._held is not None:
            self._deliver_held(self._held, at, pieces)

    def _deliver_held(self, waiting: list[tuple[int, bytes, int, int]], at: float, pieces: list[Piece]) -> None:
        while waiting:
            held_seq, held, held_seen, held_marks = waiting[0]
            ahead = serial.seq_diff(held_seq, self.next_seq)
            if ahead > 0:
                return
            del waiting[0]
            self.held_bytes -= len(held)
            if -ahead >= len(held):
                self.duplicate_bytes += len(held)
            else:
                self.duplicate_bytes -= ahead
                self._deliver(held[-ahead:], held_seen, held_marks, at, pieces)
        self._held = None

    def _deliver(self, data: bytes, seen: int, marks: int, at: float, pieces: list[Piece]) -> None:
        """Append in-order octets to `pieces`, cut behind the urgent one."""
        if self._urgent_end >= 0:
            size = serial.seq_diff(self._urgent_end, self.next_seq)
            if size <= len(data):
                self._urgent_end = -1
                self.next_seq = serial.seq_add(self.next_seq, size)
                pieces.append((data[:size], seen, _URGENT | _PUSHED, at))
                data = data[size:]
        if data:
            self.next_seq = serial.seq_add(self.next_seq, len(data))
            pieces.append((data, seen, marks, at))

    def _hold(self, seq: int, payload: bytes, seen: int, marks: int) -> None:
        """Keep a piece from behind a hole, sorted by sequence number; drop what is already held."""
        held = self._held
        if held is None:
            held = self._held = []
        index, end = 0, len(held)
        while index < end:
            middle = (index + end) // 2
            if serial.seq_diff(held[middle][0], seq) > 0:
                end = middle
            else:
                index = middle + 1
        if index:
            before_seq, before, _, _ = held[index - 1]
            if serial.seq_diff(seq, before_seq) + len(payload) <= len(before):
                self.duplicate_bytes += len(payload)
                return
        if len(held) >= MAX_HELD_PIECES:
            raise OverflowError("too many pieces behind a hole")
        held.insert(index, (seq, payload, seen, marks))
        self.held_bytes += len(payload)
