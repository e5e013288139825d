"""One client connection at the online host: its byte stream and the sessions that mirror it."""

from __future__ import annotations

from typing import Protocol

from ..wire import octets
from ..wire import seq as serial
from ..wire.flow import FlowEnds, FlowKey, flow_ends
from ..wire.segment import ACK, FIN, PSH, RST, SYN, URG, Segment
from .common import Common
from .counters import PIECE_BYTES
from .session import Session
from .stream import ClientStream
from .timers import NEVER, Timed

__all__ = ["ClientConnection", "ConnectionOwner"]

_MAX_WINDOW = 1 << 30
_CHECK_AGAIN_S = 1.0
_GAP_AFTER_DROPS_S = 1.0
_DROPS_S = 1.0  # what was dropped may become known that much before the first segment behind the hole is taken in
_MAX_CHECK_DELAY_S = 60.0
_CHECK_TOGETHER_S = 1 / 128  # so fine that what comes together is not too much to ask at once


class ConnectionOwner(Protocol):
    """What a connection needs from the engine."""

    def session_ended(self, session: Session, reason: str, now: float) -> None:
        """Take note that `session.outcome` is set; `reason` says why, for people."""
        ...

    def connection_ended(self, connection: ClientConnection) -> None:
        """Take note that no session of `connection` is left."""
        ...

    def feedback_is_up(self) -> bool:
        """Return whether any intercept link is established."""
        ...

    def saw_drops_since(self, since: float) -> bool:
        """Return whether the kernel has dropped packets since then."""
        ...

    def ask_whether_open(self, connection: ClientConnection) -> None:
        """Have connection_checked() called with what the online host's kernel says."""
        ...

    def reschedule(self, connection: ClientConnection) -> None:
        """Look at the connection's deadline again."""
        ...


