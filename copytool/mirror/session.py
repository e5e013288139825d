"""One mirrored session: released client bytes go into its sender, the target's answers come back out."""

from __future__ import annotations

from typing import Protocol

from ..link.records import ResponseRecord
from ..wire.flow import FlowEnds, FlowKey, flow_ends
from .asleep import Asleep, Awake
from .common import Common
from .counters import PIECE_BYTES
from .release import ReleaseRule
from .sender import CLOSED, OPEN, Sender
from .stream import PUSHED, URGENT, ClientStream, Piece
from .timers import NEVER, Timed

__all__ = ["REST_S", "Session", "SessionOwner"]

REST_S = 0.0625
"""Silence after which a session falls asleep: short, because very many may open in a second."""

_SMALL = 2048
_REST_S = REST_S
_DOUBT_S = 3.0  # the online host's kernel is asked twice, a second apart
_RESETS = ("target_reset", "target_closed_early")


class SessionOwner(Protocol):
    """What a session needs from the client connection it mirrors."""

    @property
    def flow(self) -> FlowKey:
        """The connection's flow, from the client to the online service."""
        ...

    @property
    def opened_at(self) -> float:
        """When the client's handshake was complete."""
        ...

    @property
    def known_open_at(self) -> float:
        """When the connection was last known to exist at the online host."""
        ...

    def session_ended(self, session: Session, reason: str, now: float) -> None:
        """Take note that `session.outcome` is set; `reason` says why, for people."""
        ...

    def doubt(self) -> None:
        """Find out soon whether the connection still exists at the online host."""
        ...

    def feedback_is_up(self) -> bool:
        """Return whether any intercept link is established."""
        ...


