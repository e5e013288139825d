"""Very many connections on which nothing happens: what each costs in memory, and all of them in processor time."""

from __future__ import annotations

import time

from tests.netns.hosts import ip
from tests.netns.servers import APPS

from .errors import BenchError
from .procstat import cpu_of, memory_of
from .scenario import Metric, Sample, Scenario
from .tools import Running, Tool
from .world import PORT, World, wait_for

__all__ = ["SCENARIOS"]

CONNECTIONS = 10_000
OPEN_S = 60.0
QUIET_S = 10.0
SETTLE_S = 2.0
SOURCES = [f"192.168.50.{number}" for number in range(210, 214)]


def _established(world: World) -> int:
    shown = world.target.run("ss", "-Htn", "state", "established", "src", "192.168.60.0/24", "or", f"sport = {PORT}")
    return len(shown.stdout.splitlines())


def _idle_share(running: Running, seconds: float) -> float:
    """Return the share of a core, in per cent, that the daemon on online takes while nothing happens."""
    before, started = cpu_of(running.online), time.monotonic()
    time.sleep(seconds)
    return 100 * (cpu_of(running.online) - before).total_s / (time.monotonic() - started)


def _run(world: World, tool: Tool, scale: float) -> Sample:
    count = round(CONNECTIONS * scale)
    for address in SOURCES:
        ip("-n", world.network.hosts["client"].namespace, "address", "add", f"{address}/24", "dev", "ens18")
    world.start_echo()
    running = tool.start(world)
    time.sleep(SETTLE_S)
    without = _idle_share(running, QUIET_S * scale)
    before = memory_of(running.online, "VmRSS"), memory_of(running.assistant, "VmRSS")
    words = ["--connections", count, "--sources", ",".join(SOURCES)]
    client = world.start_program(APPS / "idle_client.py", *words)
    if not wait_for(lambda: "open" in client.output(), OPEN_S):
        raise BenchError(f"the client has not opened {count} connections after {OPEN_S:g} s: {client.output()[-500:]}")
    wait_for(lambda: _established(world) >= count, 5, 0.2)
    time.sleep(SETTLE_S)
    after = memory_of(running.online, "VmRSS"), memory_of(running.assistant, "VmRSS")
    return {
        "open": 100 * _established(world) / count,
        "each_bytes": (after[0] - before[0]) / count,
        "intercept_each_bytes": (after[1] - before[1]) / count,
        "idle_core": _idle_share(running, QUIET_S * scale),
        "idle_core_without": without,
        "rss_mb": after[0] / 1e6,
    }


SCENARIOS = (
    Scenario(
        "idle",
        "idle",
        f"{CONNECTIONS:,} connections on which nothing happens",
        (
            Metric("open", "open at the target", "%", "high"),
            Metric("each_bytes", "memory on online for each", "B"),
            Metric("intercept_each_bytes", "memory of intercept for each", "B", headline=False),
            Metric("idle_core", "share of a core with them", "%"),
            Metric("idle_core_without", "share of a core without any", "%"),
            Metric("rss_mb", "memory on online", "MB", headline=False),
        ),
        _run,
        is_http=False,
        quick=False,
    ),
)
