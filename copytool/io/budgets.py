"""Keeps copy within its budgets: measures what it uses, and has sessions declined or ended when that is too much.

Nothing here waits, and no packet does: rings and links are served as always.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..mirror.budget import RAISE_S, TICK_S, Action, MemoryBudget, RateBudget
from ..mirror.engine import Engine
from ..mirror.outcome import ACTIVE
from ..mirror.shedding import Shedder
from .memory import release_free_memory, resident_bytes
from .settings import BudgetLimits
from .steering import Steering

__all__ = ["Budgets", "Use", "budgets_status"]

_log = logging.getLogger(__name__)

_IDLE_TICK_S = 1.0  # without limits there is only something to show
_TRIM_S, _MAX_TRIM_S = 1.0, 60.0
"""How often freed memory is given back while it is scarce; ever more rarely while that frees nothing."""
_CPU_WINDOW_S = 1.0  # some work is done every other second only
_BANDWIDTH_WINDOW_S = 0.5
_FREED = 0.99  # of the resident memory
_WIDE = 1.2  # a little too much is usual while a ratio goes down step by step
_NO_LIMIT = float("inf")


@dataclass(frozen=True, slots=True)
class Use:
    """What this process has used: processor time in all, memory now."""

    cpu_s: float
    resident_bytes: int

    @classmethod
    def measure(cls) -> Use:
        """Ask the kernel."""
        return cls(time.process_time(), resident_bytes())


class Budgets:
    """A service of the loop. measure: says what is used; another one is for tests.

    save_time: has copy look for packets more rarely, or not any more: what is declined costs little more than looking.
    """

    def __init__(
        self,
        limits: BudgetLimits,
        engine: Engine,
        steering: Steering,
        save_time: Callable[[bool], None],
        now: float,
        measure: Callable[[], Use] = Use.measure,
    ) -> None:
        self._limits = limits
        self._engine = engine
        self._admission = engine.admission
        self._steering = steering
        self._save_time = save_time
        self._measure = measure
        self._shedder = Shedder(engine)
        self._cpu = RateBudget(_or_infinite(limits.cpu_percent) / 100, "shed_cpu", _CPU_WINDOW_S)
        self._bandwidth = RateBudget(_or_infinite(limits.bandwidth_bits), "shed_bandwidth", _BANDWIDTH_WINDOW_S)
        self._memory = MemoryBudget(_or_infinite(limits.memory_bytes), engine.config.max_sessions)
        self._share = 1.0
        self._captured = 0
        self._busy_at = now
        self._tick_s = TICK_S if limits.any_measured() else _IDLE_TICK_S
        self._due_at = now
        self._trim_at = now
        self._trim_after_s = _TRIM_S

    def next_timer(self) -> float:
        """Return when handle_timer wants to be called."""
        return self._due_at

    def handle_timer(self, now: float) -> None:
        """Note what is used, and act on it."""
        self._due_at = now + self._tick_s
        try:
            use = self._measure()
        except OSError:  # no descriptor is left
            use = Use(time.process_time(), self._memory.used)
        self._cpu.note(use.cpu_s, now)
        self._bandwidth.note(8.0 * self._engine.counters.sender.octets, now)
        is_idle = self._is_idle(now)
        for budget, option in ((self._cpu, "--cpu-limit"), (self._bandwidth, "--bandwidth-limit")):
            self._keep_rate(budget, option, is_idle, now)
        self._keep_memory(use.resident_bytes, now)

    def _is_idle(self, now: float) -> bool:
        """Return whether no session has been open, and no client has sent anything, for as long as use is averaged."""
        counters = self._engine.counters
        if counters.outcomes[ACTIVE] or counters.client_packets != self._captured:
            self._captured = counters.client_packets
            self._busy_at = now
        return now >= self._busy_at + RAISE_S

    def _keep_rate(self, budget: RateBudget, option: str, is_idle: bool, now: float) -> None:
        shedder, steering = self._shedder, self._steering
        action = budget.decide(now, self._share, shedder.is_any_outside(), steering.is_too_wide(_WIDE), is_idle)
        if action is Action.END:
            shedder.end_outside(budget.outcome, f"copy was over {option}", now)
        elif action is Action.NARROW:
            if not steering.narrow():
                shedder.look_outside()
        elif action is not Action.NONE:
            self._set_share(budget, option, now)

    def _set_share(self, budget: RateBudget, option: str, now: float) -> None:
        before = self._share
        binding = min(self._cpu, self._bandwidth, key=lambda one: one.share)
        self._save_time(self._cpu.share < 1)
        if binding.share == before:
            return
        if not self._steering.limit(binding.share, binding.outcome, now):
            budget.share = before  # it is tried again
            return
        self._share = binding.share
        text = f"{budget.used / budget.limit:.0%} of {option} is used: mirroring {self._share:.1%} of new connections"
        _log.log(logging.WARNING if before == 1 else logging.INFO, "%s", text)
        if self._share < before:
            self._shedder.look_outside()
        else:
            self._shedder.forget()

    def _keep_memory(self, resident: int, now: float) -> None:
        memory = self._memory
        active = self._engine.counters.outcomes[ACTIVE]
        cap = memory.session_cap
        count = memory.decide(resident, active, now)
        if memory.session_cap < cap:
            _log.log(
                logging.WARNING if cap == self._engine.config.max_sessions else logging.INFO,
                "%.0f of %.0f MiB are resident (--memory-limit): at most %d sessions from now on",
                resident / (1 << 20), memory.limit / (1 << 20), memory.session_cap,
            )  # fmt: skip
        self._admission.session_cap = memory.session_cap
        if count:
            self._shedder.end_oldest(count, "shed_memory", "copy was over --memory-limit", now)
            self._trim_after_s = _TRIM_S
            self._trim_at = min(self._trim_at, now + _TRIM_S)
        if memory.is_scarce() and now >= self._trim_at:
            release_free_memory()
            helped = resident_bytes() < _FREED * resident
            self._trim_after_s = _TRIM_S if helped else min(2 * self._trim_after_s, _MAX_TRIM_S)
            self._trim_at = now + self._trim_after_s

    def status(self) -> dict[str, Any]:
        """Return limit, use and what was shed so far of each budget, as JSON-able data."""
        outcomes = self._engine.counters.outcomes
        use = {
            "sessions": outcomes[ACTIVE],
            "cpu": round(100 * self._cpu.used, 1),
            "memory": self._memory.used,
            "bandwidth": round(self._bandwidth.used),
        }
        return budgets_status(self._limits, self._engine.config.max_sessions, use, outcomes)


def budgets_status(
    limits: BudgetLimits, max_sessions: int, use: dict[str, Any], outcomes: dict[str, int]
) -> dict[str, Any]:
    """Return the budgets as `copytool status --json` shows them. A limit that there is not is None."""
    rows = (
        ("sessions", "sessions", max_sessions, "shed_budget"),
        ("cpu", "percent", limits.cpu_percent, "shed_cpu"),
        ("memory", "bytes", limits.memory_bytes, "shed_memory"),
        ("bandwidth", "bits/s", limits.bandwidth_bits, "shed_bandwidth"),
    )
    return {
        name: {"unit": unit, "limit": limit, "used": use.get(name, 0), "shed": outcomes[outcome]}
        for name, unit, limit, outcome in rows
    }


def _or_infinite(limit: float | None) -> float:
    return _NO_LIMIT if limit is None else limit
