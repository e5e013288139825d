"""Budgets: what the service loses to a mirror that may use only a part of what the load would cost it.

The load is several times the budget. It runs twice in a row: in the first run the mirror comes down to its budget, the
second is measured. `no mirror` is the same load by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from .latency import parse_wrk
from .procstat import cpu_of, memory_of
from .scenario import MEMORY, Metric, Sample, Scenario
from .tools import Tool
from .world import ONLINE, PORT, World

__all__ = ["SCENARIOS"]

SETTLE_S, LOAD_S = 8.0, 6.0
PATIENCE_S = 60.0
CONNECTIONS = 100
MEMORY_MIB = 192
PURE_FACTOR = 4  # what pure Python needs for the same


@dataclass(frozen=True, slots=True)
class Limits:
    """About a fifth of what the load would take, compiled, on the machine that docs/performance.md names."""

    cpu_percent: float
    mbit_per_s: float
    sessions: int

    def options(self, is_pure: bool) -> tuple[object, ...]:
        """Return the options of `copytool copy`."""
        cpu_percent = self.cpu_percent * (PURE_FACTOR if is_pure else 1)
        rates = ("--cpu-limit", cpu_percent, "--bandwidth-limit", self.mbit_per_s)
        return (*rates, "--memory-limit", MEMORY_MIB, "--max-sessions", self.sessions)


def _run(limits: Limits, headers: Sequence[str], world: World, tool: Tool, scale: float) -> Sample:
    counters = world.start_nginx()
    running = tool.start(world, *limits.options(tool.name == "pure"))
    settling, seconds = (max(1, round(length * scale)) for length in (SETTLE_S, LOAD_S))
    wrk = ["wrk", "-t1", f"-c{CONNECTIONS}", "--latency", *headers]
    url = f"http://{ONLINE}:{PORT}/"
    world.start_packaged(*wrk, f"-d{settling}", url).finish(PATIENCE_S)
    served, mirrored = counters["online"].count(), counters["target"].count()
    cpu = cpu_of(running.online)
    printed = world.start_packaged(*wrk, f"-d{seconds}", url).finish(PATIENCE_S)
    cpu = cpu_of(running.online) - cpu
    served, mirrored = counters["online"].count() - served, counters["target"].count() - mirrored
    memory = {"rss_mb": memory_of(running.online) / 1e6} if running.online else {}
    return {**parse_wrk(printed), "mirrored": 100 * mirrored / served, "core": 100 * cpu.total_s / seconds, **memory}


def _scenario(name: str, what: str, limits: Limits, *headers: str) -> Scenario:
    budget = (
        f"{limits.cpu_percent:g} % of a CPU (pure {PURE_FACTOR * limits.cpu_percent:g} %), {limits.mbit_per_s:g} Mbit/s"
    )
    return Scenario(
        f"budget-{name}",
        "budget",
        f"HTTP, {CONNECTIONS} {what} as fast as they go; copytool with budgets of {budget}, {limits.sessions} sessions",
        (
            Metric("throughput", "requests served by online", "/s", "high"),
            Metric("p50_ms", "median latency", "ms"),
            Metric("p99_ms", "99th percentile", "ms"),
            Metric("mirrored", "mirrored", "%", ""),
            Metric("core", "share of a core on online", "%"),
            MEMORY[0],
        ),
        partial(_run, limits, headers),
        baselines=frozenset({"none"}),
        quick=False,
    )


SCENARIOS = (
    _scenario("keepalive", "connections that stay open", Limits(10, 12, 20)),
    _scenario(
        "connections", "at a time, a new connection for each request", Limits(5, 4, 20), "-H", "Connection: close"
    ),
)
