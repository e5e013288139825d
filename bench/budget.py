"""Budgets: what the service loses to a mirror that may use only a part of what the load would cost it.

The load is about five times each budget, at an even rate. It runs twice: in the first run the mirror comes down
to its budgets, the second is measured. `no mirror` is the same load by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from .errors import BenchError
from .procstat import cpu_of, memory_of
from .scenario import MEMORY, Metric, Sample, Scenario
from .summary import percentile
from .tools import Tool
from .world import ONLINE, PORT, World

__all__ = ["SCENARIOS", "parse_log"]

SETTLE_S, LOAD_S = 10.0, 6.0
PATIENCE_S = 60.0
URL = f"http://{ONLINE}:{PORT}/"
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


def parse_log(text: str) -> Sample:
    """Return duration, requests a second and latencies in ms from h2load's log: start in µs, status, latency in µs."""
    rows = [tuple(map(int, line.split("\t"))) for line in text.splitlines()]
    failed = sum(status != 200 for _, status, _ in rows)
    if failed or not rows:
        raise BenchError(f"h2load: {failed} of {len(rows)} requests failed")
    seconds = (max(start + took for start, _, took in rows) - min(start for start, _, _ in rows)) / 1e6
    latencies = sorted(took / 1000 for _, _, took in rows)
    return {
        "seconds": seconds,
        "throughput": len(rows) / seconds,
        "p50_ms": percentile(latencies, 0.5),
        "p99_ms": percentile(latencies, 0.99),
    }


def _load(world: World, words: Sequence[object]) -> str:
    """Put a load on the service; return its log."""
    log = world.client_data / "requests.log"
    log.unlink(missing_ok=True)
    world.start_packaged("h2load", "--h1", "-t1", "--log-file=/data/requests.log", *words, URL).finish(PATIENCE_S)
    return log.read_text()


def _run(limits: Limits, connections: int, each_per_s: int, world: World, tool: Tool, scale: float) -> Sample:
    """Each connection makes so many requests a second; without any, so many connections a second make one each."""
    counters = world.start_nginx()
    running = tool.start(world, *limits.options(tool.name == "pure"))
    settling, seconds = (max(1, round(length * scale)) for length in (SETTLE_S, LOAD_S))

    def words(length_s: int) -> list[object]:
        if each_per_s:
            return [f"-c{connections}", f"-n{connections * each_per_s * length_s}", f"--rps={each_per_s}"]
        total = connections * length_s
        return [f"-c{total}", f"-n{total}", f"-r{connections // 100}", "--rate-period=10ms"]

    for counter in counters.values():
        counter.count()  # a connection without any request is closed after a minute
    _load(world, words(settling))
    served, mirrored = counters["online"].count(), counters["target"].count()
    cpu = cpu_of(running.online)
    measured = parse_log(_load(world, words(seconds)))
    cpu = cpu_of(running.online) - cpu
    served, mirrored = counters["online"].count() - served, counters["target"].count() - mirrored
    memory = {"rss_mb": memory_of(running.online) / 1e6} if running.online else {}
    core = 100 * cpu.total_s / measured["seconds"]
    return {**measured, "mirrored": 100 * mirrored / served, "core": core, **memory}


def _scenario(name: str, what: str, limits: Limits, connections: int, each_per_s: int) -> Scenario:
    cpu = f"{limits.cpu_percent:g} % of a CPU (pure {PURE_FACTOR * limits.cpu_percent:g} %)"
    budgets = f"{cpu}, {limits.mbit_per_s:g} Mbit/s, {limits.sessions} sessions, {MEMORY_MIB} MiB"
    return Scenario(
        f"budget-{name}",
        "budget",
        f"HTTP, {what}; copytool with {budgets}",
        (
            Metric("throughput", "requests served by online", "/s", "high"),
            Metric("p50_ms", "median latency", "ms"),
            Metric("p99_ms", "99th percentile", "ms"),
            Metric("mirrored", "mirrored", "%", ""),
            Metric("core", "share of a core on online", "%"),
            MEMORY[0],
        ),
        partial(_run, limits, connections, each_per_s),
        baselines=frozenset({"none"}),
        quick=False,
    )


SCENARIOS = (
    _scenario("keepalive", "100 connections x 200 requests/s", Limits(2.5, 4, 20), 100, 200),
    _scenario("connections", "a new connection for each request, 2,000 a second", Limits(2, 1, 20), 2000, 0),
)
