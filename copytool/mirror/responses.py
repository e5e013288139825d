"""How far the target's response has come, and when the mirror acknowledges it. Nobody reads the octets themselves."""

from __future__ import annotations

from ..link.records import ResponseRecord
from ..wire import seq as serial
from ..wire.segment import FIN, SYN
from .timers import NEVER

__all__ = ["ResponseSide"]

_MAX_JUMP = 1 << 30  # no window can be larger (RFC 7323, section 2.3)
_MAX_DOUBLINGS = 3


class ResponseSide:
    """The receiving half of a mirrored session's TCP endpoint.

    received: response octets including the target's FIN. finished: the FIN came. ack_at: when an acknowledgement is
    due, NEVER if none is. The newest octet is acknowledged even over a hole.

    That of a single segment waits for client data that it can go with, as each packet costs: `delayed_ack_s` at first,
    and twice as long, up to eight times, after each that went alone for nothing, because client data came next. If
    octets of the target come before client data, they may have waited for it (Nagle's algorithm): it starts again.
    """

    __slots__ = (
        "_acked_to",
        "_delayed_ack_s",
        "_doublings",
        "_irs",
        "_unacked_segments",
        "_went_alone",
        "ack_at",
        "finished",
        "received",
    )

    def __init__(self, delayed_ack_s: float) -> None:
        self._delayed_ack_s = delayed_ack_s
        self._irs = 0
        self._acked_to = 0
        self._unacked_segments = 0
        self._doublings = 0
        self._went_alone = False
        self.received = 0
        self.finished = False
        self.ack_at = NEVER

    def open(self, irs: int, now: float) -> None:
        """The target's SYN has the number `irs`; the handshake's third packet is due."""
        self._irs = irs
        self.ack_at = now

    def newest(self) -> int:
        """The number behind the newest response octet: RCV.NXT."""
        return serial.seq_add(self._irs, 1 + self.received)

    def acknowledged(self) -> int:
        """The number that was acknowledged last."""
        return serial.seq_add(self._irs, 1 + self._acked_to)

    def acknowledge(self, is_alone: bool) -> int:
        """Return the number to acknowledge, and take it as sent; is_alone: without data."""
        if is_alone:
            self._went_alone = self._went_alone or self._unacked_segments == 1  # it was not due at once
        elif self._went_alone:
            self._went_alone = False
            if self._doublings < _MAX_DOUBLINGS:
                self._doublings += 1
        self._acked_to = self.received
        self._unacked_segments = 0
        self.ack_at = NEVER
        return self.newest()

    def receive(self, record: ResponseRecord, now: float) -> bool:
        """Take in how far the response has come; return whether that is possible at all."""
        newer = serial.seq_diff(record.end, self.newest())
        if newer > _MAX_JUMP:
            return False
        if newer > 0 and not record.data_segments and not record.flags & FIN and not self.finished:
            # The target's number is ahead of what came: the octet before it may be its FIN, which it only repeats
            # while that octet is unacknowledged.
            newer -= 1
            self.ack_at = now
        if newer > 0:
            self.received += newer
            self._unacked_segments += record.data_segments
            if self._went_alone:
                self._went_alone = False
                self._doublings = 0
            if record.flags & FIN:
                self.finished = True
            due = now
            if not self.finished and self._unacked_segments < 2:
                due += self._delayed_ack_s * (1 << self._doublings)
            self.ack_at = min(self.ack_at, due)
        elif newer < 0 or record.data_segments or record.flags & SYN:
            self.ack_at = now  # a retransmission or a keep-alive probe: our acknowledgement was lost or is wanted
        return True

    def is_initial(self, seq: int) -> bool:
        """Return whether `seq` is the number of the target's SYN, which it may repeat (RFC 5961, section 4.2)."""
        return seq == self._irs

    def is_expected(self, seq: int) -> bool:
        """Return whether an RST with this number is one the target would send (RFC 5961, section 3.2)."""
        return seq == self.acknowledged() or seq == self.newest()

    def is_plausible(self, seq: int) -> bool:
        """Return whether `seq` lies in the window that was offered."""
        return 0 <= serial.seq_diff(seq, self.acknowledged()) < _MAX_JUMP
