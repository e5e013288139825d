"""The results as text: a block for each scenario, a column for each number, a line for each tool."""

from __future__ import annotations

from .results import Results
from .scenario import Metric
from .summary import Summary, ratio

__all__ = ["cell", "format_number", "format_share", "machine_line", "markdown_table", "text_table"]

REFERENCES = ("tcpcopy", "compiled")
"""What others are compared with: the first of these that was measured."""


def format_number(value: float) -> str:
    """Return a number with three significant digits, thousands set apart by commas."""
    if value == 0:
        return "0"
    size = abs(value)
    digits = 0 if size >= 99.95 else 1 if size >= 9.995 else 2 if size >= 0.9995 else 3
    return f"{value:,.{digits}f}"


def format_share(value: float) -> str:
    """Return a per cent value so that only what is whole is shown as 100."""
    if value >= 100:
        return format_number(value)
    return f"{min(value, 99.99):.2f}" if value > 99 else f"{value:.1f}"


def cell(metric: Metric, summary: Summary | None, reference: Summary | None) -> str:
    """Return the median, how far the rounds lie from it, and how it compares with the reference."""
    if summary is None:
        return "-"
    format_ = format_share if metric.unit == "%" and metric.better == "high" else format_number
    text = format_(summary.median)
    if summary.rounds > 1 and summary.high > summary.low:
        text += f" [{format_(summary.low)}..{format_(summary.high)}]"
    times = ratio(summary, reference)
    if times is not None and summary is not reference and metric.better == "low":
        text += f" ({times:.2g}x)" if times < 9.95 else f" ({times:.0f}x)"
    return text


def reference_of(results: Results) -> str:
    """Return the tool that others are compared with; "" if it was not measured."""
    measured = {tool for name in results.scenarios for tool in results.measured(name)}
    return next((tool for tool in REFERENCES if tool in measured), "")


def scenario_rows(results: Results, name: str) -> list[list[str]]:
    """Return a scenario's table: the heading, then a row for each tool; without columns in which nothing stands."""
    shown = [metric for metric in results.scenarios[name].metrics if metric.headline]
    rows = []
    reference_tool = reference_of(results)
    for tool in results.measured(name):
        if not any(results.summary(name, tool, metric.key) for metric in shown):
            continue
        cells = []
        for metric in shown:
            reference = results.summary(name, reference_tool, metric.key) if tool != reference_tool else None
            cells.append(cell(metric, results.summary(name, tool, metric.key), reference))
        rows.append([results.tools[tool]["title"], *cells])
    heading = ["", *(f"{metric.title}, {metric.unit}" if metric.unit else metric.title for metric in shown)]
    used = [index for index in range(len(heading)) if not index or any(row[index] != "-" for row in rows)]
    return [[row[index] for index in used] for row in [heading, *rows]]


def text_table(results: Results) -> str:
    """Return all results as text for a terminal."""
    lines = [machine_line(results), ""]
    for known in results.tools.values():
        state = f"absent: {known['absent']}" if known["absent"] else known["version"] or "present"
        lines.append(f"  {known['title']:<20} {state}")
    for name, shown in results.scenarios.items():
        if not results.measured(name):
            continue
        rows = scenario_rows(results, name)
        rows = rows if len(rows) > 1 else [["no measurement succeeded"]]
        widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
        lines += ["", f"{shown.title} ({name})"]
        for row in rows:
            first, *others = (f"{text:<{width}}" for text, width in zip(row, widths, strict=True))
            lines.append("  ".join(["", first, *others]).rstrip())
        for tool in results.measured(name):
            lines += [f"  {results.tools[tool]['title']}: {error}" for error in results.errors(name, tool)]
    reference = reference_of(results)
    times = f" (times the median of {results.tools[reference]['title']})" if reference else ""
    lines += ["", f"Medians [lowest..highest of the rounds]{times}."]
    return "\n".join(lines)


def markdown_table(results: Results) -> str:
    """Return all results as Markdown."""
    lines = [machine_line(results)]
    for name, shown in results.scenarios.items():
        if not results.measured(name):
            continue
        heading, *rows = scenario_rows(results, name)
        lines += ["", f"**{shown.title}**", "", "| " + " | ".join(heading) + " |", "|---" * len(heading) + "|"]
        lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def machine_line(results: Results) -> str:
    """Return the machine in one line."""
    machine = results.machine
    return (
        f"{machine['processor']}, {machine['cores']} cores, Linux {machine['kernel']}, Python {machine['python']},"
        f" {machine['measured']}"
    )
