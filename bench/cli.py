"""The command line, and the order of the measurements."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.netns.hosts import ROOT
from tests.netns.servers import server_root

from . import report, scenarios
from .errors import BenchError
from .results import Measurement, Results
from .scenario import Scenario
from .table import format_number, markdown_table, text_table
from .tools import TOOLS, Tool
from .world import fresh_world

__all__ = ["main", "plan", "select_scenarios", "select_tools"]

QUICK_SCALE = 0.2
DESCRIPTION = """
Mirror the same loads with copytool, tcpcopy and goreplay, one after the other, in network namespaces of this machine,
and compare what arrives and what it costs. Needs root. docs/performance.md says what the numbers mean.
"""
EPILOGUE = """
environment: TCPCOPY_DIR, INTERCEPT_DIR: directory with the program or its install prefix; GOREPLAY: the program.
What is not named or not there is left out, and the results say so.
exit status: 0 all measured; 1 some measurements failed, the others are written; 2 wrong flag or missing program.
"""


def parse_arguments(words: Sequence[str]) -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=DESCRIPTION, epilog=EPILOGUE)
    add = parser.add_argument
    add("--rounds", type=int, default=0, help="how often each is measured (3; 1 with --quick)")
    add("--only", default="", metavar="A,B", help="scenarios or groups of them (all); --list names them")
    add("--tools", default="", metavar="A,B", help=f"tools (all but forward's): {', '.join(TOOLS)}")
    add("--quick", action="store_true", help="one short round of a few scenarios, to see that all of it works")
    add("--merge", action="store_true", help="keep earlier results of what is not measured now")
    add("--list", action="store_true", help="name scenarios and tools, and end")
    add("--report-only", action="store_true", help="make table and report from earlier results")
    add("--markdown", action="store_true", help="print the table as Markdown")
    add("--output", type=Path, default=ROOT / ".build/bench", metavar="DIR", help="where results go (.build/bench)")
    options = parser.parse_args(words)
    if options.rounds < 0:
        parser.error("--rounds: must be 1 or more")
    options.rounds = options.rounds or (1 if options.quick else 3)
    return options


def select_scenarios(only: str, quick: bool) -> list[Scenario]:
    """Return the scenarios that --only names, all if it names none; BenchError for a name that there is not."""
    every = scenarios.SCENARIOS
    wanted = [word.strip() for word in only.split(",") if word.strip()]
    for word in wanted:
        if not any(word in (each.name, each.group) for each in every):
            groups = ", ".join(dict.fromkeys(each.group for each in every))
            raise BenchError(f"--only: no scenario or group {word!r}; groups are {groups}; --list names all scenarios")
    chosen = [each for each in every if not wanted or each.name in wanted or each.group in wanted]
    return [each for each in chosen if each.quick or wanted] if quick else chosen


def select_tools(names: str) -> list[Tool]:
    """Return the tools that --tools names, all if it names none; BenchError for one that there is not."""
    wanted = [word.strip() for word in names.split(",") if word.strip()]
    for word in wanted:
        if word not in TOOLS:
            raise BenchError(f"--tools: no tool {word!r}; there are {', '.join(TOOLS)}")
    return [tool for name, tool in TOOLS.items() if name in wanted or (not wanted and not tool.is_fed)]


def plan(chosen: Sequence[Scenario], tools: Sequence[Tool], rounds: int) -> Iterator[tuple[int, Scenario, Tool]]:
    """Yield round, scenario and tool in the order in which they are measured: the tools take turns at being first."""
    for number in range(rounds):
        for scenario in chosen:
            part = [tool for tool in tools if scenario.includes(tool)]
            shift = number % len(part) if part else 0
            for tool in part[shift:] + part[:shift]:
                yield number + 1, scenario, tool


def check_host(chosen: Sequence[Scenario]) -> None:
    """Raise BenchError unless the benchmark can run here; make the servers' root file system if it is not there."""
    if os.geteuid() != 0:
        raise BenchError("needs root, for network namespaces and packet sockets: sudo make bench")
    for program, package in (("ip", "iproute2"), ("nft", "nftables"), ("ethtool", "ethtool")):
        if not shutil.which(program):
            raise BenchError(f"no program {program}: apt install {package}")
    if chosen and not server_root().is_dir():
        done = subprocess.run([ROOT / "scripts/servers-rootfs"], stdout=subprocess.DEVNULL, check=False)
        if done.returncode:
            raise BenchError("scripts/servers-rootfs failed, see above")


def measure(scenario: Scenario, tool: Tool, number: int, scale: float) -> Measurement:
    """Measure one tool under one load; what goes wrong is in the result."""
    try:
        with fresh_world() as world:
            return Measurement(scenario.name, tool.name, number, scenario.run(world, tool, scale))
    except (BenchError, OSError, subprocess.SubprocessError, pytest.fail.Exception) as error:
        output = getattr(error, "stderr", "") or ""
        return Measurement(scenario.name, tool.name, number, error=f"round {number}: {error} {output}".strip())


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def describe(scenario: Scenario, measurement: Measurement) -> str:
    """Return a measurement in one line."""
    if measurement.error:
        return f"FAILED: {measurement.error}"
    shown = [metric for metric in scenario.metrics if metric.headline and metric.key in measurement.values]
    return ", ".join(
        f"{metric.title} {format_number(measurement.values[metric.key])} {metric.unit}" for metric in shown
    )


def run(options: argparse.Namespace, results: Results, path: Path) -> int:
    """Measure what the options ask for, and write the results, also those of a run that is broken off."""
    chosen = select_scenarios(options.only, options.quick)
    tools = select_tools(options.tools)
    check_host(chosen)
    results.describe(tools, chosen)
    present = [tool for tool in tools if not results.tools[tool.name]["absent"]]
    for tool in tools:
        if tool not in present:
            say(f"bench: {tool.title} is absent: {results.tools[tool.name]['absent']}")
    todo = list(plan(chosen, present, options.rounds))
    results.replace({(scenario.name, tool.name) for _, scenario, tool in todo})
    failed = 0
    for index, (number, scenario, tool) in enumerate(todo, 1):
        started = time.monotonic()
        measurement = measure(scenario, tool, number, QUICK_SCALE if options.quick else 1)
        results.measurements.append(measurement)
        failed += bool(measurement.error)
        head = f"[{index}/{len(todo)}] {scenario.name}, {tool.title} ({time.monotonic() - started:.0f} s)"
        say(f"{head}: {describe(scenario, measurement)}")
        results.write(path)
    return failed


def main(words: Sequence[str] | None = None) -> int:
    """Run the benchmark; return its exit status."""
    options = parse_arguments(sys.argv[1:] if words is None else words)
    path = options.output / "results.json"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    failed = 0
    try:
        if options.list:
            print(scenarios.listing())
            return 0
        results = Results.read(path) if options.report_only or (options.merge and path.exists()) else Results()
        if not options.report_only:
            failed = run(options, results, path)
        page = options.output / "report.html"
        page.write_text(report.page(results))
    except BenchError as error:
        say(f"bench: {error}")
        return 2
    except KeyboardInterrupt:
        say("bench: broken off; what was measured is in the results, nothing else is left")
        return 130
    print(markdown_table(results) if options.markdown else text_table(results))
    say(f"bench: results in {path}, report in {page}")
    return 1 if failed else 0
