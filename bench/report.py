"""The results as one HTML page that needs nothing else."""

from __future__ import annotations

import itertools
from html import escape
from pathlib import Path

from .plots import Bar, Group, bar_chart
from .results import Results
from .scenario import Metric
from .table import cell, format_number, format_share, machine_line

__all__ = ["page"]

STYLE = Path(__file__).with_name("report.css")
REFERENCE = "tcpcopy"
OVERVIEW_KEY = "cpu"
GROUPS = {
    "keepalive": ("HTTP keep-alive", "Requests at a fixed rate on connections that stay open."),
    "connections": ("New connections", "Each request opens a connection of its own and closes it."),
    "redis": ("Redis", "Small commands, each sent as soon as the last is answered."),
    "upload": ("Uploads", "Bulk data, as fast as the client can send it. Exact means the same bytes and hash."),
    "loss": ("Loss on the way to the target", "The target drops packets of mirrored sessions at random."),
    "idle": ("Idle connections", "What a connection on which nothing happens costs."),
    "closed-loop": ("What the service loses", "As many requests as go: the mirror takes its processor time from them."),
    "lag": ("How far behind", "From a request's arrival at online to its arrival at the target."),
    "floor": ("The kernel's own price", "nftables duplicates and rewrites the packets; no daemon takes part."),
}
"""Heading and what it is, by group; in the order of the page."""
INTRODUCTION = (
    "Bars are medians, the thin lines reach from the lowest to the highest round. In charts of processor time the solid"
    " part is user time, the pale part system time."
)


def page(results: Results) -> str:
    """Return the whole page."""
    groups = dict.fromkeys(shown.group for shown in results.scenarios.values())
    ordered = [group for group in (*GROUPS, *groups) if group in groups]
    sections = "".join(section(results, group) for group in dict.fromkeys(ordered))
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>copytool benchmark</title><style>
{STYLE.read_text()}</style></head><body><main>
<h1>copytool benchmark</h1><p>{escape(machine_line(results))}</p>
{legend(results)}<p>{INTRODUCTION}</p>
{overview(results)}{sections}
<footer>Made by <code>make bench</code>; docs/performance.md says how each number is measured.</footer>
</main></body></html>
"""


def legend(results: Results) -> str:
    """Return the tools with their colours and versions, and why some are absent."""
    measured = {each.tool for each in results.measurements}
    entries = []
    for name, tool in results.tools.items():
        if name not in measured and not tool["absent"]:
            continue
        remark = f"absent: {tool['absent']}" if tool["absent"] and name not in measured else tool["version"]
        entries.append(
            f'<div><i class="{escape(name)}"></i>{escape(tool["title"])} <small>{escape(remark)}</small></div>'
        )
    return f'<div class="legend">{"".join(entries)}</div>'


def overview(results: Results) -> str:
    """Return a chart of what each load costs in multiples of tcpcopy's processor time; empty if there is none of it."""
    groups = []
    for name, shown in results.scenarios.items():
        reference = results.summary(name, REFERENCE, OVERVIEW_KEY)
        bars = []
        for tool in results.measured(name):
            summary = results.summary(name, tool, OVERVIEW_KEY)
            if tool != REFERENCE and summary and reference and reference.median:
                scaled = summary.divided_by(reference.median)
                bars.append(Bar(tool, results.tools[tool]["title"], scaled, f"{format_number(scaled.median)}x"))
        if bars:
            groups.append(Group(shown.title, bars))
    if not groups:
        return ""
    chart = bar_chart("CPU on online, times tcpcopy's", "", groups, mark=1.0)
    return (
        "<section><h2>Price at a glance</h2><p>CPU on the online host for the same load, as a multiple of tcpcopy's;"
        " the line marks tcpcopy.</p>"
        f'<div class="grid wide"><div class="card">{chart}</div></div></section>'
    )


def section(results: Results, group: str) -> str:
    """Return a group's charts, and its tables folded away; empty if nothing in it was measured."""
    names = [name for name, shown in results.scenarios.items() if shown.group == group and results.measured(name)]
    if not names:
        return ""
    heading, what = GROUPS.get(group, (group, ""))
    metrics = dict.fromkeys(metric for name in names for metric in results.scenarios[name].metrics if metric.headline)
    cards = "".join(card(results, names, metric) for metric in metrics)
    tables = "".join(full_table(results, name) for name in names)
    return (
        f'<section><h2>{escape(heading)}</h2><p>{escape(what)}</p><div class="grid">{cards}</div>'
        f'<details><summary>All numbers</summary><div class="scroll">{tables}</div></details></section>'
    )


def card(results: Results, names: list[str], metric: Metric) -> str:
    """Return the chart of one number in all scenarios of a group; empty if none has it."""
    groups = []
    common = common_words([results.scenarios[name].title for name in names])
    for name in names:
        title = results.scenarios[name].title[len(common) :] if len(names) > 1 else ""
        bars = [bar for tool in results.measured(name) if (bar := _bar(results, name, tool, metric))]
        if bars:
            groups.append(Group(title, bars))
    if not groups:
        return ""
    share = metric.unit == "%" and metric.better == "high"
    highest = max(bar.summary.high for group in groups for bar in group.bars)
    chart = bar_chart(metric.title, metric.unit, groups, 100.0 if share and highest <= 100 else None)
    better = {"low": "lower is better", "high": "higher is better"}.get(metric.better, "")
    detail = ", ".join(text for text in (metric.unit, better) if text)
    return f'<div class="card"><h3>{escape(metric.title)} <span>{escape(detail)}</span></h3>{chart}</div>'


def common_words(titles: list[str]) -> str:
    """Return what all titles begin with, up to and with a comma and a space; empty if there is no such thing."""
    parts = [title.split(", ")[:-1] for title in titles]
    shared = list(itertools.takewhile(lambda words: len(set(words)) == 1, zip(*parts, strict=False)))
    return "".join(f"{words[0]}, " for words in shared)


def _bar(results: Results, name: str, tool: str, metric: Metric) -> Bar | None:
    summary = results.summary(name, tool, metric.key)
    if summary is None:
        return None
    share = metric.unit == "%" and metric.better == "high"
    text = format_share(summary.median) if share else format_number(summary.median)
    user = results.summary(name, tool, f"{metric.key}_user")
    return Bar(tool, results.tools[tool]["title"], summary, text, min(user.median, summary.median) if user else 0.0)


def full_table(results: Results, name: str) -> str:
    """Return all numbers of a scenario, and what failed."""
    shown = results.scenarios[name]
    tools = results.measured(name)
    heading = "".join(f"<th>{escape(results.tools[tool]['title'])}</th>" for tool in tools)
    rows = []
    for metric in shown.metrics:
        summaries = {tool: results.summary(name, tool, metric.key) for tool in tools}
        if any(summaries.values()):
            reference = summaries.get(REFERENCE)
            cells = "".join(
                f"<td>{escape(cell(metric, summary, reference if tool != REFERENCE else None))}</td>"
                for tool, summary in summaries.items()
            )
            unit = f", {metric.unit}" if metric.unit else ""
            rows.append(f"<tr><td>{escape(metric.title + unit)}</td>{cells}</tr>")
    errors = "".join(
        f'<p class="error">{escape(results.tools[tool]["title"])}: {escape(error)}</p>'
        for tool in tools
        for error in results.errors(name, tool)
    )
    head = f"<caption>{escape(shown.title)}</caption><tr><th></th>{heading}</tr>"
    return f"<table>{head}{''.join(rows)}</table>{errors}"
