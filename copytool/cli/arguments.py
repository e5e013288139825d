"""From arguments and configuration file to settings."""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from ..errors import ConfigError
from ..io.control import ROLES
from ..io.session_log import KEPT_SESSIONS
from .control import add_control_commands, add_control_socket
from .options import COPY_OPTIONS, EXPORTER_OPTIONS, INTERCEPT_OPTIONS, Option
from .values import integer, number
from .version import version_text

__all__ = ["COMMANDS", "parse_arguments"]

COMMANDS: dict[str, tuple[Option, ...]] = {
    "copy": COPY_OPTIONS,
    "intercept": INTERCEPT_OPTIONS,
    "exporter": EXPORTER_OPTIONS,
}

_EXIT_STATUSES = """\
exit status:
  0  done, or ended by SIGTERM or SIGINT
  1  internal error
  2  a flag, a value or the configuration file is wrong
  3  the host refuses something: capability, interface, port, file; or no daemon answers, or a drain
     did not end
"""

_OVERVIEW = f"""\
Mirrors live TCP sessions from a production service onto a test copy of it.

  client ---> online: service, copytool copy          target: service under test
                           |  sessions again, from 192.168.60.x    ^ | route for 192.168.60.0/24
                           +---------------------------------------+ | via the assistant
                           ^                                         v
                           +---- response headers ---- assistant: copytool intercept

example, in this order:
  target#    ip route add 192.168.60.0/24 via 192.168.50.102
  assistant# sysctl net.ipv4.ip_forward=0
  assistant# copytool intercept -i ens18 -F 'tcp and src port 1025'
  online#    copytool copy -x 1025-192.168.50.101:1025 -s 192.168.50.102 -c 192.168.60.x
  online#    copytool status

{_EXIT_STATUSES}"""

_COPY_EPILOG = f"""\
examples:
  copytool copy -x 1025-192.168.50.101:1025 -s 192.168.50.102 -c 192.168.60.x
  copytool copy -x 80-10.0.0.9:8080,443-10.0.0.9:8443 -s assistant1,assistant2:36525 -c 10.99.0.0/16 -r 20
  copytool copy --config /etc/copytool/copy.toml

The configuration file has a table [copy] whose keys are the long option names with underscores:
  [copy]
  map = ["1025-192.168.50.101:1025"]
  intercept = ["192.168.50.102"]
  client_network = ["192.168.60.x"]
  ratio = 20

signals: SIGTERM closes the mirrored sessions on the target and ends; SIGUSR1 logs the counters. With --workers they
go to the process that was started, or to all. SIGHUP of a closed terminal is like SIGTERM; with -d and under systemd it
is ignored.

{_EXIT_STATUSES}"""

_INTERCEPT_EPILOG = f"""\
examples:
  copytool intercept -i ens18 -F 'tcp and src port 1025'
  copytool intercept -i ens18 -F 'tcp and (src port 80 or src port 443)' -b 192.168.50.102 -p 36525

The host must not forward packets (sysctl net.ipv4.ip_forward=0): that is what drops the responses.
The configuration file has a table [intercept] whose keys are the long option names with underscores.

signals: SIGTERM ends; SIGUSR1 logs the counters. SIGHUP of a closed terminal is like SIGTERM; with -d and under
systemd it is ignored.

{_EXIT_STATUSES}"""


_EXPORTER_EPILOG = f"""\
examples:
  copytool exporter
  copytool exporter --listen 192.168.50.102:9524

It asks the daemons of this host through their control sockets at each scrape, and runs as root or in their group. In
Prometheus' configuration: scrape_configs: [{{job_name: copytool, static_configs: [{{targets: ["HOST:9524"]}}]}}]
The configuration file has a table [exporter] whose keys are the long option names with underscores.

{_EXIT_STATUSES}"""

_STATUS_EPILOG = f"""\
examples:
  copytool status
  copytool status copy --json
  copytool status --sessions 20
  copytool status --watch

{_EXIT_STATUSES}"""


