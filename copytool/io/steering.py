"""What may be changed of a copy while it runs: pause, ratio, copies, and which share of them the budgets admit.

A change holds for connections that come from then on; sessions that are open go on as they are. The kernel's filter
follows: it must show the data of every connection that is mirrored, also of those that would be left out by now. So it
is widened a moment before a higher ratio holds, in which what was captured by the old one is taken in, and narrowed
once no connection that needs it is left.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from ..errors import HostError
from ..mirror.engine import Engine
from .control import Command
from .ramp import Ramp
from .steering_requests import read_copies, read_ratio

__all__ = ["WIDEN_S", "Steering"]

WIDEN_S = 1.0
"""From the wider filter until a higher ratio holds: twice what the default ring can hold back without loss."""

_log = logging.getLogger(__name__)

_STEP_S = 1.0
_NARROW_S = 10.0
_NEVER = float("inf")


class Steering:
    """Carries out control commands on one engine. A service of the loop.

    show: makes the kernel show the data of a share of the connections, in per cent; raises OSError if it cannot.
    """

    def __init__(self, engine: Engine, show: Callable[[float], None], now: float) -> None:
        self._engine = engine
        self._admission = engine.admission
        self._show = show
        self._share = 1.0
        self._shed_outcome = ""
        self._shown_percent = engine.admission.ratio_percent
        self._may_narrow = True
        self._is_widened = False
        self._rises_from = now
        self._lowered_at = now
        self._ramp = Ramp(self._shown_percent, self._shown_percent, now)
        self._due_at = _NEVER

    def commands(self, clock: Callable[[], float]) -> dict[str, Command]:
        """Return the control commands by name."""
        return {
            "pause": lambda _request: self._pause(True),
            "resume": lambda _request: self._pause(False),
            "ratio": lambda request: self._go_to(*read_ratio(request), clock()),
            "copies": lambda request: self._set_copies(read_copies(request)),
        }

    def status(self) -> dict[str, Any]:
        """Return what holds now, as JSON-able data."""
        return {
            "paused": self._admission.paused,
            "ratio_percent": self._admission.ratio_percent,
            "ratio_goal_percent": self._ramp.goal,
            "admitted_percent": round(100 * self._admission.share, 2),
            "captured_percent": self._shown_percent,
            "copies": self._admission.copies,
        }

    def next_timer(self) -> float:
        """Return when handle_timer wants to be called."""
        return self._due_at

    def handle_timer(self, now: float) -> None:
        """Go on with a ramp; narrow the kernel's filter when nothing needs a wider one."""
        admission = self._admission
        ratio = self._ramp.at(now)
        rises = self._share > admission.share
        share = admission.share if rises and now < self._rises_from else self._share
        if ratio * share < admission.admitted_percent():
            self._lowered_at = now
        if ratio * share > admission.admitted_percent() and self._is_widened and now >= self._rises_from:
            self._is_widened = False
            self._engine.forget_left_out()
        if ratio != admission.ratio_percent:
            admission.set_ratio(ratio)
        if share != admission.share:
            admission.set_share(share, self._shed_outcome)
        if now < self._rises_from and (rises or self._ramp.rest_s(now)):
            self._due_at = self._rises_from
        elif self._ramp.rest_s(now):
            self._due_at = now + _STEP_S
        else:
            self.narrow()
            self._due_at = now + _NARROW_S if self.is_too_wide() else _NEVER

    def limit(self, share: float, outcome: str, now: float) -> bool:
        """Mirror only this part of what the ratio chooses, a larger one than before after a moment.

        outcome: of the others. Returns False if the kernel does not take the filter for it, and all stays as it is.
        """
        if share > self._share:
            try:
                self._widen(max(self._admission.ratio_percent, self._ramp.goal) * share, now)
            except OSError as error:
                _log.warning("the kernel refuses a filter for more connections: %s", error.strerror)
                return False
        self._share = share
        self._shed_outcome = outcome
        self._may_narrow = True
        self.handle_timer(now)
        return True

    def is_too_wide(self, factor: float = 1.0) -> bool:
        """Return whether the kernel shows the data of more connections than `factor` times those that are wanted, and
        can do otherwise."""
        return self._may_narrow and self._shown_percent > factor * self._wanted_percent()

    def _wanted_percent(self) -> float:
        """Return the share of the connections that is mirrored now or at the end of a ramp, whichever is larger."""
        admission = self._admission
        return max(admission.ratio_percent, self._ramp.goal) * max(admission.share, self._share)

    def narrow(self) -> bool:
        """Have the kernel show no more than is wanted, unless an open session needs it; return whether it does."""
        if self.is_too_wide() and not self._engine.is_any_left_out(self._lowered_at):
            self._narrow()
        return not self.is_too_wide()

    def _go_to(self, percent: float, ramp_s: float, now: float) -> dict[str, Any]:
        """Mirror another share of the connections, at once or step by step."""
        try:
            self._widen(percent * self._share, now)
        except OSError as error:
            raise HostError(f"the kernel refuses a filter for {percent:g} per cent: {error.strerror}") from None
        share = self._admission.ratio_percent
        self._may_narrow = True
        self._ramp = Ramp(share, percent, max(now, self._rises_from) if percent > share else now, ramp_s)
        self.handle_timer(now)
        return self.status()

    def _widen(self, percent: float, now: float) -> None:
        """Have the kernel show so much, if it shows less; raises OSError if it refuses."""
        if percent > self._shown_percent:
            self._show(percent)
            self._shown_percent = percent
            self._is_widened = True
            self._rises_from = now + WIDEN_S

    def _narrow(self) -> None:
        percent = self._wanted_percent()
        try:
            self._show(percent)
            self._shown_percent = percent
        except OSError as error:  # what is shown too much costs something, and loses nothing
            self._may_narrow = False
            _log.warning("the kernel refuses a filter for %g per cent: %s", percent, error.strerror)

    def _pause(self, paused: bool) -> dict[str, Any]:
        self._admission.paused = paused
        return self.status()

    def _set_copies(self, copies: int) -> dict[str, Any]:
        self._admission.copies = copies
        return self.status()
