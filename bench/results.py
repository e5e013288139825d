"""The measurements of a run as a document: kept as JSON, and what the table and the report are made from."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .errors import BenchError
from .scenario import Metric, Sample, Scenario
from .summary import Summary, summarise
from .tools import Tool

__all__ = ["Measurement", "Results", "describe_machine"]

VERSION = 1


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one tool did under one load in one round."""

    scenario: str
    tool: str
    round: int
    values: Sample = field(default_factory=dict)
    error: str = ""
    """Why there are no values."""


@dataclass(slots=True)
class Shown:
    """What a document says about a scenario."""

    title: str
    group: str
    metrics: tuple[Metric, ...]


class Results:
    """Measurements, and what they are measurements of."""

    def __init__(self) -> None:
        self.machine: dict[str, Any] = {}
        self.tools: dict[str, dict[str, str]] = {}
        """Title, version and, if it is absent, why, by the name of the tool."""
        self.scenarios: dict[str, Shown] = {}
        self.measurements: list[Measurement] = []

    def describe(self, tools: Iterable[Tool], scenarios: Iterable[Scenario]) -> None:
        """Say which machine, tools and scenarios take part."""
        self.machine = describe_machine()
        for tool in tools:
            absent = tool.absent()
            version = "" if absent else tool.version()
            self.tools[tool.name] = {"title": tool.title, "version": version, "absent": absent}
        for scenario in scenarios:
            self.scenarios[scenario.name] = Shown(scenario.title, scenario.group, scenario.metrics)

    def replace(self, measured: set[tuple[str, str]]) -> None:
        """Forget earlier measurements of these pairs of scenario and tool."""
        self.measurements = [each for each in self.measurements if (each.scenario, each.tool) not in measured]

    def measured(self, scenario: str) -> list[str]:
        """Return the tools that were measured in a scenario, in the order of the tools."""
        found = {each.tool for each in self.measurements if each.scenario == scenario}
        return [tool for tool in self.tools if tool in found]

    def summary(self, scenario: str, tool: str, key: str) -> Summary | None:
        """Return what all rounds say about one number; None if none has it."""
        values = (each.values for each in self.measurements if (each.scenario, each.tool) == (scenario, tool))
        return summarise(sample[key] for sample in values if key in sample)

    def errors(self, scenario: str, tool: str) -> list[str]:
        """Return why rounds failed."""
        of_both = (each for each in self.measurements if (each.scenario, each.tool) == (scenario, tool))
        return [each.error for each in of_both if each.error]

    def write(self, path: Path) -> None:
        """Write the document."""
        document = {
            "version": VERSION,
            "machine": self.machine,
            "tools": self.tools,
            "scenarios": {name: asdict(shown) for name, shown in self.scenarios.items()},
            "measurements": [asdict(each) for each in self.measurements],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(document, indent=1) + "\n")
        partial.replace(path)

    @classmethod
    def read(cls, path: Path) -> Results:
        """Read a document; BenchError if there is none or it is another version's."""
        try:
            document = json.loads(path.read_text())
        except FileNotFoundError:
            raise BenchError(f"{path}: no results there yet: run the benchmark without --report-only first") from None
        except (OSError, ValueError) as error:
            raise BenchError(f"{path}: cannot be read: {error}") from None
        if document.get("version") != VERSION:
            raise BenchError(f"{path}: written by another version of the benchmark: remove it and measure again")
        results = cls()
        results.machine = document["machine"]
        results.tools = document["tools"]
        for name, shown in document["scenarios"].items():
            metrics = tuple(Metric(**metric) for metric in shown["metrics"])
            results.scenarios[name] = Shown(shown["title"], shown["group"], metrics)
        results.measurements = [Measurement(**each) for each in document["measurements"]]
        return results


def describe_machine() -> dict[str, Any]:
    """Return what the numbers depend on: processor, kernel, Python and the time."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "measured": time.strftime("%Y-%m-%d %H:%M %Z"),
    }