class _Parser(argparse.ArgumentParser):
    """Reports errors as ConfigError: one line, without the usage text."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; see `{self.prog} --help`")


def _parser() -> _Parser:
    kind = argparse.RawDescriptionHelpFormatter
    parser = _Parser(prog="copytool", description=_OVERVIEW, formatter_class=kind, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"copytool {version_text()}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary, epilog in (
        ("copy", "run on the online host: capture what clients send and mirror it", _COPY_EPILOG),
        ("intercept", "run on the assistant host: report the target's response headers to copy", _INTERCEPT_EPILOG),
        ("exporter", "serve what the daemons of this host count to Prometheus", _EXPORTER_EPILOG),
    ):
        command = commands.add_parser(
            name, help=summary, description=summary, epilog=epilog, formatter_class=kind, allow_abbrev=False
        )
        command.add_argument("-C", "--config", metavar="FILE", help="TOML file with options; flags win over it")
        for option in COMMANDS[name]:
            _add_option(command, option)
    add_control_commands(commands, _EXIT_STATUSES)
    _add_status(commands.add_parser(
        "status", help="print the counters of a running daemon", formatter_class=kind, allow_abbrev=False,
        description="Prints the counters of the daemons that run on this host.", epilog=_STATUS_EPILOG,
    ))  # fmt: skip
    return parser


def _add_status(status: argparse.ArgumentParser) -> None:
    status.add_argument("role", nargs="?", choices=ROLES, help="which daemon; default: those that run")
    status.add_argument("--json", action="store_true", help="one JSON object (needs a role if both daemons run)")
    status.add_argument(
        "--sessions", nargs="?", const=KEPT_SESSIONS, type=_session_count, metavar="COUNT",
        help=f"instead of the counters the last COUNT sessions that ended, newest last (default, and at most, "
        f"{KEPT_SESSIONS}); copy has them",
    )  # fmt: skip
    status.add_argument(
        "--watch", nargs="?", const=1.0, type=_interval, metavar="SECONDS",
        help="show what happens now, again every so many seconds (default 1), until Ctrl-C",
    )  # fmt: skip
    add_control_socket(status)


def _interval(text: str) -> float:
    hint = f"; put it first: copytool status {text} --watch" if text in ROLES else ""
    try:
        return number(0.1, 3600)(text)
    except ConfigError as error:
        raise ConfigError(f"--watch: {error}{hint}") from None


def _session_count(text: str) -> int:
    hint = f"; put it first: copytool status {text} --sessions" if text in ROLES else ""
    try:
        return integer(1, KEPT_SESSIONS)(text)
    except ConfigError as error:
        raise ConfigError(f"--sessions: {error}{hint}") from None


def _add_option(parser: argparse.ArgumentParser, option: Option) -> None:
    flags = [f"-{option.short}"] if option.short else []
    flags.append(f"--{option.long}")
    if option.parse is None:
        parser.add_argument(*flags, dest=option.key, action="store_true", default=None, help=option.help)
        return
    shown = option.help
    if option.default is not None:
        text = option.default[0][0] if isinstance(option.default, list) else option.default
        if isinstance(text, tuple):
            text = ":".join(map(str, text))
        shown += f" (default {text:g})" if isinstance(text, float) else f" (default {text})"
    action = "append" if option.is_list else "store"
    help_text = shown.replace("%", "%%")
    parser.add_argument(*flags, dest=option.key, metavar=option.metavar, action=action, help=help_text)


def parse_arguments(arguments: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Return (command, values by key) with defaults filled in; raises ConfigError naming flag and value.

    For the commands that ask a daemon the values are argparse's; for the daemons every option's parsed value, None
    where it has no default.
    """
    namespace = vars(_parser().parse_args(arguments))
    command = namespace.pop("command")
    if command not in COMMANDS:
        return command, namespace
    options = COMMANDS[command]
    config = namespace.pop("config")
    parsed = {option.key: option.default for option in options}
    if config is not None:
        parsed |= _read_config(Path(config), command, options)
    for option in options:
        given = namespace[option.key]
        if given is not None:
            parsed[option.key] = _parse(option, option.label, given)
    return command, parsed


def _read_config(path: Path, command: str, options: tuple[Option, ...]) -> dict[str, Any]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"-C (--config) {str(path)!r}: {error.strerror}") from None
    except ValueError as error:  # no TOML, no UTF-8, or a number of thousands of digits
        raise ConfigError(f"-C (--config) {str(path)!r}: not TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"-C (--config) {str(path)!r}: not TOML that makes sense here: too deeply nested") from None
    table = document.get(command)
    if not isinstance(table, dict):
        raise ConfigError(f"-C (--config) {str(path)!r}: it has no table [{command}]")
    by_key = {option.key: option for option in options}
    parsed = {}
    for key, value in table.items():
        if key not in by_key:
            raise ConfigError(f"{path}: [{command}] has the unknown key {key!r}; known: {', '.join(sorted(by_key))}")
        label = f"{path}: [{command}] {key}"
        parsed[key] = _parse(by_key[key], label, _from_toml(value, label))
    return parsed


def _from_toml(value: object, label: str) -> object:
    try:
        if isinstance(value, list):
            return [str(item) for item in value]
        return value if isinstance(value, bool) else str(value)
    except ValueError:  # Python writes no integers of thousands of digits (sys.set_int_max_str_digits)
        raise ConfigError(f"{label}: the number is too long") from None


def _parse(option: Option, label: str, given: object) -> Any:
    if option.parse is None:
        if not isinstance(given, bool):
            raise ConfigError(f"{label}: {given!r} is not true or false")
        return given
    if isinstance(given, list) and option.is_list:
        given = ",".join(given)
    if not isinstance(given, str):
        raise ConfigError(f"{label}: {given!r} has the wrong type")
    try:
        return option.parse(given)
    except ConfigError as error:
        raise ConfigError(f"{label}: {error}") from None
