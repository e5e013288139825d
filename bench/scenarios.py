"""All scenarios, in the order in which they are shown."""

from __future__ import annotations

from . import budget, counted, floor, idle, latency, logged
from .scenario import Scenario
from .tools import TOOLS

__all__ = ["SCENARIOS", "listing"]

MODULES = (counted, logged, idle, latency, budget, floor)
SCENARIOS: tuple[Scenario, ...] = tuple(scenario for module in MODULES for scenario in module.SCENARIOS)


def listing() -> str:
    """Return the names of scenarios and tools as text."""
    lines = ["scenarios (group: name, what it is)"]
    lines += [f"  {each.group}: {each.name}, {each.title}" for each in SCENARIOS]
    lines += ["tools"]
    lines += [f"  {tool.name}: {tool.title}{', absent: ' * bool(why := tool.absent())}{why}" for tool in TOOLS.values()]
    return "\n".join(lines)
