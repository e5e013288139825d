"""Budgets: how much of the load is mirrored where all of it would cost too much processor time, bandwidth or memory.

Theory of operation. Processor time and octets sent grow with the share of the connections that is mirrored, and a hash
chooses that share, as it does for the ratio. So one number is controlled, and there are three things to do, in this
order, each when the one before has had time to show and was not enough:

1. Lower the share, in proportion to what is used too much: new connections outside of it are declined.
2. End open sessions outside of it, the oldest first, some at a time. New ones outside are no longer added.
3. When none is left, have the kernel keep back the data of what is declined. Then begin again at 1, with a lower share.

Between LOW and 1 of the limit nothing changes; below, the share rises again. A lower share aims at GOAL, in between:
so a steady load settles there. Where there is nobody to mirror, the share rises whatever is used: that is not for
sessions. Chance would do for the first of the three; for the others the hash is needed, because whom the kernel does
not show must not be mirrored, and who is mirrored has to be shown.

Memory is another matter: what was freed can be used again and yet stays resident. So the number of sessions is held
where it was when memory became scarce, and lowered only if more is used all the same.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from math import ceil

from .timers import NEVER

__all__ = ["SCARCE", "TICK_S", "Action", "MemoryBudget", "RateBudget"]

TICK_S = 0.1
"""How often use is to be noted."""

GRACE_S = 1.0
"""How long use may be over the limit before open sessions are ended."""

RAISE_S, MAX_RAISE_S = 3.0, 48.0
"""Between two steps upwards: the kernel's filter is widened a second before a higher share holds. Twice as long after
a step that turned out to be one too many, half as long after one that did not."""

GOAL, LOW, IDLE = 0.9, 0.75, 0.4
"""Parts of a limit: what a lower share aims at, below which the share rises, and below which it rises without delay:
twice as much would still be below the limit."""

_MAX_RAISE, _MIN_RAISE = 2.0, 0.02
_MAX_CUT = 0.1
_NOTHING, _EVERYTHING = 0.002, 0.99  # shares that count as none and all

ENOUGH, SCARCE, FULL = 0.8, 0.9, 0.95
"""Parts of the memory: sessions may be as many as ever, no more than now, and fewer if still more memory is used."""

_STEP = 0.005
_END_PART = 0.05
_SETTLE_S = 1.5  # what ended sessions had is given back once a second
_HOLD_S = 10.0  # memory that has not grown for so long may do for more sessions


class Action(Enum):
    """What is to be done to come under a limit, or to use more of it again."""

    NONE = 0
    LOWER = 1
    END = 2
    NARROW = 3
    RAISE = 4


class RateBudget:
    """A limit of something that is used up as time goes by.

    limit, used: in units a second, used of late. share: which part of the connections it lets be mirrored. outcome: of
    those that are not. window_s: the time over which use is averaged, and after which the effect of a step shows.
    """

    def __init__(self, limit: float, outcome: str, window_s: float) -> None:
        self.limit = limit
        self._window_s = window_s
        self.outcome = outcome
        self.used = 0.0
        self.share = 1.0
        self._totals: deque[tuple[float, float]] = deque()
        self._settled_at = -NEVER
        self._over_since = NEVER
        self._ended_at = -NEVER
        self._raised_at = -NEVER
        self._raise_after_s = RAISE_S

    def note(self, total: float, now: float) -> None:
        """Note how much has been used in all by now."""
        totals = self._totals
        totals.append((now, total))
        while len(totals) > 2 and totals[1][0] <= now - RAISE_S:
            totals.popleft()
        if now >= totals[0][0] + self._window_s / 2:
            self.used = self._mean_since(now - self._window_s)

    def _mean_since(self, when: float) -> float:
        """Return what was used a second since then, or a little longer, or since as long as is known."""
        totals = self._totals
        now, total = totals[-1]
        since, before = max((known for known in totals if known[0] <= when), default=totals[0])
        return (total - before) / (now - since) if now > since else 0.0

    def decide(
        self, now: float, share: float, is_any_outside: bool, is_too_wide: bool, is_idle: bool = False
    ) -> Action:
        """Return what to do now; `self.share` is changed already if it is LOWER or RAISE.

        share: what holds, of all budgets. is_any_outside: whether an open session is outside of it. is_too_wide:
        whether the kernel shows the data of more. is_idle: whether no client sends, and no session is open.
        """
        if self.used <= self.limit or is_idle:
            used = 0.0 if is_idle else self._mean_since(now - RAISE_S) / self.limit
            if used <= 1:  # use goes up and down
                self._over_since = NEVER
            return self._decide_to_raise(now, used)
        self._over_since = min(self._over_since, now)
        if now < self._settled_at:
            return Action.NONE
        if is_any_outside:
            if now < self._over_since + GRACE_S:
                return Action.NONE
            self._ended_at = now
            return Action.END
        if now < self._ended_at + self._window_s or (not is_too_wide and not share):
            return Action.NONE  # the sessions that ended still count, or what is used is not for sessions
        self._settled_at = now + self._window_s
        if is_too_wide:
            return Action.NARROW
        if now < self._raised_at + 2 * self._raise_after_s:
            self._raise_after_s = min(2 * self._raise_after_s, MAX_RAISE_S)
        self.share = share * max(GOAL * self.limit / self.used, _MAX_CUT)
        if self.share < _NOTHING:
            self.share = 0.0
        return Action.LOWER

    def _decide_to_raise(self, now: float, used: float) -> Action:
        """Return RAISE if it is time; used: which part of the limit, of late."""
        if self.share >= 1 or now < max(self._settled_at, self._raised_at) + RAISE_S:
            return Action.NONE
        if used >= LOW or (used >= IDLE and now < self._raised_at + self._raise_after_s):
            return Action.NONE
        self._raised_at = now
        self._raise_after_s = max(self._raise_after_s / 2, RAISE_S)
        factor = min(GOAL / used, _MAX_RAISE) if used > 0 else _MAX_RAISE
        self.share = max(self.share * factor, self.share + _MIN_RAISE)
        if self.share > _EVERYTHING:
            self.share = 1.0
        return Action.RAISE


class MemoryBudget:
    """A limit of resident memory.

    limit, used: in octets. session_cap: how many sessions there is room for, at most `max_sessions`.
    """

    def __init__(self, limit: float, max_sessions: int) -> None:
        self.limit = limit
        self.used = 0
        self.session_cap = max_sessions
        self._max_sessions = max_sessions
        self._peak = SCARCE * limit
        self._settled_at = 0.0
        self._peaked_at = 0.0
        self._ended_at = -NEVER

    def is_scarce(self) -> bool:
        """Return whether memory that was freed should be given back now."""
        return self.used > ENOUGH * self.limit

    def decide(self, resident: int, sessions: int, now: float) -> int:
        """Note use and the number of open sessions; return how many of the oldest to end. Sets `session_cap`."""
        self.used = resident
        limit = self.limit
        if resident <= SCARCE * limit:
            self._peak = SCARCE * limit
            self._grow(now)
            return 0
        if resident <= self._peak and (resident <= limit or now < self._ended_at + _SETTLE_S):
            if resident <= FULL * limit and now >= self._peaked_at + _HOLD_S:
                self._grow(now)
            return 0
        self._peak = max(self._peak, resident + _STEP * limit)
        self._peaked_at = now
        count = ceil(sessions * _END_PART) if resident > FULL * limit else 0
        if count:
            self._ended_at = now
        self.session_cap = min(self.session_cap, sessions - count)
        return count

    def _grow(self, now: float) -> None:
        if self.used < ENOUGH * self.limit:
            self.session_cap = self._max_sessions
        elif now >= self._settled_at:
            self._settled_at = now + 1
            self.session_cap = min(self.session_cap + self.session_cap // 100 + 1, self._max_sessions)
