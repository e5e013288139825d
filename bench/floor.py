"""The least that mirroring can cost: the kernel alone duplicates a load's packets, rewrites and sends them."""

from __future__ import annotations

import re
from pathlib import Path

from .errors import BenchError
from .procstat import Cpu, cpu_of, machine_busy_s
from .scenario import Metric, Sample, Scenario
from .tools import Tool
from .world import ONLINE, PORT, World

__all__ = ["SCENARIOS"]

CONNECTIONS, EACH_PER_S = 10, 1000
PART_S = 2.5
PARTS = 4
PATIENCE_S = 60.0

_DROPPED = re.compile(r"counter packets (\d+)")


def _softirq_threads() -> list[int]:
    names = ((int(path.parent.name), path.read_text()) for path in Path("/proc").glob("[0-9]*/comm"))
    return [pid for pid, name in names if name.startswith("ksoftirqd/")]


def _part(world: World, scale: float) -> tuple[float, float, int]:
    """Put the load on the service; return what it cost the processes it passes, the machine, and its packets."""
    threads = _softirq_threads()
    before, machine, packets = _passed(world, threads), machine_busy_s(), world.packets_sent_by_client()
    total = CONNECTIONS * round(EACH_PER_S * PART_S * scale)
    words = ["h2load", "--h1", "-t1", f"-c{CONNECTIONS}", f"-n{total}", f"--rps={EACH_PER_S}"]
    load = world.start_packaged(*words, f"http://{ONLINE}:{PORT}/")
    load.finish(PATIENCE_S)
    spent = _passed(world, threads) - before + load.cpu
    return spent.total_s, machine_busy_s() - machine, world.packets_sent_by_client() - packets


def _passed(world: World, threads: list[int]) -> Cpu:
    return world.service_cpu("online") + cpu_of(threads)


def _run(world: World, tool: Tool, scale: float) -> Sample:
    world.start_nginx()
    _part(world, 0.2)  # what only the first load does
    spent, machine, packets = ([0.0, 0.0] for _ in range(3))
    for part in range(PARTS):
        mirrored = part % 2
        if mirrored:
            tool.start(world)
        results = _part(world, scale)
        for sums, result in zip((spent, machine, packets), results, strict=True):
            sums[mirrored] += result
        if mirrored:
            shown = _DROPPED.search(world.target.run("nft", "list", "table", "ip", "bench").stdout)
            if not shown or int(shown[1]) < 0.9 * results[2]:
                raise BenchError(f"of {results[2]} packets {shown[1] if shown else 'none'} arrived at the target")
            world.online.run("nft", "delete", "table", "netdev", "bench")
            world.target.run("nft", "delete", "table", "ip", "bench")
    return {
        "per_packet": 1e6 * (spent[1] / packets[1] - spent[0] / packets[0]),
        "machine_packet": 1e6 * (machine[1] / packets[1] - machine[0] / packets[0]),
        "without": 1e6 * spent[0] / packets[0],
    }


SCENARIOS = (
    Scenario(
        "floor",
        "floor",
        f"The kernel alone mirrors the packets of {CONNECTIONS} x {EACH_PER_S:,} requests/s",
        (
            Metric("per_packet", "added to the load's own processes, per packet", "µs"),
            Metric("machine_packet", "added to the machine's busy time, per packet", "µs"),
            Metric("without", "the load without it, per packet", "µs", "", headline=False),
        ),
        _run,
        baselines=frozenset({"kernel"}),
        daemons=False,
    ),
)
