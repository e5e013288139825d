"""The commands that change what a running copy mirrors: pause, resume, ratio, copies, drain, and log-level."""

from __future__ import annotations

import argparse
import re
import time
from pathlib import Path
from typing import Any

from ..errors import ConfigError, HostError
from ..io.control import ROLES, ask_daemon, default_control_socket
from ..io.log_level import LOG_LEVELS
from ..io.steering_requests import MAX_COPIES, MAX_RAMP_S
from . import values as parsers
from .status import as_lines, format_steering, print_text

__all__ = [
    "CONTROL_COMMANDS",
    "add_control_commands",
    "add_control_socket",
    "parse_duration",
    "parse_percent",
    "run_control",
]

CONTROL_COMMANDS = {
    "pause": "mirror no new connections; sessions that are open go on",
    "resume": "mirror new connections again",
    "ratio": "mirror another share of the new connections",
    "copies": "mirror new connections so many times each",
    "drain": "pause, and wait until no session is open any more",
    "log-level": "log more, or less",
}

_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smh]?)")
_POLL_S = 0.5
_RATIO_EPILOG = """\
examples:
  copytool ratio 5%
  copytool ratio 100% ramp 10m

The change holds for connections that come from now on. With `ramp` the share goes there step by step.
"""


def add_control_commands(commands: Any, exit_statuses: str) -> None:
    """Add the commands to argparse's subparsers."""
    for name, summary in CONTROL_COMMANDS.items():
        command = commands.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=f"{_RATIO_EPILOG if name == 'ratio' else ''}\n{exit_statuses}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        _add_arguments(command, name)
        add_control_socket(command)


def add_control_socket(command: argparse.ArgumentParser) -> None:
    """Add the option that says which daemon is asked."""
    command.add_argument(
        "--control-socket", metavar="PATH", help="ask there instead of /run/copytool/ROLE/control.sock"
    )


def _add_arguments(command: argparse.ArgumentParser, name: str) -> None:
    if name == "ratio":
        command.add_argument("percent", metavar="PERCENT", help="of the connections, like 5%% or 0.5%%")
        command.add_argument("ramp", nargs="*", metavar="ramp DURATION", help="get there step by step, like ramp 10m")
    elif name == "copies":
        command.add_argument("count", metavar="N", help="mirror sessions per client connection")
    elif name == "drain":
        command.add_argument("--timeout", metavar="DURATION", help="give up after that, like 10m; it stays paused")
    elif name == "log-level":
        command.add_argument("level", choices=LOG_LEVELS, metavar="LEVEL", help=", ".join(LOG_LEVELS))
        command.add_argument("role", nargs="?", choices=ROLES, default="copy", help="which daemon (copy)")


def run_control(command: str, values: dict[str, Any]) -> None:
    """Have the daemon do it, and print what holds now."""
    path = Path(values["control_socket"] or default_control_socket(values.get("role", "copy")))
    try:
        request = _request(command, values)
        timeout_s = parse_duration(values["timeout"]) if values.get("timeout") else float("inf")
    except ConfigError as error:
        raise ConfigError(f"{command}: {error}") from None
    if command == "drain":
        _drain(path, timeout_s)
        return
    answer = ask_daemon(path, command, **request)
    print_text("\n".join(as_lines(_level_lines if command == "log-level" else _steering_lines, answer)))


def _level_lines(answer: dict[str, Any]) -> list[str]:
    return [f"log level: {answer['log_level']}"]


def _steering_lines(answer: dict[str, Any]) -> list[str]:
    return [format_steering(answer)]


def _request(command: str, values: dict[str, Any]) -> dict[str, Any]:
    if command == "ratio":
        return {"percent": parse_percent(values["percent"]), "ramp_s": _ramp(values["ramp"])}
    if command == "copies":
        return {"count": parsers.integer(1, MAX_COPIES)(values["count"])}
    return {"level": values["level"]} if command == "log-level" else {}


def _ramp(words: list[str]) -> float:
    if not words:
        return 0.0
    if len(words) != 2 or words[0] != "ramp":
        raise ConfigError(f"{' '.join(words)!r} is not like `ramp 10m`")
    ramp_s = parse_duration(words[1])
    if ramp_s > MAX_RAMP_S:
        raise ConfigError(f"a ramp of {words[1]!r} is longer than {MAX_RAMP_S / 3600:g}h")
    return ramp_s


def _drain(path: Path, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    shown = ""
    try:
        print_text("\n".join(as_lines(_steering_lines, ask_daemon(path, "pause"))))
        while waits_for := "\n".join(as_lines(_what_is_open, ask_daemon(path, "status"))):
            if time.monotonic() >= deadline:
                raise HostError(f"after {timeout_s:g} s {waits_for}; copy stays paused")
            if waits_for != shown:
                print_text(waits_for)
                shown = waits_for
            time.sleep(min(_POLL_S, max(deadline - time.monotonic(), 0.0)))
        print_text("no session is open")
    except (KeyboardInterrupt, BrokenPipeError):  # elsewhere no failure, but this one may be what a stop waits for
        raise HostError("interrupted before copy was drained; it stays paused") from None


def _what_is_open(status: dict[str, Any]) -> list[str]:
    """Return what a drain waits for, in a line; none if nothing. Raises HostError if copy does not drain any more."""
    if not status["steering"]["paused"]:
        raise HostError("copy mirrors new connections again: somebody has resumed it, or it was started again")
    for worker in status.get("workers", []):
        if worker["state"] != "running":
            return [f"worker {worker['worker']} does not say what is open: {worker['state']}"]
    active = status["sessions"]["outcomes"]["active"]
    if active == 0:
        return []
    return ["1 session is open" if active == 1 else f"{active:,} sessions are open"]


def parse_percent(text: str) -> float:
    """Parse `5%`, or `5`."""
    return parsers.number(0, 100, above=True)(text.removesuffix("%"))


def parse_duration(text: str) -> float:
    """Parse `90`, `90s`, `10m` or `1.5h` into seconds."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ConfigError(f"{text!r} is no duration, like 90s, 10m or 1.5h")
    return float(match[1]) * _UNITS_S[match[2]]
