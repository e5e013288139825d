"""The release rule: a client's bytes go to the target only after the responses that caused them.

Theory of operation. `seen` counts the response octets a client had read when it sent a piece. A piece with a larger
`seen` than the one before it opens a new turn, unless it goes on with a write that was not finished: the client had
those octets to send before it read anything. A turn that waits compares

    share   = seen - base at online     what the online service had answered when the client sent the turn
    answer  = received - base at target what the target has answered

    answer == share   release at once: the usual case, which costs no waiting and no timer
    answer > share    the target's response is longer, or octets are in flight both ways and the target is ahead.
                      Release when it has been silent for the quiet time, at the latest after the hold limit. But
                      release at once if the client has by now read that much online, too, and this target is known to
                      answer like online; or if it was found that the target never stops speaking
    answer < share    wait. The response is shorter if the target is silent for the quiet time although it has every
                      byte released so far. A target that says nothing at all is waited for until the hold limit, or,
                      if it is ahead in all and may have said what the turn waits for, longer than it lately thought

When a turn is released because the responses differ, the octets that either side had answered by then become the base,
so one difference does not shift the next turns. While they do not differ the base stays at 0 and the count is exact.
After a difference an equal answer is trusted only when it is followed by silence, too: a longer one passes through
every length. A target that has sent its FIN has answered everything.
The quiet time adapts: a few round trips, as long as the target took to begin this response, and longer than the pauses
that the responses of this session and, lately, of others at the same target have shown. As long as few responses of a
target were seen complete, it is not short. A pause counts for less with every response and minute that passes: one
hundred milliseconds of a busy machine must not cost each of thousands of turns three times as much. Before a response
counts as shorter it has to be silent for as long as it took until then: a long one is more likely held up, by loss or
by a busy machine, than over.
"""

from __future__ import annotations

from .config import MirrorConfig
from .habits import PER_RESPONSE, TargetHabits
from .histogram import Histogram
from .timers import NEVER

__all__ = ["ReleaseCounters", "ReleaseRule"]

_QUIET_GAPS = 3
_COMPLETE = 0
_EQUAL = 1
_LONGER = 2
_SHORTER = 3


class ReleaseCounters:
    """How turns were released, over all sessions of an engine, and how long the target took to begin its answers."""

    __slots__ = ("answer_time", "answered", "held", "quiet")

    def __init__(self) -> None:
        self.answer_time = Histogram()
        self.answered = 0
        self.quiet = 0
        self.held = 0


