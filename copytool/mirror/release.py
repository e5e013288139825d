"""The release rule: a client's bytes go to the target only after the responses that caused them.

Theory of operation. `seen` counts the response octets a client had read when it sent a piece. A piece with a
larger `seen` than the one before it opens a new turn. When a turn is released because the responses differ, the octets
that either side had answered by then become the base, so one difference does not shift the next turns. A turn that
waits compares

    share   = seen - base at online     what the online service answered since the base
    answer  = received - base at target what the target answered since

    answer == share   release at once: the usual case, which costs no waiting and no timer
    answer != share   the responses differ; release when the target has been silent for the quiet time
    answer == 0       no response yet; release when the hold limit passes

While answer == share for every turn the base stays at 0: that makes no difference for strict request/response, and
with data in flight in both directions it keeps the count exact.
The quiet time adapts to the session: a few round trips, and longer than the pauses its responses have shown.
"""

from __future__ import annotations

from .config import MirrorConfig
from .timers import NEVER

__all__ = ["ReleaseCounters", "ReleaseRule"]

_QUIET_GAPS = 3


class ReleaseCounters:
    """How turns were released, over all sessions of an engine."""

    __slots__ = ("answered", "held", "quiet")

    def __init__(self) -> None:
        self.answered = 0
        self.quiet = 0
        self.held = 0


class ReleaseRule:
    """Decides when one session's turns are released. Times in seconds, positions in response octets."""

    __slots__ = (
        "_answered_at",
        "_base_received",
        "_base_seen",
        "_config",
        "_counters",
        "_longest_gap_s",
        "_received",
        "_released_at_received",
        "_turn_seen",
        "_waiting_since",
        "turns",
        "wake_at",
    )

    def __init__(self, config: MirrorConfig, counters: ReleaseCounters) -> None:
        self._config = config
        self._counters = counters
        self._turn_seen = 0
        self._base_seen = 0
        self._base_received = 0
        self._received = 0
        self._released_at_received = 0
        self._answered_at = 0.0
        self._longest_gap_s = 0.0
        self._waiting_since = NEVER
        self.turns = 0
        self.wake_at = NEVER

    def note_received(self, received: int, now: float) -> None:
        """Take in the target's progress: it has answered `received` octets in all."""
        if received <= self._received:
            return
        if self._received > self._released_at_received:
            gap = now - self._answered_at
            if gap > self._longest_gap_s:
                self._longest_gap_s = gap
        self._received = received
        self._answered_at = now

    def may_release(self, seen: int, rtt_s: float, now: float) -> bool:
        """Return whether a piece sent after `seen` response octets may go; `wake_at` says when to ask again."""
        self.wake_at = NEVER
        if seen <= self._turn_seen:
            self.turns = self.turns or 1
            return True
        share = seen - self._base_seen
        answer = self._received - self._base_received
        if answer == share:
            self._counters.answered += 1
        else:
            if self._waiting_since == NEVER:
                self._waiting_since = now
            held_until = self._waiting_since + self._config.hold_limit_s
            if self._received > self._released_at_received or answer > share:
                quiet_until = min(self._answered_at + self._quiet_s(rtt_s), held_until)
            else:
                quiet_until = held_until
            if now < quiet_until:
                self.wake_at = quiet_until
                return False
            if now >= held_until:
                self._counters.held += 1
            else:
                self._counters.quiet += 1
            self._base_seen, self._base_received = seen, self._received
        self._waiting_since = NEVER
        self._turn_seen = seen
        self._released_at_received = self._received
        self.turns += 1
        return True

    def _quiet_s(self, rtt_s: float) -> float:
        quiet_s = max(2 * rtt_s, _QUIET_GAPS * self._longest_gap_s, self._config.quiet_min_s)
        return min(quiet_s, self._config.quiet_max_s)
