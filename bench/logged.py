"""Loads whose sessions both services log with their bytes and hash: uploads, and sessions over a lossy path."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.netns.servers import APPS

from .scenario import MEMORY, Meter, Metric, Sample, Scenario, cpu_metrics
from .tools import Running, Tool
from .world import ONLINE, PORT, Client, World, wait_for

__all__ = ["SCENARIOS", "exact_sessions", "received_bytes"]

PATIENCE_S = 120.0
UPLOAD_BYTES = 50_000_000
UPLOAD_LATE_S = 25.0
LOSS_SESSIONS, LOSS_TURNS = 300, 20
LOSS_LATE_S = 15.0

_RECEIVED = re.compile(r"\bbytes_received:(\d+)")


def records(path: Path) -> list[dict[str, Any]]:
    """Return the sessions that a service has logged, whole lines only."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]


def exact_sessions(online: Iterable[dict[str, Any]], target: Iterable[dict[str, Any]]) -> int:
    """Return how many of online's sessions the target has logged with the same bytes, hash and end."""

    def multiset(logged: Iterable[dict[str, Any]]) -> Counter[tuple[int, str, str]]:
        return Counter((record["bytes"], record["sha256"], record["end"]) for record in logged)

    return (multiset(online) & multiset(target)).total()


def received_bytes(shown: str) -> int:
    """Return the bytes that open connections have received, from what `ss -ti` shows."""
    return sum(map(int, _RECEIVED.findall(shown)))


def run_logged(world: World, running: Running, client: Client, meter: Meter, late_s: float) -> Sample:
    """Measure until the target has logged as many sessions as online, or `late_s` after the load's end."""
    client.finish(PATIENCE_S)
    ended = time.monotonic()
    online, target = world.log("online"), world.log("target")
    count = len(wait_for(lambda: records(online), 5))
    at_end = len(records(target))
    wait_for(lambda: len(records(target)) >= count, late_s, 0.05)
    complete, reading = time.monotonic(), meter.read()
    expected, arrived = records(online), records(target)
    # What has been read to its end is in the log, though its connection may still be closing.
    still_open = world.target.run("ss", "-Htin", "state", "established", f"sport = {PORT}").stdout
    octets = sum(record["bytes"] for record in arrived) + received_bytes(still_open)
    wanted = sum(record["bytes"] for record in expected)
    exact = exact_sessions(expected, arrived)
    return {
        "exact": 100 * exact / len(expected),
        "bytes": 100 * octets / wanted,
        "at_end": 100 * at_end / len(expected),
        "load_s": ended - client.started,
        **({"complete_s": complete - client.started} if exact == len(expected) else {}),
        "cpu_ms": 1000 * reading.online.total_s,
        **meter.peaks(),
        "sent_mb": wanted / 1e6,
        "received_mb": octets / 1e6,
        **{f"total_{key}": value for key, value in reading.per(1).items()},
    }


def _upload(connections: int, quick: bool = False, ring_mib: int = 0) -> Scenario:
    """Return the upload; ring_mib: size of copytool's capture ring, if it is not the default."""

    def run(world: World, tool: Tool, scale: float) -> Sample:
        world.start_sink()
        running = tool.start(world, *(("--ring-size", ring_mib) if ring_mib else ()))
        size = round(UPLOAD_BYTES * scale)
        meter = Meter(running)
        words = ["upload", "--connections", connections, "--bytes", size]
        client = world.start_program(APPS / "stream_client.py", *words)
        sample = run_logged(world, running, client, meter, UPLOAD_LATE_S * scale)
        return sample | _per(sample, sample["received_mb"], 1000)

    metrics = (
        Metric("exact", "sessions exact", "%", "high"),
        Metric("bytes", "bytes arrived", "%", "high"),
        Metric("complete_s", "all arrived after", "s"),
        Metric("load_s", "the client took", "s", "", headline=False),
        *cpu_metrics("ms", "MB"),
        *MEMORY,
    )
    what = f"{UPLOAD_BYTES // 1_000_000} MB uploaded"
    title = f"{what} on one connection" if connections == 1 else f"{what} on each of {connections} connections at once"
    name = f"upload-{connections}"
    if ring_mib:
        name, title = f"{name}-ring{ring_mib}", f"{title}, copytool with --ring-size {ring_mib}"
    return Scenario(name, "upload", title, metrics, run, is_http=False, quick=quick, feeds=True)


def _loss(per_cent: int) -> Scenario:
    def run(world: World, tool: Tool, scale: float) -> Sample:
        world.start_echo()
        rule = f"ip saddr 192.168.60.0/24 tcp dport {PORT} numgen random mod 100 < {per_cent} counter drop;"
        world.target.run("nft", f"table ip bench {{ chain in {{ type filter hook input priority raw; {rule} }}; }}")
        running = tool.start(world)
        meter = Meter(running)
        sessions = round(LOSS_SESSIONS * scale)
        words = [ONLINE, "--sessions", sessions, "--turns", LOSS_TURNS]
        client = world.start_program("turns.py", *words)
        sample = run_logged(world, running, client, meter, LOSS_LATE_S * scale)
        return sample | _per(sample, sessions * LOSS_TURNS, 1)

    metrics = (
        Metric("exact", "sessions exact", "%", "high"),
        Metric("bytes", "bytes arrived", "%", "high", headline=False),
        Metric("complete_s", "all arrived after", "s"),
        Metric("load_s", "the clients took", "s", "", headline=False),
        *cpu_metrics("µs", "turn"),
        *MEMORY,
    )
    title = f"{per_cent} % of packets lost to the target, {LOSS_SESSIONS} sessions of {LOSS_TURNS} turns"
    return Scenario(f"loss-{per_cent}", "loss", title, metrics, run, is_http=False, quick=per_cent == 5)


def _per(sample: Sample, count: float, divisor: float) -> Sample:
    """Return the processor times of the sample for each of `count` things, in microseconds times `divisor`."""
    totals = {key.removeprefix("total_"): value for key, value in sample.items() if key.startswith("total_")}
    return {key: value / count / divisor for key, value in totals.items()} if count else {}


SCENARIOS = (_upload(1, quick=True), _upload(4), _upload(4, ring_mib=256), _loss(1), _loss(5))
