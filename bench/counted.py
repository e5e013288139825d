"""Loads of many requests that both services count: HTTP on connections that stay open or do not, and Redis."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from .counters import Counter
from .errors import BenchError
from .scenario import ARRIVALS, MEMORY, Meter, Metric, Sample, Scenario, cpu_metrics
from .tools import Running, Tool
from .world import ONLINE, PORT, Client, World, wait_for

__all__ = ["SCENARIOS"]

LOAD_S = 5.0
LATE_S = 3.0
RATE_PERIOD_MS = 10
REDIS_COMMANDS = 100_000
PATIENCE_S = 60.0
URL = f"http://{ONLINE}:{PORT}/"


@dataclass(frozen=True, slots=True)
class Load:
    """A load that has begun."""

    client: Client
    total: int
    """How many requests it makes."""


def run_counted(world: World, running: Running, counters: dict[str, Counter], load: Load) -> Sample:
    """Measure from the load's begin, now, to its end, which is when online has served all of it."""
    online, target = counters["online"], counters["target"]
    meter, packets, service = Meter(running), world.packets_sent_by_client(), world.service_cpu("online")
    wait_for(lambda: online.count() >= load.total or not load.client.running(), PATIENCE_S, 0.01)
    served, at_end = online.count(), target.count()
    over_load, service = meter.read().online, world.service_cpu("online") - service
    seconds = time.monotonic() - load.client.started
    load.client.finish(PATIENCE_S)
    if served < load.total:
        raise BenchError(f"online served {served} of {load.total} requests")
    # What a mirror still does for the load belongs to its price; what it does when all is mirrored does not.
    wait_for(lambda: target.count() >= load.total, LATE_S, 0.02)
    late, reading = target.count(), meter.read()
    packets = world.packets_sent_by_client() - packets
    return {
        "at_end": 100 * at_end / load.total,
        "late": 100 * late / load.total,
        "rate": load.total / seconds,
        **reading.per(late),
        "packets": packets / load.total,
        **({"cpu_packet": 1e6 * reading.online.total_s / late / (packets / load.total)} if late else {}),
        "core": 100 * over_load.total_s / seconds,
        "service": 1e6 * service.total_s / load.total,
        **meter.peaks(),
    }


def _measure(world: World, tool: Tool, start: Callable[[], dict[str, Counter]], total: int, *words: object) -> Sample:
    """Start services and tool, and measure a load of `total` requests that the command `words` makes."""
    counters = start()
    running = tool.start(world)
    return run_counted(world, running, counters, Load(world.start_packaged(*words), total))


def _metrics(what: str) -> tuple[Metric, ...]:
    return (
        *ARRIVALS,
        *cpu_metrics("µs", what),
        Metric("cpu_packet", "CPU on online per packet", "µs", headline=False),
        Metric("packets", f"packets from clients per {what}", "", "", headline=False),
        Metric("core", "share of a core on online", "%", headline=False),
        Metric("service", f"CPU of the service itself per {what}", "µs", headline=False),
        Metric("rate", f"{what}s per second", "/s", "", headline=False),
        *MEMORY,
    )


def _keepalive(connections: int, each_per_s: int, quick: bool = False) -> Scenario:
    def run(world: World, tool: Tool, scale: float) -> Sample:
        total = connections * round(each_per_s * LOAD_S * scale)
        words = ["h2load", "--h1", "-t1", f"-c{connections}", f"-n{total}", f"--rps={each_per_s}", URL]
        return _measure(world, tool, world.start_nginx, total, *words)

    return Scenario(
        f"keepalive-{connections}x{each_per_s}",
        "keepalive",
        f"HTTP keep-alive, {connections} connections x {each_per_s:,} requests/s",
        _metrics("request"),
        run,
        quick=quick,
        feeds=True,
    )


def _connections(per_s: int, quick: bool = False) -> Scenario:
    def run(world: World, tool: Tool, scale: float) -> Sample:
        total = round(per_s * LOAD_S * scale)
        rate = [f"-r{per_s * RATE_PERIOD_MS // 1000}", f"--rate-period={RATE_PERIOD_MS}ms"]
        words = ["h2load", "--h1", "-t1", f"-c{total}", f"-n{total}", *rate, URL]
        return _measure(world, tool, world.start_nginx, total, *words)

    return Scenario(
        f"connections-{per_s}",
        "connections",
        f"HTTP, a new connection for each request, {per_s:,} a second",
        _metrics("connection"),
        run,
        quick=quick,
        feeds=True,
    )


def _redis() -> Scenario:
    def run(world: World, tool: Tool, scale: float) -> Sample:
        total = round(REDIS_COMMANDS * scale)
        words = ["redis-benchmark", "-h", ONLINE, "-p", PORT, "-t", "set", "-n", total, "-c", 20, "-q"]
        return _measure(world, tool, world.start_redis, total, *words)

    title = f"Redis, {REDIS_COMMANDS:,} SET commands on 20 connections as fast as they go"
    return Scenario("redis", "redis", title, _metrics("command"), run, is_http=False, feeds=True)


def _apart(scenario: Scenario) -> Scenario:
    """Return the load on hosts that pay for what they receive themselves."""

    def run(world: World, tool: Tool, scale: float) -> Sample:
        world.receive_in_threads()
        return scenario.run(world, tool, scale)

    title = f"Hosts apart: {scenario.title}"
    return replace(scenario, name=f"apart-{scenario.name}", group="apart", title=title, run=run, quick=False)


_TOGETHER = (
    _keepalive(10, 1000, quick=True),
    _keepalive(10, 2000),
    _keepalive(100, 100),
    _keepalive(500, 20),
    _connections(2000, quick=True),
    _connections(5000),
    _redis(),
)
SCENARIOS = (*_TOGETHER, *map(_apart, _TOGETHER))