class ReleaseRule:
    """Decides when one session's turns are released. Times in seconds, positions in response octets.

    turns: requests released. wake_at: when to ask again. in_write: whether the piece released last was in the middle of
    a write of the client.
    """

    __slots__ = (
        "_answered_at",
        "_base_received",
        "_base_seen",
        "_began_at",
        "_config",
        "_counters",
        "_differed",
        "_finished",
        "_habits",
        "_longest_gap_s",
        "_received",
        "_released_at",
        "_released_at_received",
        "_turn_seen",
        "_waiting_since",
        "in_write",
        "turns",
        "wake_at",
    )

    def __init__(self, config: MirrorConfig, counters: ReleaseCounters, habits: TargetHabits) -> None:
        self._config = config
        self._counters = counters
        self._habits = habits
        self._turn_seen = 0
        self._base_seen = 0
        self._base_received = 0
        self._received = 0
        self._released_at_received = 0
        self._answered_at = 0.0
        self._longest_gap_s = 0.0
        self._released_at = NEVER
        self._began_at = NEVER
        self._waiting_since = NEVER
        self._differed = False
        self._finished = False
        self.in_write = False
        self.turns = 0
        self.wake_at = NEVER

    def note_received(self, received: int, finished: bool, now: float) -> None:
        """Take in the target's progress: it has answered `received` octets in all, its FIN among them if `finished`."""
        self._finished = finished
        if received <= self._received:
            return
        if self._received > self._released_at_received:
            gap = now - self._answered_at
            if gap > self._longest_gap_s:
                self._longest_gap_s = gap
                self._habits.note(gap, now)
        elif self._released_at < now:
            self._began_at = now
            self._habits.note_thought(now - self._released_at, now)
            self._counters.answer_time.note(now - self._released_at)
        self._received = received
        self._answered_at = now

    def note_end(self, seen: int, now: float) -> None:
        """The session has ended: the client has read `seen` response octets in all, perhaps the FIN among them."""
        if self._received:
            self._habits.note_lengths(abs(seen - self._received) <= 1, now)

    def may_release(self, seen: int, latest_seen: int, idle_since: float, rtt_s: float, now: float) -> bool:
        """Return whether a piece sent after `seen` response octets may go; `wake_at` says when to ask again.

        latest_seen: response octets the client has read online by now. idle_since: when the target had acknowledged
        everything released, NEVER if it has not. rtt_s: round-trip time to the target with its variation.
        """
        self.wake_at = NEVER
        if seen <= self._turn_seen:
            if not self.turns:
                self.turns = 1
                self._released_at = now
            return True
        if self.in_write:
            self._turn_seen = seen
            return True
        answer_is = self._compare(seen - self._base_seen, latest_seen - self._base_seen, now)
        if answer_is == _COMPLETE:
            self._counters.answered += 1
            equal = self._received - self._base_received == seen - self._base_seen
            if equal and not self._habits.has_been_equal and now >= self._quiet_until(idle_since, rtt_s, now):
                self._habits.note_lengths(True, now)
        elif not self._is_over(answer_is, seen, idle_since, rtt_s, now):
            return False
        elif answer_is == _EQUAL:
            self._differed = False
        else:
            self._differed = True
            self._base_seen, self._base_received = seen, self._received
        self._begin_turn(seen, now)
        return True

    def _compare(self, share: int, latest_share: int, now: float) -> int:
        """Say what the target's answer is to the online service's share."""
        answer = self._received - self._base_received
        if answer < share:
            return _SHORTER
        if self._finished:
            return _COMPLETE
        if answer > share:
            in_flight = answer <= latest_share and self._habits.answers_alike(now)
            return _COMPLETE if in_flight or self._habits.speaks_unasked(now) else _LONGER
        # In a session whose responses differ, a longer one passes through every length.
        return _EQUAL if self._differed else _COMPLETE

    def _begin_turn(self, seen: int, now: float) -> None:
        if self._received > self._released_at_received:
            self._habits.note_response()
            self._longest_gap_s *= PER_RESPONSE
        self._waiting_since = NEVER
        self._turn_seen = seen
        self._released_at_received = self._received
        self._released_at = now
        self._began_at = NEVER
        self.turns += 1

    def _is_over(self, answer_is: int, seen: int, idle_since: float, rtt_s: float, now: float) -> bool:
        """Return whether nothing is to be waited for any more; if something is, set `wake_at`."""
        if answer_is == _SHORTER and self._finished:
            self._counters.quiet += 1
            return True
        if self._waiting_since == NEVER:
            self._waiting_since = now
        held_since = self._waiting_since
        is_shorter = answer_is == _SHORTER
        if is_shorter:
            held_since = max(held_since, self._answered_at, idle_since)
        hold_limit_s = self._config.hold_limit_s
        held_until = held_since + hold_limit_s
        if self._received > self._released_at_received or not is_shorter:
            quiet_until = self._quiet_until(idle_since, rtt_s, now, is_shorter)
        elif self._received >= seen:
            quiet_until = max(self._answered_at, idle_since) + self._habits.silence_s(now)
        else:
            quiet_until = NEVER
        if now >= quiet_until:
            self._counters.quiet += 1
            return True
        if now >= held_until:
            self._counters.held += 1
            if not is_shorter and self._answered_at > held_since + hold_limit_s / 2:
                self._habits.note_unasked(now)
            return True
        self.wake_at = min(quiet_until, held_until)
        return False

    def _quiet_until(self, idle_since: float, rtt_s: float, now: float, is_shorter: bool = False) -> float:
        """Return when the target, if it says nothing until then, has been silent for the quiet time."""
        longest_s = max(self._longest_gap_s, self._habits.longest_s(now))
        quiet_s = max(2 * rtt_s, _QUIET_GAPS * longest_s, self._habits.least_quiet_s(is_shorter, now))
        if self._began_at != NEVER:
            took_s = self._answered_at - self._began_at if is_shorter else 0.0
            quiet_s = max(quiet_s, self._began_at - self._released_at, took_s)
        return max(self._answered_at, idle_since) + min(quiet_s, self._config.quiet_max_s)
