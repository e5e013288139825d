"""The same changes for several workers: all get them, also those that are started again later."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..errors import HostError
from ..mirror.config import MirrorConfig
from .control import Command
from .ramp import Ramp
from .steering import WIDEN_S
from .steering_requests import read_copies, read_ratio

__all__ = ["FleetSteering"]

Request = dict[str, Any]
Ask = Callable[[Request], tuple[Mapping[int, dict[str, Any]], list[int]]]
"""Puts a request to the workers that run; returns their answers by number, and who of them did not answer."""


@dataclass(frozen=True)
class _Wanted:
    """What is to hold for every worker."""

    paused: bool
    copies: int
    ramp: Ramp


class FleetSteering:
    """Knows what holds for the workers, and passes changes on to those that run."""

    def __init__(self, mirror: MirrorConfig, ask: Ask, clock: Callable[[], float]) -> None:
        self._ask = ask
        self._clock = clock
        share = mirror.ratio_percent
        self._wanted = _Wanted(mirror.paused, mirror.copies, Ramp(share, share, clock()))

    def commands(self) -> dict[str, Command]:
        """Return the control commands by name."""
        return {
            "pause": lambda _request: self._change({"command": "pause"}, paused=True),
            "resume": lambda _request: self._change({"command": "resume"}, paused=False),
            "ratio": self._go_to,
            "copies": self._set_copies,
        }

    def status(self) -> dict[str, Any]:
        """Return what holds now, as JSON-able data."""
        wanted = self._wanted
        return {
            "paused": wanted.paused,
            "ratio_percent": wanted.ramp.at(self._clock()),
            "ratio_goal_percent": wanted.ramp.goal,
            "copies": wanted.copies,
        }

    def settings(self, mirror: MirrorConfig) -> MirrorConfig:
        """Return the settings of a worker that is started now."""
        wanted = self._wanted
        ratio_percent = wanted.ramp.at(self._clock())
        return replace(mirror, paused=wanted.paused, copies=wanted.copies, ratio_percent=ratio_percent)

    def requests(self) -> list[Request]:
        """Return what makes all of it hold for a worker that has just begun: things may have changed meanwhile."""
        wanted = self._wanted
        return [
            {"command": "pause" if wanted.paused else "resume"},
            {"command": "copies", "count": wanted.copies},
            {"command": "ratio", "percent": wanted.ramp.goal, "ramp_s": wanted.ramp.rest_s(self._clock())},
        ]

    def _go_to(self, request: Request) -> dict[str, Any]:
        percent, ramp_s = read_ratio(request)
        now = self._clock()
        share = self._wanted.ramp.at(now)
        ramp = Ramp(share, percent, now + WIDEN_S if percent > share else now, ramp_s)
        return self._change({"command": "ratio", "percent": percent, "ramp_s": ramp_s}, ramp=ramp)

    def _set_copies(self, request: Request) -> dict[str, Any]:
        copies = read_copies(request)
        return self._change({"command": "copies", "count": copies}, copies=copies)

    def _change(self, request: Request, **changes: Any) -> dict[str, Any]:
        """Have the workers do it, and those that are started from now on begin with it; all of them or none."""
        answers, silent = self._ask(request)
        refusals = [f"worker {number}: {answer['error']}" for number, answer in answers.items() if "error" in answer]
        if refusals:
            for undo in self.requests():
                self._ask(undo)
            raise HostError("; ".join(refusals))
        self._wanted = replace(self._wanted, **changes)
        if silent:
            numbers = ", ".join(map(str, silent))
            raise HostError(f"worker {numbers} does not answer; the others, and those started later, do it")
        return self.status()
