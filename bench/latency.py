"""Time: what the mirror does to the service under full load, and how far it lags behind under a moderate one."""

from __future__ import annotations

import re
import time

from .arrivals import Arrivals, lags_us
from .errors import BenchError
from .scenario import Meter, Metric, Sample, Scenario
from .summary import percentile
from .tools import Tool
from .world import ONLINE, PORT, World

__all__ = ["SCENARIOS", "parse_wrk"]

LOAD_S = 5.0
PATIENCE_S = 60.0
LATE_S = 3.0
CONNECTIONS = 10
LAG_PER_S = 2000

_UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0}
_PERCENTILE = re.compile(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s)$", re.MULTILINE)
_RATE = re.compile(r"^Requests/sec:\s+([\d.]+)$", re.MULTILINE)
_ERRORS = re.compile(r"^\s+(Socket errors: .*|Non-2xx.*)$", re.MULTILINE)


def parse_wrk(text: str) -> Sample:
    """Return requests per second and latencies in milliseconds; BenchError if wrk reports errors or nothing."""
    rate, latencies, errors = _RATE.search(text), _PERCENTILE.findall(text), _ERRORS.search(text)
    if errors:
        raise BenchError(f"wrk: {errors[1]}")
    if not rate or len(latencies) != 2:
        raise BenchError(f"cannot read what wrk printed: {text[-500:]}")
    return {
        "throughput": float(rate[1]),
        **{f"p{share}_ms": float(value) * _UNITS_MS[unit] for share, value, unit in latencies},
    }


def _closed_loop(world: World, tool: Tool, scale: float) -> Sample:
    counters = world.start_nginx()
    running = tool.start(world)
    seconds = max(1, round(LOAD_S * scale))
    meter = Meter(running)
    load = world.start_packaged(
        "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}", "--latency", f"http://{ONLINE}:{PORT}/"
    )
    printed = load.finish(PATIENCE_S)
    at_end, served = counters["target"].count(), counters["online"].count()
    reading = meter.read()
    return {
        **parse_wrk(printed),
        "at_end": 100 * at_end / served,
        "core": 100 * reading.online.total_s / seconds,
    }


def _lag(world: World, tool: Tool, scale: float) -> Sample:
    world.start_nginx()
    running = tool.start(world)
    observers = [Arrivals(host.namespace) for host in (world.online, world.target)]
    try:
        meter = Meter(running)
        load = world.start_program("paced.py", ONLINE, "--per-s", LAG_PER_S, "--seconds", LOAD_S * scale)
        load.finish(PATIENCE_S)
        reading = meter.read()
        time.sleep(LATE_S)
        online, target = (observer.read() for observer in observers)
    finally:
        for observer in observers:
            observer.close()
    lags = lags_us(online, target)
    if not lags:
        raise BenchError(f"none of {len(online)} requests arrived at the target")
    return {
        "p50_us": percentile(lags, 0.5),
        "p99_us": percentile(lags, 0.99),
        "p999_us": percentile(lags, 0.999),
        "max_us": lags[-1],
        "arrived": 100 * len(lags) / len(online),
        "cpu": 1e6 * reading.online.total_s / len(online),
    }


SCENARIOS = (
    Scenario(
        "closed-loop",
        "closed-loop",
        f"HTTP keep-alive, {CONNECTIONS} connections as fast as they go: what the service loses",
        (
            Metric("throughput", "requests served by online", "/s", "high"),
            Metric("p50_ms", "median latency", "ms"),
            Metric("p99_ms", "99th percentile", "ms"),
            Metric("at_end", "mirrored at end", "%", "high"),
            Metric("core", "share of a core on online", "%", headline=False),
        ),
        _closed_loop,
        baselines=frozenset({"none"}),
    ),
    Scenario(
        "lag",
        "lag",
        f"Time from online to the target, {CONNECTIONS} connections, {LAG_PER_S:,} requests/s",
        (
            Metric("p50_us", "median", "µs"),
            Metric("p99_us", "99th percentile", "µs"),
            Metric("p999_us", "99.9th percentile", "µs"),
            Metric("max_us", "longest", "µs", headline=False),
            Metric("arrived", "arrived", "%", "high"),
            Metric("cpu", "CPU on online per request", "µs", headline=False),
        ),
        _lag,
        baselines=frozenset({"kernel"}),
    ),
)
