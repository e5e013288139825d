"""`copytool status`, the same figures as log lines for SIGUSR1, and the list of ended sessions."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import ConfigError, HostError
from ..io.control import ask_daemon, default_control_socket, default_sockets
from ..link.frames import plain
from ..mirror.histogram import quantile
from ..mirror.outcome import OUTCOMES
from .budgets import budget_lines

__all__ = [
    "as_lines",
    "duration_lines",
    "format_head",
    "format_sessions",
    "format_status",
    "format_steering",
    "print_status",
    "print_text",
    "status_paths",
]

_SESSION_COLUMNS = (
    ("ended", "<"), ("seconds", ">"), ("client", "<"), ("mirror", "<"), ("target", "<"), ("turns", ">"),
    ("delivered", ">"), ("undelivered", ">"), ("response", ">"), ("outcome", "<"),
)  # fmt: skip
_MAX_SHOWN = 80
_MAX_LINE = 2000


def print_status(values: dict[str, Any]) -> None:
    """Print the status of the daemons that `values` (of parse_arguments) selects."""
    if values["sessions"] is not None:
        _print_sessions(values)
        return
    paths = status_paths(values)
    if values["json"] and len(paths) > 1:
        raise ConfigError("--json: several daemons run here; say which, like `copytool status copy --json`")
    for index, path in enumerate(paths):
        status = ask_daemon(path, "status")
        if values["json"]:
            print_text(json.dumps(status, indent=2))
        else:
            print_text("\n".join([""] * bool(index) + as_lines(format_status, status)))


def status_paths(values: dict[str, Any]) -> list[Path]:
    """Return the control sockets of the daemons that are meant; raises HostError if none runs."""
    if values["control_socket"]:
        return [Path(values["control_socket"])]
    if values["role"]:
        return [default_control_socket(values["role"])]
    paths = list(default_sockets().values())
    if not paths:
        raise HostError("no copytool daemon runs on this host with its default control socket (--control-socket)")
    return paths


def _print_sessions(values: dict[str, Any]) -> None:
    path = Path(values["control_socket"] or default_control_socket(values["role"] or "copy"))
    answer = ask_daemon(path, "sessions", count=values["sessions"])
    if values["json"]:
        print_text(json.dumps(answer, indent=2))
    else:
        print_text("\n".join(as_lines(format_sessions, answer)))


def print_text(text: str) -> None:
    """Print to stdout; raises HostError if that cannot be written to."""
    try:
        print(text, flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter fails again at its end
        if isinstance(error, BrokenPipeError):
            raise
        raise HostError(f"cannot write to stdout: {error.strerror}") from None


def as_lines(form: Callable[..., list[str]], *arguments: Any) -> list[str]:
    """Return the lines that `form` makes of what a daemon answered; raises HostError if it makes none.

    The answer may be another version's, or that of a program which is no copytool at all; nothing in it steers the
    terminal.
    """
    try:
        lines = form(*arguments)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise HostError(
            f"the daemon's answer makes no sense here ({type(error).__name__}: {plain(error, _MAX_SHOWN)});"
            " has it the same version of copytool?"
        ) from None
    return [plain(line, _MAX_LINE) for line in lines]


def format_status(status: dict[str, Any]) -> list[str]:
    """Return a status document as lines for people."""
    lines = format_head(status)
    lines += _LINES[status["role"]](status)
    capture = status["capture"]
    lines.append(f"  capture      {capture['packets']:,} packets, {capture['drops']:,} dropped by the kernel")
    lines += map(_worker_line, status.get("workers", []))
    if status["internal_errors"]:
        lines.append(f"  INTERNAL     {status['internal_errors']:,} errors; see the log and report them")
    return lines


def format_head(status: dict[str, Any]) -> list[str]:
    """Return who it is, its links, what it mirrors, and what is wrong now."""
    lines = [f"{status['role']}, version {status['version']}, {status['flavour']}"]
    for link in status["link"]:
        networks = ", ".join(link.get("client_networks", []))
        detail = link.get("reason") or (f"for {networks}" if networks else "")
        how = "" if link["state"] == "closed" else "encrypted" if link["encrypted"] else "not encrypted"
        lines.append(" ".join(filter(None, ["  link        ", link["peer"], link["state"], how, detail])))
    if status.get("dry_run"):
        lines.append("  DRY RUN      nothing is sent")
    elif not status["link"]:
        lines.append("  link         none: no copy is connected")
    lines += _feed_lines(status.get("feed", {}))
    if certificate := status["certificate"]:
        until = datetime.fromisoformat(certificate["not_after"])
        lines.append(f"  certificate  {certificate['subject']}, valid until {until:%Y-%m-%d}: {_days(certificate)}")
    if status["role"] == "copy":
        lines.append(f"  mirrors      {format_steering(status['steering'])}")
        lines += [f"  UNREACHABLE  {target}: {reason}" for target, reason in status["send"]["unreachable"].items()]
        lines += [f"  IMBALANCE    {text}" for text in status["imbalance"]]
    problems = status["capture"]["problems"]
    return lines + [f"  NO CAPTURE   on {name or 'all interfaces'}: {why}" for name, why in problems.items()]


def _feed_lines(feed: dict[str, Any]) -> list[str]:
    """Return where copy's packets come from, if that is not this host's own clients."""
    kind = feed.get("kind", "own")
    if kind == "own":
        return []
    if kind != "forward":
        empty = f", {feed['empty_packets']:,} packets with nothing inside" if feed.get("empty_packets") else ""
        return [f"  feed         {kind}{empty}"]
    lines = [f"  feed         forward, {feed['lost_packets']:,} packets lost on the way"]
    for link in feed["links"]:
        how = "encrypted" if link["encrypted"] else "not encrypted"
        services = ", ".join(link["services"])
        lines.append(f"               from {link['peer']} {link['state']} {how}: services {services}")
    return lines if feed["links"] else [f"{lines[0]}; NONE is connected"]


def _days(certificate: dict[str, Any]) -> str:
    left = certificate["days_left"]
    return f"{left:,} days" if left >= 0 else "EXPIRED, no new link can be established"


def format_steering(steering: dict[str, Any]) -> str:
    """Return in one line what is mirrored of the connections that come now."""
    if steering["paused"]:
        return "paused: new connections are not mirrored"
    share, goal, copies = steering["ratio_percent"], steering["ratio_goal_percent"], steering["copies"]
    text = f"{share:.3g} % of new connections" + ("" if share == goal else f", on the way to {goal:.3g} %")
    text = text if copies == 1 else f"{text}, {copies:,} times each"
    admitted = steering.get("admitted_percent", 100)  # each of several workers has its own
    return text if admitted == 100 else f"{text}; the budgets admit {admitted:.3g} % of these"


def _copy_lines(status: dict[str, Any]) -> list[str]:
    sessions, size, mirror = status["sessions"], status["bytes"], status["mirror"]
    lines = [f"  sessions     {sessions['seen']:,} seen"]
    for outcome, count in sessions["outcomes"].items():
        if count or outcome in ("mirrored", "active"):
            lines.append(f"    {count:>12,}  {outcome}: {OUTCOMES.get(outcome, '')}")
    ignored = sum(size["ignored"].values()) + size["discarded"]
    undelivered = sum(size["undelivered"].values())
    lines += [
        f"  from clients {size['captured']:,} bytes: {size['accepted']:,} taken, {size['duplicate']:,} repeated, "
        f"{ignored:,} of sessions not mirrored, {size['held']:,} waiting for a missing piece",
        f"  to target    {size['queued']:,} bytes: {size['delivered']:,} acknowledged, {size['buffered']:,} under way, "
        f"{undelivered:,} not delivered",
        f"  sent         {mirror['packets_sent']:,} packets, {mirror['retransmissions']:,} retransmissions, "
        f"{sum(status['send']['errors'].values()):,} errors",
        f"  turns        {mirror['turns_answered']:,} answered alike, {mirror['turns_quiet']:,} by silence, "
        f"{mirror['turns_held']:,} by hold limit",
    ]
    return lines + duration_lines(status["lag"], status["answer_time"]) + budget_lines(status["budgets"])


def duration_lines(lag: dict[str, Any], answer_time: dict[str, Any]) -> list[str]:
    """Return the histograms as lines for people, those that are not empty."""
    return [
        *_duration_line("lag", lag, "from capture to release to the target"),
        *_duration_line("answers", answer_time, "until the target begins to answer"),
    ]


def _duration_line(title: str, histogram: dict[str, Any], what: str) -> list[str]:
    if not histogram["count"]:
        return []
    half, most = (_milliseconds(quantile(histogram, share)) for share in (0.5, 0.99))
    return [f"  {title:<12} {half} for half of them, {most} for 99 %: {what}"]


def _milliseconds(bound_s: float) -> str:
    return "over 26 s" if bound_s == float("inf") else f"under {1000 * bound_s:,.3g} ms"


def _worker_line(worker: dict[str, Any]) -> str:
    """Return what one of several workers has done of the sums above, or why its figures are missing from them."""
    who = f"worker {worker['worker']}"
    again = f", started again {worker['restarts']:,} times" if worker["restarts"] else ""
    if worker["state"] != "running":
        return f"  NO FIGURES   of {who} (pid {worker['pid'] or 'none'}){again}: {worker['state']}"
    admitted = worker["admitted_percent"]
    shed = "" if admitted == 100 else f", its budgets admit {admitted:.3g} %"
    return (
        f"  {who:<12} pid {worker['pid']}: {worker['sessions']:,} sessions, {worker['packets']:,} packets,"
        f" {worker['drops']:,} dropped, {worker['cpu_s']:,.1f} s of CPU{again}{shed}"
    )


def format_sessions(answer: dict[str, Any]) -> list[str]:
    """Return the list of ended sessions as an aligned table for people, newest last."""
    sessions = answer["sessions"]
    rows = [[title for title, _ in _SESSION_COLUMNS], *map(_session_cells, sessions)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row, reason in zip(rows, ["reason", *(session["reason"] for session in sessions)], strict=True):
        cells = zip(row, _SESSION_COLUMNS, widths, strict=True)
        lines.append("  ".join([*(f"{text:{align}{width}}" for text, (_, align), width in cells), reason]).rstrip())
    lines.append(f"{len(sessions):,} of {answer['ended']:,} sessions that ended; local time, sizes in bytes")
    lines += [
        f"NO ANSWER from worker {number}: its sessions are missing" for number in answer.get("silent_workers", [])
    ]
    return lines


def _session_cells(session: dict[str, Any]) -> list[str]:
    return [
        f"{datetime.fromisoformat(session['ended_at']).astimezone():%Y-%m-%d %H:%M:%S}",
        f"{session['duration_s']:,.3f}",
        session["client"][:_MAX_SHOWN],
        session["mirror"][:_MAX_SHOWN],
        session["target"][:_MAX_SHOWN],
        f"{session['turns']:,}",
        f"{session['delivered_bytes']:,}",
        f"{session['undelivered_bytes']:,}",
        f"{session['response_bytes']:,}",
        session["outcome"][:_MAX_SHOWN],
    ]


def _intercept_lines(status: dict[str, Any]) -> list[str]:
    counters = dict(status["responses"])
    lines = [f"  responses    {counters.pop('packets'):,} packets, reported in {counters.pop('records'):,} records"]
    lines += [f"    {count:>12,}  {reason}" for reason, count in counters.items() if count]
    if status["refused_links"]:
        lines.append(f"  refused      {status['refused_links']:,} link connections")
    if status["no_descriptor_left"]:
        lines.append(f"  NO DESCRIPTOR left for a connection, {status['no_descriptor_left']:,} times")
    return lines


def _forward_lines(status: dict[str, Any]) -> list[str]:
    forwarded = status["forwarded"]
    lines = [f"  forwarded    {forwarded['packets']:,} packets"]
    for why, count in forwarded["dropped"].items():
        if count:
            lines.append(f"    {count:>12,}  dropped: {_DROPPED.get(why, why)}")
    lines.append(f"  waiting      {forwarded['waiting_bytes']:,} of {forwarded['buffer_bytes']:,} bytes")
    return lines


_DROPPED = {"no_link": "there was no link to copy", "slow_link": "the link did not keep up"}
_LINES = {"copy": _copy_lines, "intercept": _intercept_lines, "forward": _forward_lines}
