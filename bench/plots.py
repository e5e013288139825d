"""Bar charts as inline SVG: groups of horizontal bars, one bar for each tool, with the range of the rounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from .summary import Summary

__all__ = ["Bar", "Group", "bar_chart", "nice_limit"]

WIDTH, LABEL, VALUE = 560, 136, 70
BAR, GAP, GROUP_GAP, HEAD, FOOT = 17, 4, 12, 8, 24
STEPS = {1.0: 4, 1.5: 3, 2.0: 4, 2.5: 5, 3.0: 3, 4.0: 4, 5.0: 5, 6.0: 3, 8.0: 4, 10.0: 4}
"""Where an axis may end, times a power of ten, and into how many parts it is divided then."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One tool's number."""

    tool: str
    label: str
    summary: Summary
    text: str
    """What stands beside the bar."""
    first_part: float = 0.0
    """How much of the bar is drawn solid, the rest paler; all of it if 0."""


@dataclass(frozen=True, slots=True)
class Group:
    """Bars that belong together; the name stands above them unless it is empty."""

    name: str
    bars: Sequence[Bar]


def nice_limit(value: float) -> float:
    """Return the least end of an axis that is not below a value; 1 for a value that is not positive."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in STEPS if step * power >= value * 0.999999)


def bar_chart(
    title: str, unit: str, groups: Sequence[Group], limit: float | None = None, mark: float | None = None
) -> str:
    """Return a chart; its bars have the class `bar TOOL`.

    `limit` is where the axis ends, else it is found; at `mark` there is a line.
    """
    limit = limit or nice_limit(max((bar.summary.high for group in groups for bar in group.bars), default=1.0))
    scale = (WIDTH - LABEL - VALUE) / limit
    parts, y = [], float(HEAD)
    for group in groups:
        if group.name:
            parts.append(f'<text class="group" x="0" y="{y + 11:.0f}">{escape(group.name)}</text>')
            y += 18
        for bar in group.bars:
            parts.append(_bar(bar, y, scale))
            y += BAR + GAP
        y += GROUP_GAP
    line = ""
    if mark is not None:
        line = f'<path class="mark" d="M{LABEL + mark * scale:.1f} {HEAD - 4}V{y - GROUP_GAP:.1f}"/>'
    body = line + "".join(parts)
    height = y - GROUP_GAP + FOOT
    described = f"{title}, {unit}" if unit else title
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(described)}">'
        f"{_axis(limit, scale, height - FOOT)}{body}</svg>"
    )


def _bar(bar: Bar, y: float, scale: float) -> str:
    summary, middle = bar.summary, y + BAR / 2
    width = max(1.0, summary.median * scale)
    solid = bar.first_part * scale if bar.first_part else width
    name = f'<text class="label" x="{LABEL - 8}" y="{middle + 4:.1f}">{escape(bar.label)}</text>'
    rectangles = f'<rect class="bar {bar.tool}" x="{LABEL}" y="{y:.1f}" width="{solid:.1f}" height="{BAR}" rx="2"/>'
    if solid < width:
        rectangles += (
            f'<rect class="bar pale {bar.tool}" x="{LABEL + solid:.1f}" y="{y:.1f}"'
            f' width="{width - solid:.1f}" height="{BAR}" rx="2"/>'
        )
    low, high = LABEL + summary.low * scale, LABEL + summary.high * scale
    end = LABEL + width
    if high - low > 1:
        rectangles += (
            f'<path class="range" d="M{low:.1f} {middle:.1f}H{high:.1f}'
            f'M{low:.1f} {middle - 3:.1f}v6M{high:.1f} {middle - 3:.1f}v6"/>'
        )
        end = max(end, high)
    value = f'<text class="value" x="{end + 6:.1f}" y="{middle + 4:.1f}">{escape(bar.text)}</text>'
    detail = f"{bar.label}: {bar.text}, rounds {summary.low:.4g} to {summary.high:.4g}"
    return f"<g><title>{escape(detail)}</title>{name}{rectangles}{value}</g>"


def _axis(limit: float, scale: float, bottom: float) -> str:
    lines = []
    ticks = STEPS.get(float(f"{limit:e}".split("e")[0]), 4)
    for index in range(ticks + 1):
        value = limit * index / ticks
        x = LABEL + value * scale
        lines.append(f'<path class="grid" d="M{x:.1f} {HEAD - 4}V{bottom:.1f}"/>')
        lines.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 15:.1f}">{value:,.4g}</text>')
    return "".join(lines)
