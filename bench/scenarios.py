"""All scenarios, in the order in which they are shown."""

from __future__ import annotations

from . import counted
from .scenario import Scenario
from .tools import TOOLS

__all__ = ["SCENARIOS", "listing"]

SCENARIOS: tuple[Scenario, ...] = (*counted.SCENARIOS,)


def listing() -> str:
    """Return the names of scenarios and tools as text."""
    lines = ["scenarios (group: name, what it is)"]
    lines += [f"  {each.group}: {each.name}, {each.title}" for each in SCENARIOS]
    lines += ["tools"]
    lines += [f"  {tool.name}: {tool.title}{', absent: ' * bool(why := tool.absent())}{why}" for tool in TOOLS.values()]
    return "\n".join(lines)
