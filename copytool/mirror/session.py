"""One mirrored session: released client bytes go into its sender, the target's answers come back out."""

from __future__ import annotations

from typing import Protocol

from ..link.records import ResponseRecord
from ..wire.flow import FlowEnds, FlowKey, flow_ends
from .config import MirrorConfig
from .counters import PIECE_BYTES, EngineCounters
from .habits import TargetHabits
from .release import ReleaseRule
from .sender import CLOSED, OPEN, Sender
from .stream import PUSHED, URGENT, ClientStream, Piece
from .timers import NEVER, Timed

__all__ = ["ReadySessions", "Session", "SessionOwner"]

_SMALL = 2048
_DOUBT_S = 3.0  # the online host's kernel is asked twice, a second apart
_RESETS = ("target_reset", "target_closed_early")


class SessionOwner(Protocol):
    """What a session needs from the client connection it mirrors."""

    @property
    def key(self) -> FlowEnds:
        """Client address and port, online address and port."""
        ...

    @property
    def known_open_at(self) -> float:
        """When the connection was last known to exist at the online host."""
        ...

    def session_ended(self, session: Session, now: float) -> None:
        """Take note that `session.outcome` is set."""
        ...

    def doubt(self) -> None:
        """Find out soon whether the connection still exists at the online host."""
        ...

    def feedback_is_up(self) -> bool:
        """Return whether any intercept link is established."""
        ...


class ReadySessions:
    """Sessions that have something new, oldest first; each is there at most once."""

    __slots__ = ("sessions",)

    def __init__(self) -> None:
        self.sessions: list[Session] = []

    def add(self, session: Session) -> None:
        """Serve the session soon."""
        if not session.is_ready:
            session.is_ready = True
            self.sessions.append(session)


