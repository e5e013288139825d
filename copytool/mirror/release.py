"""The release rule: a client's bytes go to the target only after the responses that caused them.

Theory of operation. `seen` counts the response octets a client had read when it sent a piece. A piece with a larger
`seen` than the one before it opens a new turn, unless it goes on with a write that was not finished: the client had
those octets to send before it read anything. A turn that waits compares

    share   = seen - base at online     what the online service had answered when the client sent the turn
    answer  = received - base at target what the target has answered

    answer == share   release at once: the usual case, which costs no waiting and no timer
    answer > share    the target's response is longer: release when it has been silent for the quiet time, at the latest
                      after the hold limit. In a session whose two directions are known to be independent (a write went
                      on while responses came in, or the target never stops speaking) release at once
    answer < share    wait. The response is shorter if the target is silent for the quiet time although it has every
                      byte released so far. A target that says nothing at all is waited for until the hold limit

When a turn is released because the responses differ, the octets that either side had answered by then become the base,
so one difference does not shift the next turns. While they do not differ the base stays at 0 and the count is exact.
After a difference an equal answer is trusted only when it is followed by silence, too: a longer one passes through
every length. A target that has sent its FIN has answered everything.
The quiet time adapts: a few round trips, as long as the target took to begin this response, and longer than the pauses
that the responses of this session and, lately, of others at the same target have shown. As long as few responses of a
target were seen complete, it is not short.
"""

from __future__ import annotations

from .config import MirrorConfig
from .timers import NEVER

__all__ = ["ReleaseCounters", "ReleaseRule", "TargetPauses"]

_QUIET_GAPS = 3
_KNOWN_RESPONSES = 20
_COMPLETE, _EQUAL, _LONGER, _SHORTER = range(4)
_HALF_LIFE_S = 60.0


class ReleaseCounters:
    """How turns were released, over all sessions of an engine."""

    __slots__ = ("answered", "held", "quiet")

    def __init__(self) -> None:
        self.answered = 0
        self.quiet = 0
        self.held = 0


class TargetPauses:
    """The longest recent pause inside a response of one target, for sessions that have not met one yet. In seconds."""

    __slots__ = ("_at", "_config", "_longest_s", "_responses")

    def __init__(self, config: MirrorConfig) -> None:
        self._config = config
        self._longest_s = 0.0
        self._at = 0.0
        self._responses = 0

    def note(self, pause_s: float, now: float) -> None:
        """Take in a pause; one beyond the limit is no part of a response but a server that speaks by itself."""
        if self.longest_s(now) < pause_s <= self._config.quiet_max_s:
            self._longest_s = pause_s
            self._at = now

    def note_response(self) -> None:
        """A response was seen from its beginning to its end."""
        self._responses += 1

    def longest_s(self, now: float) -> float:
        """Return the longest pause; an old one counts for less."""
        if self._longest_s == 0.0:
            return 0.0
        return float(self._longest_s * 0.5 ** ((now - self._at) / _HALF_LIFE_S))

    def least_quiet_s(self) -> float:
        """Return the least silence that may mean the end of a response."""
        config = self._config
        return config.quiet_min_s if self._responses >= _KNOWN_RESPONSES else config.quiet_first_s


class ReleaseRule:
    """Decides when one session's turns are released. Times in seconds, positions in response octets.

    turns: requests released. wake_at: when to ask again. in_write: whether the piece released last was in the middle of
    a write of the client.
    """

    __slots__ = (
        "_answered_at",
        "_base_received",
        "_base_seen",
        "_began_after_s",
        "_config",
        "_counters",
        "_differed",
        "_finished",
        "_independent",
        "_longest_gap_s",
        "_pauses",
        "_received",
        "_released_at",
        "_released_at_received",
        "_turn_seen",
        "_waiting_since",
        "in_write",
        "turns",
        "wake_at",
    )

    def __init__(self, config: MirrorConfig, counters: ReleaseCounters, pauses: TargetPauses) -> None:
        self._config = config
        self._counters = counters
        self._pauses = pauses
        self._turn_seen = 0
        self._base_seen = 0
        self._base_received = 0
        self._received = 0
        self._released_at_received = 0
        self._answered_at = 0.0
        self._longest_gap_s = 0.0
        self._released_at = NEVER
        self._began_after_s = 0.0
        self._waiting_since = NEVER
        self._differed = False
        self._finished = False
        self._independent = False
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
                self._pauses.note(gap, now)
        elif self._released_at < now:
            self._began_after_s = now - self._released_at
        self._received = received
        self._answered_at = now

    def may_release(self, seen: int, idle_since: float, rtt_s: float, now: float) -> bool:
        """Return whether a piece sent after `seen` response octets may go; `wake_at` says when to ask again.

        idle_since: when the target had acknowledged everything released, NEVER if it has not. rtt_s: round-trip time
        to the target with its variation.
        """
        self.wake_at = NEVER
        if seen <= self._turn_seen:
            if not self.turns:
                self.turns = 1
                self._released_at = now
            return True
        if self.in_write:
            self._independent = True
            self._turn_seen = seen
            return True
        answer_is = self._compare(seen - self._base_seen, self._received - self._base_received)
        if answer_is == _COMPLETE:
            self._counters.answered += 1
        elif not self._is_over(answer_is, idle_since, rtt_s, now):
            return False
        elif answer_is == _EQUAL:
            self._differed = False
        else:
            self._differed = True
            self._base_seen, self._base_received = seen, self._received
        self._begin_turn(seen, now)
        return True

    def _compare(self, share: int, answer: int) -> int:
        """Say what the target's answer is to the online service's share."""
        if answer < share:
            return _SHORTER
        if self._finished or (answer > share and self._independent):
            return _COMPLETE
        if answer > share:
            return _LONGER
        # In a session whose responses differ, a longer one passes through every length.
        return _EQUAL if self._differed else _COMPLETE

    def _begin_turn(self, seen: int, now: float) -> None:
        if self._received > self._released_at_received:
            self._pauses.note_response()
        self._waiting_since = NEVER
        self._turn_seen = seen
        self._released_at_received = self._received
        self._released_at = now
        self._began_after_s = 0.0
        self.turns += 1

    def _is_over(self, answer_is: int, idle_since: float, rtt_s: float, now: float) -> bool:
        """Return whether nothing is to be waited for any more; if something is, set `wake_at`."""
        if answer_is == _SHORTER and self._finished:
            self._counters.quiet += 1
            return True
        if self._waiting_since == NEVER:
            self._waiting_since = now
        quiet_since = max(self._answered_at, idle_since)
        if answer_is != _SHORTER:
            held_until = self._waiting_since + self._config.hold_limit_s
        else:
            held_until = max(self._waiting_since, quiet_since) + self._config.hold_limit_s
        quiet_until = NEVER
        if answer_is != _SHORTER or self._received > self._released_at_received:
            quiet_until = quiet_since + self._quiet_s(rtt_s, now)
        if now >= quiet_until:
            self._counters.quiet += 1
            return True
        if now >= held_until:
            self._counters.held += 1
            self._independent = self._independent or answer_is != _SHORTER
            return True
        self.wake_at = min(quiet_until, held_until)
        return False

    def _quiet_s(self, rtt_s: float, now: float) -> float:
        longest_s = max(self._longest_gap_s, self._pauses.longest_s(now))
        quiet_s = max(2 * rtt_s, _QUIET_GAPS * longest_s, self._began_after_s, self._pauses.least_quiet_s())
        return min(quiet_s, self._config.quiet_max_s)