class ClientConnection(Timed):
    """Feeds each piece of the client's stream to every mirror session, and finds holes in it.

    flow: from the client's address and port to the online service's. heard_at: when something of it was captured last.
    known_open_at: when it was last known to exist at the online host.
    """

    __slots__ = (
        "_check_at",
        "_check_delay_s",
        "_common",
        "_first",
        "_gap_since",
        "_is_doubted",
        "_is_over",
        "_is_suspect",
        "_owner",
        "_whole_at",
        "flow",
        "heard_at",
        "isn",
        "known_open_at",
        "opened_at",
        "stream",
    )

    def __init__(
        self,
        flow: FlowKey,
        isn: int,
        common: Common,
        owner: ConnectionOwner,
        now: float,
    ) -> None:
        super().__init__()
        self.flow = flow
        self.isn = isn
        self.stream = ClientStream(isn)
        self._first: Session | None = None
        self.opened_at = now
        self.heard_at = now
        self._whole_at = now
        self.known_open_at = now
        self._gap_since = NEVER
        self._check_delay_s = common.config.check_after_s
        self._check_at = _together(now + self._check_delay_s)
        self._is_suspect = False
        self._is_over = False
        self._is_doubted = False
        self._common = common
        self._owner = owner

    @property
    def key(self) -> FlowEnds:
        """Client address and port, online address and port."""
        return flow_ends(self.flow)

    def add(self, session: Session) -> None:
        """Have one more session mirror the connection."""
        before = self._first
        if before is None:
            self._first = session
            return
        while before.next_copy is not None:
            before = before.next_copy
        before.next_copy = session

    def _remove(self, session: Session) -> None:
        """Whoever goes through the sessions meanwhile can go on from this one: it keeps its next_copy."""
        before = self._first
        if before is session or before is None:
            self._first = session.next_copy
            return
        while before.next_copy is not None and before.next_copy is not session:
            before = before.next_copy
        before.next_copy = session.next_copy

    def receive(self, segment: Segment, buffer: octets.Buffer, now: float) -> None:
        """Take in one captured segment of this connection (the first SYN included), parsed from `buffer`."""
        if self._is_over or not segment.flags & (ACK | RST | SYN):  # Linux reads neither
            self._common.counters.discarded += segment.captured_len
            return
        self.heard_at = now
        self._is_suspect = False
        try:
            if segment.flags & RST:
                self._receive_reset(segment, now)
            elif self._may_be_a_probe(segment):
                self._common.counters.discarded += segment.captured_len
                self.end_sessions("capture_gap", now, "an octet after lost packets may be a keep-alive probe's")
            else:
                self._receive_stream(segment, buffer, now)
        except Exception:
            self.end_sessions("aborted", now, "internal error: part of the client's stream was not taken in")
            raise

    def _may_be_a_probe(self, segment: Segment) -> bool:
        """Return whether the segment's octet may be one that was lost here, and garbage in its place.

        Some systems probe an idle connection with any octet at the number of the last one (RFC 9293, section 3.8.4).
        """
        return (
            segment.captured_len == 1
            and not self.stream.finished
            and serial.seq_diff(segment.seq, self.stream.next_seq) >= 0
            and not segment.flags & (PSH | SYN | FIN | URG)
            and self._owner.saw_drops_since(self._whole_at - _DROPS_S)
        )

    def _receive_stream(self, segment: Segment, buffer: octets.Buffer, now: float) -> None:
        stream = self.stream
        counters = self._common.counters
        duplicate = stream.duplicate_bytes
        unread = stream.unread_bytes
        next_seq = stream.next_seq
        held_pieces = stream.held_pieces()
        was_finished = stream.finished
        try:
            pieces = stream.receive(segment, buffer)
        except OverflowError:
            counters.discarded += segment.captured_len
            counters.pieces += stream.held_pieces() - held_pieces
            self.end_sessions("capture_gap", now, "too many pieces behind a hole in what was captured")
            return
        counters.pieces += stream.held_pieces() - held_pieces
        counters.duplicate += stream.duplicate_bytes - duplicate
        counters.discarded += stream.unread_bytes - unread
        for piece in pieces:
            counters.accepted += len(piece[0])
            session = self._first
            while session is not None:
                session.queue(piece)
                session = session.next_copy
        if stream.finished and not was_finished:
            session = self._first
            while session is not None:
                session.finish(stream.fin_seen)
                session = session.next_copy
        self._watch_hole(next_seq, now)
        self._wake_sessions(now)

    def _receive_reset(self, segment: Segment, now: float) -> None:
        self._common.counters.discarded += segment.captured_len  # an RST may carry text that says why; it is no data
        stream = self.stream
        ahead = serial.seq_diff(segment.seq, stream.next_seq)
        if ahead == 0 or (stream.finished and ahead == 1):  # behind the FIN, or at its number, as some systems send it
            stream.update_seen(segment)
            self.client_gone(now)
        elif 0 < ahead < _MAX_WINDOW and not stream.finished and self._gap_since == NEVER:
            # Online only challenges it (RFC 5961, section 3.2). It has overtaken something, or that was not captured,
            # or it is forged: what comes next, or the kernel, will tell.
            self._gap_since = now
            self._owner.reschedule(self)

    def client_gone(self, now: float) -> None:
        """The client has reset the connection or reused its ports: nothing follows what was captured."""
        self._is_over = True
        self._gap_since = NEVER
        session = self._first
        while session is not None:
            session.reset(self.stream.seen)
            session = session.next_copy
        self._wake_sessions(now)

    def superseded(self, now: float) -> None:
        """The client reuses its ports: the sessions drain on their own; the kernel knows the new connection only."""
        if self.stream.has_hole():
            self.end_sessions("capture_gap", now, "the client reused its ports while part of it was missing")
        elif not self.stream.finished:
            self.client_gone(now)
        self._is_over = True

    def goes_on_with(self, segment: Segment) -> bool:
        """Return whether the segment has the number that the connection expects next."""
        return segment.seq == self.stream.next_seq and not self.stream.finished

    def _watch_hole(self, next_seq: int, now: float) -> None:
        stream = self.stream
        if not stream.has_hole():
            self._gap_since = NEVER
            self._whole_at = now
        elif self._gap_since == NEVER or stream.next_seq != next_seq:
            self._gap_since = now
            self._owner.reschedule(self)
        elif now >= self._gap_since + _GAP_AFTER_DROPS_S and self._owner.saw_drops_since(self._gap_since - _DROPS_S):
            # Online has read what the kernel dropped here, so the client will not send it again.
            self.end_sessions("capture_gap", now, f"{self._missing_text()}: the kernel dropped packets")

    def _wake_sessions(self, now: float) -> None:
        config = self._common.config
        limit = config.session_buffer_bytes
        held = self.stream.held_bytes + self.stream.held_pieces() * PIECE_BYTES
        full = self._common.counters.footprint() > config.total_buffer_bytes
        session = self._first
        while session is not None:
            session.active_at = now
            if held > limit:
                session.end("capture_gap", now, f"{self._missing_text()}, and the buffer is full")
            elif session.footprint() > limit:
                session.end("shed_memory", now, "the session buffer is full")
            elif full and (held or session.buffered()):
                session.end("shed_memory", now, "the total buffer is full")
            else:
                session.serve_soon()
            session = session.next_copy

    def is_mirrored(self) -> bool:
        """Return whether a session is left."""
        return self._first is not None

    def end_sessions(self, outcome: str, now: float, reason: str) -> None:
        """End whatever is still being mirrored."""
        session = self._first
        while session is not None:
            session.end(outcome, now, reason)
            session = session.next_copy

    def _missing_text(self) -> str:
        missing = max(self.stream.missing_bytes(), 1)
        return f"{missing} octets of the client's stream were not captured"

    # -- what a session needs from its owner ----------------------------------------------------------------

    def session_ended(self, session: Session, reason: str, now: float) -> None:
        """Drop the session; with the last one the connection goes too."""
        self._remove(session)
        self._owner.session_ended(session, reason, now)
        if self._first is None:
            self._common.counters.discarded += self.stream.held_bytes
            self._common.counters.pieces -= self.stream.held_pieces()
            self._owner.connection_ended(self)

    def doubt(self) -> None:
        """Find out soon whether the connection still exists at the online host."""
        self._is_doubted = True
        self._check_at = self.heard_at
        self._owner.reschedule(self)

    def feedback_is_up(self) -> bool:
        """Return whether any intercept link is established."""
        return self._owner.feedback_is_up()

    # -- timers ---------------------------------------------------------------------------------------------

    def next_timer(self) -> float:
        """Return when an open hole becomes a capture gap, or a silent connection is worth a question."""
        if self._is_over or self._first is None:
            return NEVER
        gap_at = self._gap_since + self._common.config.gap_timeout_s
        return min(gap_at, max(self._check_at, self.heard_at + _CHECK_AGAIN_S))

    def handle_timer(self, now: float) -> None:
        """Give up a stream whose hole nobody filled; ask about a client that is silent."""
        if self._gap_since + self._common.config.gap_timeout_s <= now:
            self.end_sessions("capture_gap", now, self._missing_text())
            return
        if self.heard_at + self._common.config.check_after_s > now and not (self._is_suspect or self._is_doubted):
            self._check_delay_s = self._common.config.check_after_s
            self._check_at = _together(self.heard_at + self._check_delay_s)
            return
        limit_s = _MAX_CHECK_DELAY_S
        if self.stream.finished:  # its sessions wait for --close-timeout after the last answer
            limit_s = max(self._common.config.close_timeout_s / 2, _CHECK_AGAIN_S)
        self._check_at = _together(now + min(self._check_delay_s, limit_s))
        self._check_delay_s = min(self._check_delay_s * 2, limit_s)
        self._owner.ask_whether_open(self)

    def is_silent(self, now: float) -> bool:
        """Return whether it matters what the kernel says now: nothing of the client is on its way to copy."""
        return self.heard_at + _CHECK_AGAIN_S <= now

    def checked(self, is_open: bool, saw_drops: bool, now: float) -> None:
        """Take in whether the online host still has this connection, and whether packets were lost since it began.

        What the client sent last may still be on its way through the capture ring, so it must be gone twice, with
        nothing captured in between.
        """
        if is_open:
            self.known_open_at = now
            if not self.stream.has_hole():
                self._gap_since = NEVER
        if is_open or not self.is_silent(now) or self.stream.finished or self._is_over:
            self._is_suspect = False
        elif not self._is_suspect:
            self._is_suspect = True
            self._check_at = now + _CHECK_AGAIN_S
            self._owner.reschedule(self)
        elif saw_drops or self._gap_since != NEVER:
            self.end_sessions("capture_gap", now, "its end was not captured: the kernel dropped packets")
        else:
            self.client_gone(now)


def _together(when: float) -> float:
    """Return a time soon after `when` that other connections have, too: each time costs the daemon a wake-up."""
    return -(-when // _CHECK_TOGETHER_S) * _CHECK_TOGETHER_S
