"""From arguments and configuration file to settings."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from ..errors import ConfigError
from ..io.control import ROLES
from ..io.session_log import KEPT_SESSIONS
from ..io.settings import DEFAULT_FEED_PORT
from .check import add_check, read_check
from .control import add_control_commands, add_control_socket
from .feed_options import FORWARD_OPTIONS
from .option import Option
from .option_values import add_option, read_options
from .options import COPY_OPTIONS, EXPORTER_OPTIONS, INTERCEPT_OPTIONS
from .values import integer, number
from .version import version_text

__all__ = ["COMMANDS", "parse_arguments"]

COMMANDS: dict[str, tuple[Option, ...]] = {
    "copy": COPY_OPTIONS,
    "intercept": INTERCEPT_OPTIONS,
    "forward": FORWARD_OPTIONS,
    "exporter": EXPORTER_OPTIONS,
}

_EXIT_STATUSES = """\
exit status:
  0  done, or ended by SIGTERM or SIGINT
  1  internal error
  2  a flag, a value or the configuration file is wrong
  3  the host refuses something: capability, interface, port, file; or no daemon answers, or a drain
     did not end
  4  `copytool check` has found what keeps sessions from arriving
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
  assistant# copytool intercept -i ens18 -F 'tcp and src port 1025' --plain
  online#    copytool copy -x 1025-192.168.50.101:1025 -s 192.168.50.102 -c 192.168.60.x --plain
  online#    copytool status

{_EXIT_STATUSES}"""

_COPY_EPILOG = f"""\
examples:
  copytool copy -x 1025-192.168.50.101:1025 -s 192.168.50.102 -c 192.168.60.x --plain
  copytool copy -x 80-10.0.0.9:8080,443-10.0.0.9:8443 -s assistant1,assistant2:36525 -c 10.99.0.0/16 -r 20 \\
      --tls-cert copy.pem --tls-ca ca.pem
  copytool copy --config /etc/copytool/copy.toml

The configuration file has a table [copy] whose keys are the long option names with underscores:
  [copy]
  map = ["1025-192.168.50.101:1025"]
  intercept = ["192.168.50.102"]
  client_network = ["192.168.60.x"]
  ratio = 20
  tls_cert = "/etc/copytool/tls/copy.pem"
  tls_ca = "/etc/copytool/tls/ca.pem"

The certificate that intercept shows has to be from one of the authorities in --tls-ca, and to have the address that
-s names. Files that are replaced count for the next connection.

signals: SIGTERM closes the mirrored sessions on the target and ends; SIGUSR1 logs the counters. With --workers they
go to the process that was started, or to all. SIGHUP of a closed terminal is like SIGTERM; with -d and under systemd it
is ignored.

{_EXIT_STATUSES}"""

_INTERCEPT_EPILOG = f"""\
examples:
  copytool intercept -i ens18 -F 'tcp and src port 1025' --plain
  copytool intercept -i ens18 -F 'tcp and (src port 80 or src port 443)' -b 192.168.50.102 -p 36525 \\
      --tls-cert intercept.pem --tls-ca ca.pem --peers online=192.168.60.0/24

The host must not forward packets (sysctl net.ipv4.ip_forward=0): that is what drops the responses.
The configuration file has a table [intercept] whose keys are the long option names with underscores.

signals: SIGTERM ends; SIGUSR1 logs the counters. SIGHUP of a closed terminal is like SIGTERM; with -d and under
systemd it is ignored.

{_EXIT_STATUSES}"""

_FORWARD_EPILOG = f"""\
examples:
  online#    copytool forward -x 1025 -s 192.168.50.102 --plain
  assistant# copytool copy --feed forward -x 192.168.50.10:1025-192.168.50.101:1025 -s 127.0.0.1 -c 192.168.60.x --plain
  assistant# copytool intercept -i ens18 -F 'tcp and src port 1025' --plain

The online host then only captures: it sends no packets with other addresses, and follows no sessions. The port is
{DEFAULT_FEED_PORT} unless given. The configuration file has a table [forward] whose keys are the long option names with
underscores.

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
        ("forward", "run on the online host: send what clients send to a copy on another host", _FORWARD_EPILOG),
        ("exporter", "serve what the daemons of this host count to Prometheus", _EXPORTER_EPILOG),
    ):
        command = commands.add_parser(
            name, help=summary, description=summary, epilog=epilog, formatter_class=kind, allow_abbrev=False
        )
        command.add_argument("-C", "--config", metavar="FILE", help="TOML file with options; flags win over it")
        for option in COMMANDS[name]:
            add_option(command, option)
    add_check(commands, _EXIT_STATUSES)
    add_control_commands(commands, _EXIT_STATUSES)
    _add_status(commands.add_parser(
        "status", help="print the counters of a running daemon", formatter_class=kind, allow_abbrev=False,
        description="Prints the counters of the daemons that run on this host.", epilog=_STATUS_EPILOG,
    ))  # fmt: skip
    return parser


def _add_status(status: argparse.ArgumentParser) -> None:
    status.add_argument("role", nargs="?", choices=ROLES, help="which daemon; default: those that run")
    status.add_argument("--json", action="store_true", help="one JSON object (needs a role if several daemons run)")
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


def parse_arguments(arguments: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Return (command, values by key) with defaults filled in; raises ConfigError naming flag and value.

    For the commands that ask a daemon the values are argparse's; for the daemons every option's parsed value, None
    where it has no default; for `check` what read_check() returns.
    """
    namespace = vars(_parser().parse_args(arguments))
    command = namespace.pop("command")
    if command == "check":
        return command, read_check(namespace)
    if command not in COMMANDS:
        return command, namespace
    return command, read_options(namespace, COMMANDS[command], namespace["config"], command)
