"""What a scenario is, and the measurement of daemons that most of them make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .procstat import Cpu, cpu_of, machine_busy_s, memory_of
from .tools import Running, Tool
from .world import World

__all__ = ["ARRIVALS", "MEMORY", "Meter", "Metric", "Reading", "Sample", "Scenario", "cpu_metrics"]

Sample = dict[str, float]
"""What one measurement of one tool found, by the key of the metric."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One number that a scenario finds."""

    key: str
    title: str
    unit: str
    better: str = "low"
    """`low` or `high`; empty if it is neither good nor bad."""
    headline: bool = True
    """Whether the table and the plots show it; the JSON file has all."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One load, and what is measured under it."""

    name: str
    group: str
    title: str
    metrics: tuple[Metric, ...]
    run: Callable[[World, Tool, float], Sample]
    """Puts the load on a fresh world that the tool mirrors; the last argument scales its length, 1 in a full run."""
    is_http: bool = True
    """Whether a tool that mirrors nothing but HTTP can take part."""
    baselines: frozenset[str] = frozenset()
    """Tools that are no daemons and take part: `none`, `kernel`."""
    daemons: bool = True
    """Whether mirrors that are daemons take part."""
    feeds: bool = False
    """Whether they do, too, if their copy is not on online."""
    quick: bool = True
    """Whether a quick run includes it."""

    def includes(self, tool: Tool) -> bool:
        """Return whether the tool takes part."""
        if not tool.is_daemon:
            return tool.name in self.baselines
        return self.daemons and (self.is_http or not tool.only_http) and (self.feeds or not tool.is_fed)


class Meter:
    """The processor time that a mirror's daemons and the machine take from now on."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._online = cpu_of(running.online)
        self._assistant = cpu_of(running.assistant)
        self._copy = cpu_of(running.copy)
        self._machine_s = machine_busy_s()

    def read(self) -> Reading:
        """Return what they have taken since."""
        return Reading(
            cpu_of(self._running.online) - self._online,
            cpu_of(self._running.assistant) - self._assistant,
            machine_busy_s() - self._machine_s,
            cpu_of(self._running.copy) - self._copy if self._running.copy else None,
        )

    def peaks(self) -> Sample:
        """Return the most memory that the daemons had resident."""
        return {
            "rss_mb": memory_of(self._running.online) / 1e6,
            "intercept_rss_mb": memory_of(self._running.assistant) / 1e6,
        }


@dataclass(frozen=True, slots=True)
class Reading:
    """What a meter has read, in seconds."""

    online: Cpu
    assistant: Cpu
    machine_s: float
    copy: Cpu | None = None
    """Of a copy that is not on online."""

    def per(self, count: float, unit_s: float = 1e-6) -> Sample:
        """Return the times for each of `count` things, by default in microseconds; nothing if there are none."""
        if count <= 0:
            return {}
        scale = 1 / unit_s / count
        return {
            "cpu": self.online.total_s * scale,
            "cpu_user": self.online.user_s * scale,
            "cpu_system": self.online.system_s * scale,
            "intercept_cpu": self.assistant.total_s * scale,
            **({} if self.copy is None else {"copy_cpu": self.copy.total_s * scale}),
            "machine": self.machine_s * scale,
        }


def cpu_metrics(unit: str, what: str) -> tuple[Metric, ...]:
    """Return the metrics that Reading.per() gives."""
    return (
        Metric("cpu", f"CPU on online per {what}", unit),
        Metric("cpu_user", "of it user", unit, headline=False),
        Metric("cpu_system", "of it system", unit, headline=False),
        Metric("intercept_cpu", f"intercept's CPU per {what}", unit),
        Metric("copy_cpu", f"copy's CPU on the assistant per {what}", unit),
        Metric("machine", f"busy time of the whole machine per {what}", unit, headline=False),
    )


MEMORY = (
    Metric("rss_mb", "peak memory on online", "MB"),
    Metric("intercept_rss_mb", "peak memory of intercept", "MB", headline=False),
)
ARRIVALS = (
    Metric("at_end", "mirrored at end", "%", "high"),
    Metric("late", "3 s later", "%", "high"),
)