class Session(Timed):
    """The mirror of one client connection (one of its copies).

    flow: from the mirror address and port to the target's. outcome: "" while active; reason: why, for people.
    pending_bytes: client octets not yet released. turns: requests released so far. is_ready: whether it is among the
    engine's ReadySessions.
    """

    __slots__ = (
        "_config",
        "_counters",
        "_delivered_at",
        "_doubted_until",
        "_fin_released",
        "_fin_seen",
        "_pending",
        "_reset_released",
        "_reset_seen",
        "_rule",
        "active_at",
        "close_by",
        "connection",
        "flow",
        "is_ready",
        "opened_at",
        "outcome",
        "pending_bytes",
        "queued",
        "reason",
        "sender",
        "stream",
        "turns",
    )

    def __init__(
        self,
        flow: FlowKey,
        connection: SessionOwner,
        stream: ClientStream,
        sender: Sender,
        config: MirrorConfig,
        counters: EngineCounters,
        habits: TargetHabits,
        now: float,
    ) -> None:
        super().__init__()
        self.is_ready = False
        self.flow = flow
        self.connection = connection
        self.stream = stream
        self.sender = sender
        self.opened_at = now
        self.active_at = now
        self.close_by = NEVER
        self._doubted_until = NEVER
        self.outcome = ""
        self.reason = ""
        self.pending_bytes = 0
        self.queued = 0
        self.turns = 0
        self._pending: list[Piece] = []
        self._fin_seen = -1
        self._fin_released = False
        self._reset_released = False
        self._reset_seen = -1
        self._delivered_at = now
        self._config = config
        self._counters = counters
        self._rule = ReleaseRule(config, counters.release, habits)

    @property
    def key(self) -> FlowEnds:
        """Mirror address and port, target address and port."""
        return flow_ends(self.flow)

    def buffered(self) -> int:
        """Client octets held for this session."""
        return self.pending_bytes + self.sender.buffered()

    def footprint(self) -> int:
        """Memory that these octets take, roughly: pieces of one octet each take a hundred times more than that."""
        return self.buffered() + len(self._pending) * PIECE_BYTES

    def _is_closing(self) -> bool:
        """Whether the client has closed, or reset, or is gone."""
        return self._fin_seen >= 0 or self._reset_seen >= 0

    # -- from the client ------------------------------------------------------------------------------------

    def queue(self, piece: Piece) -> None:
        """Append in-order client octets; advance() releases them."""
        size = len(piece[0])
        if not self._pending or size >= _SMALL or not self._joins_last(piece):
            self._pending.append(piece)
            self._counters.pieces += 1
        self.pending_bytes += size
        self.queued += size
        self._counters.queued += size

    def _joins_last(self, piece: Piece) -> bool:
        """Append a small piece to the one that waits last, if it was sent with it; return whether it was."""
        octets, seen, marks = piece
        last, last_seen, last_marks = self._pending[-1]
        if last_seen != seen or len(last) >= _SMALL or last_marks & URGENT:
            return False
        self._pending[-1] = (last + octets, seen, marks)
        return True

    def finish(self, seen: int) -> None:
        """The client's FIN is in order; it was sent after `seen` response octets."""
        self._fin_seen = seen

    def reset(self, seen: int) -> None:
        """The client reset, or is gone, after `seen` response octets: reset the target as late in its response."""
        self._reset_seen = seen

    # -- from the target ------------------------------------------------------------------------------------

    def receive_response(self, record: ResponseRecord, now: float) -> None:
        """Take in what the target said in this session; advance() acts on it."""
        delivered, received = self.sender.delivered, self.sender.responses.received
        self.sender.receive(record, now)
        taken = self.sender.delivered - delivered
        if taken:
            self._counters.delivered += taken
            self._delivered_at = now
        has_answered = self.sender.responses.received > received
        if has_answered or taken or (self.buffered() and not self._is_closing()):
            self.active_at = now  # an answered probe alone is no sign that anybody uses the session
        if self.close_by != NEVER and has_answered:
            self.close_by = now + self._config.close_timeout_s
        self._rule.note_received(self.sender.responses.received, self.sender.responses.finished, now)

    # -- progress -------------------------------------------------------------------------------------------

    def advance(self, now: float, is_timer: bool = False) -> None:
        """Release what may be released, send what may be sent, end if everything is done."""
        if not self.outcome:
            try:
                if is_timer:
                    self.sender.handle_timer(now)
                self._advance(now)
            except Exception:
                self.end("aborted", now, "internal error")
                raise

    def _advance(self, now: float) -> None:
        sender = self.sender
        if sender.state == OPEN:
            self._release(now)
        sender.transmit(now)
        if sender.state == CLOSED:
            outcome = self._failure_outcome()
            if outcome not in _RESETS or not self._may_be_alike(now):
                self.end(outcome, now, sender.reason)
        elif self._reset_released and not sender.buffered():
            self.end("mirrored", now)
        elif self._fin_released and sender.fin_acked():
            if sender.responses.finished:
                self.end("mirrored", now)
            elif self.close_by == NEVER:
                self.close_by = now + self._config.close_timeout_s

    def _release(self, now: float) -> None:
        if (self._pending and not self._release_pending(now)) or not self._is_closing():
            return
        rule = self._rule
        latest_seen = self.stream.seen
        rtt_s = self.sender.rtt.unbounded_rto_s()
        idle_since = NEVER if self.sender.buffered() else self._delivered_at
        if self._fin_seen >= 0 and not self._fin_released:
            if not rule.may_release(self._fin_seen, latest_seen, idle_since, rtt_s, now):
                return
            self._fin_released = True
            self.sender.finish()
        if self._reset_seen >= 0 and not self._reset_released:
            self._reset_released = rule.may_release(self._reset_seen, latest_seen, idle_since, rtt_s, now)

    def _release_pending(self, now: float) -> bool:
        """Release the pieces that may go; return whether all may."""
        pending = self._pending
        rule = self._rule
        sender = self.sender
        latest_seen = self.stream.seen
        rtt_s = sender.rtt.unbounded_rto_s()
        idle_since = NEVER if sender.buffered() else self._delivered_at
        released = 0
        for octets, seen, marks in pending:
            if not rule.may_release(seen, latest_seen, idle_since, rtt_s, now):
                break
            released += 1
            self.pending_bytes -= len(octets)
            sender.write(octets, (marks & URGENT) != 0)
            rule.in_write = not marks & PUSHED
            idle_since = NEVER
        is_all = released == len(pending)
        del pending[:released]
        self._counters.pieces -= released
        self.turns = rule.turns
        return is_all

    def _failure_outcome(self) -> str:
        failure = self.sender.failure
        if failure in ("target_unreachable", "target_stalled") and not self.connection.feedback_is_up():
            return "no_feedback"
        if failure in _RESETS and not self.buffered():
            if self._fin_released or self._reset_released:
                return "mirrored"  # a server that answers the end of a connection with RST has read everything
            if 0 <= self._reset_seen <= self.sender.responses.received:
                return "mirrored"  # it ended at both hosts
        return failure

    def _may_be_alike(self, now: float) -> bool:
        """Return whether online, which has answered no more, may have reset its client, too: its kernel will tell."""
        if self.buffered() or self._is_closing() or self.stream.seen > self.sender.responses.received:
            return False
        if self._doubted_until == NEVER:
            self._doubted_until = now + _DOUBT_S
            self.connection.doubt()
        return now < self._doubted_until

    def end(self, outcome: str, now: float, reason: str = "") -> None:
        """End the session with `outcome`; the target gets an RST unless both directions were closed."""
        if self.outcome:
            return
        sender = self.sender
        if not (sender.fin_acked() and sender.responses.finished):
            sender.abort()
        if outcome == "mirrored" and self._fin_released:
            self._rule.note_end(self.stream.seen, now)
        self.outcome = outcome
        self.reason = "" if outcome == "mirrored" else reason
        self._counters.pieces -= len(self._pending)
        self._counters.undelivered[outcome] += self.buffered()
        self._counters.undelivered_total += self.buffered()
        self._counters.end_session(outcome)
        self.connection.session_ended(self, now)

    # -- timers ---------------------------------------------------------------------------------------------

    def next_timer(self) -> float:
        """Return the earliest deadline."""
        if self.outcome:
            return NEVER
        return min(
            self.sender.next_timer(),
            self._rule.wake_at,
            self.close_by,
            self._doubted_until,
            self.active_at + self._config.idle_timeout_s,
        )

    def handle_timer(self, now: float) -> None:
        """Act on whichever deadline has come."""
        if self.outcome:
            return
        config = self._config
        if self.close_by <= now:
            self.close_by = self.connection.known_open_at + config.close_timeout_s
        if self.close_by <= now:
            self.end("mirrored", now)
        elif self.active_at + config.idle_timeout_s <= now:
            self.end("idle_timeout", now, f"nothing came from either side for {config.idle_timeout_s:g} s")
        else:
            self.advance(now, is_timer=True)