class Session(Timed):
    """The mirror of one client connection (one of its copies).

    flow: from the mirror address and port to the target's. outcome: "" while active. pending_bytes: client octets not
    yet released. turns: requests released so far. is_ready: whether serve_soon() has put it on the list. next_copy: the
    next session of the same connection, or None. A session at rest soon falls asleep, and wakes up by itself.
    """

    __slots__ = (
        "_asleep",
        "_awake",
        "_common",
        "_delivered_at",
        "_doubted_until",
        "_fin_released",
        "_fin_seen",
        "_is_watched",
        "_pending",
        "_reset_released",
        "_reset_seen",
        "active_at",
        "close_by",
        "connection",
        "flow",
        "is_ready",
        "next_copy",
        "outcome",
        "pending_bytes",
        "queued",
        "stream",
        "turns",
    )

    def __init__(
        self,
        flow: FlowKey,
        connection: SessionOwner,
        stream: ClientStream,
        sender: Sender,
        common: Common,
        now: float,
    ) -> None:
        super().__init__()
        self.is_ready = False
        self.next_copy: Session | None = None
        self.flow = flow
        self.connection = connection
        self.stream = stream
        self.active_at = now
        self.close_by = NEVER
        self._doubted_until = NEVER
        self.outcome = ""
        self.pending_bytes = 0
        self.queued = 0
        self.turns = 0
        self._pending: list[Piece] | None = None  # None while empty, which it mostly is
        self._fin_seen = -1
        self._fin_released = False
        self._reset_released = False
        self._reset_seen = -1
        self._delivered_at = now
        self._is_watched = False
        self._common = common
        self._awake: Awake | None = Awake(sender, ReleaseRule(common.config, common.counters.release, common.habits))
        self._asleep: Asleep | None = None

    @property
    def key(self) -> FlowEnds:
        """Mirror address and port, target address and port."""
        return flow_ends(self.flow)

    def buffered(self) -> int:
        """Client octets held for this session."""
        return self.pending_bytes + (self._awake.sender.buffered() if self._awake is not None else 0)

    def footprint(self) -> int:
        """Memory that these octets take, roughly: pieces of one octet each take a hundred times more than that."""
        return self.buffered() + self._pending_pieces() * PIECE_BYTES

    def _pending_pieces(self) -> int:
        return len(self._pending) if self._pending is not None else 0

    def _is_closing(self) -> bool:
        """Whether the client has closed, or reset, or is gone."""
        return self._fin_seen >= 0 or self._reset_seen >= 0

    def serve_soon(self) -> None:
        """Have the engine call advance()."""
        if not self.is_ready:
            self.is_ready = True
            self._common.ready.append(self)

    # -- sleep ----------------------------------------------------------------------------------------------

    def is_asleep(self) -> bool:
        """Whether the session sleeps."""
        return self._awake is None

    def rest(self) -> bool:
        """Fall asleep if nothing is under way; return whether the session sleeps now."""
        awake = self._awake
        if awake is None:
            return True
        if self.outcome or self.is_ready or self._pending is not None or self._is_closing():
            return False
        asleep = Asleep()
        if not asleep.keep(awake, self.turns):
            return False
        self._asleep = asleep
        self._awake = None
        self._common.leave(awake)
        return True

    def wake(self) -> Awake:
        """Return the parts of the session that do something."""
        awake = self._awake
        if awake is None:
            assert self._asleep is not None
            awake = self._awake = self._asleep.wake(self._common, self.flow, self.turns)
            self._asleep = None
        return awake

    def expedite(self, now: float) -> None:
        """Have what was not acknowledged retransmitted soon: answers were not seen for a while."""
        if self._awake is not None:
            self._awake.sender.expedite(now)

    def stays_awake(self, now: float) -> bool:
        """Fall asleep if the session is silent and can; return whether to ask again although nothing happens."""
        if not self.outcome and now < self.active_at + _REST_S:
            return True
        self._is_watched = False
        self.rest()
        return False

    # -- from the client ------------------------------------------------------------------------------------

    def queue(self, piece: Piece) -> None:
        """Append in-order client octets; advance() releases them."""
        size = len(piece[0])
        counters = self._common.counters
        pending = self._pending
        if pending is None:
            self._pending = [piece]
            counters.pieces += 1
        elif size >= _SMALL or not self._joins_last(pending, piece):
            pending.append(piece)
            counters.pieces += 1
        self.pending_bytes += size
        self.queued += size
        counters.queued += size

    def _joins_last(self, pending: list[Piece], piece: Piece) -> bool:
        """Append a small piece to the one that waits last, if it was sent with it; return whether it was."""
        octets, seen, marks, _ = piece
        last, last_seen, last_marks, captured_at = pending[-1]
        if last_seen != seen or len(last) >= _SMALL or last_marks & URGENT:
            return False
        pending[-1] = (last + octets, seen, marks, captured_at)
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
        awake = self.wake()
        sender = awake.sender
        responses = sender.responses
        delivered, received = sender.delivered, responses.received
        sender.receive(record, now)
        taken = sender.delivered - delivered
        if taken:
            self._common.counters.delivered += taken
            self._delivered_at = now
        has_answered = responses.received > received
        if has_answered or taken or (self.buffered() and not self._is_closing()):
            self.active_at = now  # an answered probe alone is no sign that anybody uses the session
        if self.close_by != NEVER and has_answered:
            self.close_by = now + self._common.config.close_timeout_s
        awake.rule.note_received(responses.received, responses.finished, now)

    # -- progress -------------------------------------------------------------------------------------------

    def advance(self, now: float, is_timer: bool = False) -> None:
        """Release what may be released, send what may be sent, end if everything is done."""
        if not self.outcome:
            try:
                awake = self.wake()
                if not self._is_watched:
                    self._is_watched = True
                    self._common.awake.append(self)
                if is_timer:
                    awake.sender.handle_timer(now)
                self._advance(awake, now)
            except Exception:
                self.end("aborted", now, "internal error")
                raise

    def _advance(self, awake: Awake, now: float) -> None:
        sender = awake.sender
        if sender.state == OPEN:
            self._release(awake, now)
        sender.transmit(now)
        if sender.state == CLOSED:
            outcome = self._failure_outcome(sender)
            if outcome not in _RESETS or not self._may_be_alike(sender, now):
                self.end(outcome, now, sender.reason)
        elif self._reset_released and not sender.buffered():
            self.end("mirrored", now)
        elif self._fin_released and sender.fin_acked():
            if sender.responses.finished:
                self.end("mirrored", now)
            elif self.close_by == NEVER:
                self.close_by = now + self._common.config.close_timeout_s

    def _release(self, awake: Awake, now: float) -> None:
        if self._pending is not None and not self._release_pending(self._pending, awake, now):
            return
        if not self._is_closing():
            return
        rule = awake.rule
        sender = awake.sender
        latest_seen = self.stream.seen
        rtt_s = sender.rtt.unbounded_rto_s()
        idle_since = NEVER if sender.buffered() else self._delivered_at
        if self._fin_seen >= 0 and not self._fin_released:
            if not rule.may_release(self._fin_seen, latest_seen, idle_since, rtt_s, now):
                return
            self._fin_released = True
            sender.finish()
        if self._reset_seen >= 0 and not self._reset_released:
            self._reset_released = rule.may_release(self._reset_seen, latest_seen, idle_since, rtt_s, now)

    def _release_pending(self, pending: list[Piece], awake: Awake, now: float) -> bool:
        """Release the pieces that may go; return whether all may."""
        rule = awake.rule
        sender = awake.sender
        latest_seen = self.stream.seen
        rtt_s = sender.rtt.unbounded_rto_s()
        idle_since = NEVER if sender.buffered() else self._delivered_at
        lag = self._common.counters.lag
        released = 0
        for octets, seen, marks, captured_at in pending:
            if not rule.may_release(seen, latest_seen, idle_since, rtt_s, now):
                break
            released += 1
            lag.note(now - captured_at)
            self.pending_bytes -= len(octets)
            sender.write(octets, (marks & URGENT) != 0)
            rule.in_write = not marks & PUSHED
            idle_since = NEVER
        self._common.counters.pieces -= released
        self.turns = rule.turns
        if released == len(pending):
            self._pending = None
            return True
        del pending[:released]
        return False

    def _failure_outcome(self, sender: Sender) -> str:
        failure = sender.failure
        if failure in ("target_unreachable", "target_stalled") and not self.connection.feedback_is_up():
            return "no_feedback"
        if failure in _RESETS and not self.buffered():
            if self._fin_released or self._reset_released:
                return "mirrored"  # a server that answers the end of a connection with RST has read everything
            if 0 <= self._reset_seen <= sender.responses.received:
                return "mirrored"  # it ended at both hosts
        return failure

    def _may_be_alike(self, sender: Sender, now: float) -> bool:
        """Return whether online, which has answered no more, may have reset its client, too: its kernel will tell."""
        if self.buffered() or self._is_closing() or self.stream.seen > sender.responses.received:
            return False
        if self._doubted_until == NEVER:
            self._doubted_until = now + _DOUBT_S
            self.connection.doubt()
        return now < self._doubted_until

    def end(self, outcome: str, now: float, reason: str = "") -> None:
        """End the session with `outcome`; the target gets an RST unless both directions were closed."""
        if self.outcome:
            return
        awake = self.wake()
        sender = awake.sender
        if not (sender.fin_acked() and sender.responses.finished):
            sender.abort()
        if outcome == "mirrored" and self._fin_released:
            awake.rule.note_end(self.stream.seen, now)
        self.outcome = outcome
        undelivered = self.buffered()
        counters = self._common.counters
        counters.pieces -= self._pending_pieces()
        counters.undelivered[outcome] += undelivered
        counters.undelivered_total += undelivered
        counters.end_session(outcome)
        self.connection.session_ended(self, "" if outcome == "mirrored" else reason, now)

    # -- timers ---------------------------------------------------------------------------------------------

    def next_timer(self) -> float:
        """Return the earliest deadline."""
        if self.outcome:
            return NEVER
        idle_at = self.active_at + self._common.config.idle_timeout_s
        awake = self._awake
        if awake is None:
            return idle_at
        return min(awake.sender.next_timer(), awake.rule.wake_at, self.close_by, self._doubted_until, idle_at)

    def handle_timer(self, now: float) -> None:
        """Act on whichever deadline has come."""
        if self.outcome:
            return
        config = self._common.config
        if self.close_by <= now:
            self.close_by = self.connection.known_open_at + config.close_timeout_s
        if self.close_by <= now:
            self.end("mirrored", now)
        elif self.active_at + config.idle_timeout_s <= now:
            self.end("idle_timeout", now, f"nothing came from either side for {config.idle_timeout_s:g} s")
        else:
            self.advance(now, is_timer=True)
