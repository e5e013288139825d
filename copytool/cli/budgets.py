"""The budgets, as lines for people: what is used of each limit."""

from __future__ import annotations

from typing import Any

__all__ = ["budget_lines"]

_BAR = 20
_UNITS = {"sessions": (1, ""), "percent": (1, " % of a CPU"), "bytes": (1 << 20, " MiB"), "bits/s": (1e6, " Mbit/s")}
"""What a figure is divided by, and what is written behind it."""


def budget_lines(budgets: dict[str, Any]) -> list[str]:
    """Return a line for each budget of a status document."""
    lines = [f"{name:<10} {_line(budget)}" for name, budget in budgets.items()]
    return [f"  {'' if number else 'budgets':<12} {line}" for number, line in enumerate(lines)]


def _line(budget: dict[str, Any]) -> str:
    divisor, unit = _UNITS[budget["unit"]]
    used, limit = budget["used"], budget["limit"]
    shed = f", {budget['shed']:,} shed" if budget["shed"] else ""
    if limit is None:
        return f"{_figure(used / divisor)}{unit}, no limit{shed}"
    part = used / limit
    bar = "#" * min(round(_BAR * part), _BAR)
    return f"{_figure(used / divisor)} of {_figure(limit / divisor)}{unit} [{bar:<{_BAR}}] {part:.0%}{shed}"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) or value >= 100 else f"{value:,.1f}"
