"""`copytool status --watch`: what the daemons do now, again and again."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from ..errors import HostError
from ..io.control import ask_daemon
from .budgets import budget_lines
from .status import as_lines, duration_lines, format_head, print_text

__all__ = ["Figures", "watch"]

_CLEAR = "\x1b[H\x1b[2J\x1b[3J"

Document = dict[str, Any]


def watch(paths: Sequence[Path], interval_s: float) -> NoReturn:
    """Show what the daemons on these control sockets do, until interrupted."""
    figures = [Figures(path) for path in paths]
    begin = _CLEAR if sys.stdout.isatty() else ""
    while True:
        lines = [f"{time.strftime('%H:%M:%S')}, every {interval_s:g} s; Ctrl-C ends"]
        for one in figures:
            lines += ["", *one.lines(time.monotonic())]
        print_text(begin + "\n".join(lines) + ("" if begin else "\n"))
        time.sleep(interval_s)


class Figures:
    """One daemon's figures, and what changed since they were shown last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before: Document = {}
        self._asked_at = 0.0

    def lines(self, now: float) -> list[str]:
        """Ask the daemon; return what to show, also if it does not answer."""
        try:
            status = ask_daemon(self._path, "status")
        except HostError as error:
            self._before = {}
            return [f"NO ANSWER    {error}"]
        try:
            shown = as_lines(self._view, status, now)
        except HostError as error:
            self._before = {}
            return [f"NO FIGURES   {error}"]
        self._before, self._asked_at = status, now
        return shown

    def _view(self, status: Document, now: float) -> list[str]:
        if self._before and _went_back(status, self._before):
            self._before = {}
        elapsed_s = now - self._asked_at if self._before else 0.0
        return format_view(status, self._before or status, elapsed_s)


def format_view(status: Document, before: Document, elapsed_s: float) -> list[str]:
    """Return two status documents of a daemon, `elapsed_s` seconds apart, as lines for people; 0 s: no rates yet."""
    rows = _ROWS[status["role"]](status, before)
    capture, captured = status["capture"], before["capture"]
    rows += [
        ("captured packets", capture["packets"], captured["packets"]),
        ("dropped by the kernel", capture["drops"], captured["drops"]),
    ]
    lines = [*format_head(status), f"  {'':<24}{'a second':>14}{'in all':>18}"]
    for title, total, total_before in rows:
        rate = f"{(total - total_before) / elapsed_s:,.0f}" if elapsed_s > 0 else "-"
        lines.append(f"  {title:<24}{rate:>14}{total:>18,}")
    if status["role"] == "copy":
        keys = ("lag", "answer_time")
        lines += duration_lines(*(_since(status[key], before[key]) if elapsed_s > 0 else status[key] for key in keys))
        active = status["sessions"]["outcomes"]["active"]
        lines.append(f"  now          sessions open: {active:,}; bytes under way: {status['bytes']['buffered']:,}")
        lines += budget_lines(status["budgets"])
    return lines


def _copy_rows(status: Document, before: Document) -> list[tuple[str, int, int]]:
    turns = [f"turns_{how}" for how in ("answered", "quiet", "held")]
    rows = [
        ("sessions", status["sessions"]["seen"], before["sessions"]["seen"]),
        (
            "turns",
            sum(status["mirror"][key] for key in turns),
            sum(before["mirror"][key] for key in turns),
        ),
        ("bytes from clients", status["bytes"]["captured"], before["bytes"]["captured"]),
        ("bytes to targets", status["bytes"]["delivered"], before["bytes"]["delivered"]),
        ("packets to targets", status["mirror"]["packets_sent"], before["mirror"]["packets_sent"]),
        ("retransmissions", status["mirror"]["retransmissions"], before["mirror"]["retransmissions"]),
    ]
    former = before["sessions"]["outcomes"]
    for outcome, count in status["sessions"]["outcomes"].items():
        if outcome != "active" and (count or outcome == "mirrored"):
            rows.append((f"  {outcome}", count, former.get(outcome, 0)))
    return rows


def _intercept_rows(status: Document, before: Document) -> list[tuple[str, int, int]]:
    former = before["responses"]
    return [(key, count, former.get(key, 0)) for key, count in status["responses"].items() if count or key == "records"]


def _forward_rows(status: Document, before: Document) -> list[tuple[str, int, int]]:
    now, former = status["forwarded"], before["forwarded"]
    rows = [("forwarded packets", now["packets"], former["packets"])]
    return rows + [(f"  dropped: {why}", count, former["dropped"].get(why, 0)) for why, count in now["dropped"].items()]


_ROWS = {"copy": _copy_rows, "intercept": _intercept_rows, "forward": _forward_rows}


def _since(histogram: Document, before: Document) -> Document:
    """Return what a histogram has counted since `before`."""
    buckets = {bound: count - before["buckets"].get(bound, 0) for bound, count in histogram["buckets"].items()}
    return {"count": histogram["count"] - before["count"], "buckets": buckets}


def _went_back(status: Document, before: Document) -> bool:
    """Return whether counters are lower than before: the daemon, or a worker, was started again or does not answer."""
    if status["capture"]["packets"] < before["capture"]["packets"]:
        return True
    workers = [worker["state"] == "running" for worker in status.get("workers", [])]
    return workers != [worker["state"] == "running" for worker in before.get("workers", [])] or (
        status["role"] == "copy" and status["lag"]["count"] < before["lag"]["count"]
    )
