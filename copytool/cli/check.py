"""`copytool check`: finds why nothing arrives, hop by hop, from what one host can see."""

from __future__ import annotations

import argparse
import json
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import ConfigError
from ..io.checks.result import FAILED, OK, SKIPPED, WARNING, Result
from ..io.control import ROLES, may_exist
from ..link.share import Network
from .exit_status import ExitStatus
from .option_values import add_option, read_options
from .options import CHECK_OPTIONS
from .settings import copy_settings, forward_settings, intercept_settings
from .status import print_text
from .values import number

__all__ = ["add_check", "format_result", "format_sum", "read_check", "run_check"]

CONFIG_DIRECTORY = Path("/etc/copytool")

_TABLES = {"copy": "copy", "intercept": "intercept", "target": "copy", "forward": "forward"}
_HOSTS = {"copy": "online", "intercept": "assistant", "target": "target", "forward": "online"}
_WAIT_S = {"copy": 2.0, "intercept": 5.0, "target": 5.0, "forward": 2.0}
_STATES = {OK: "ok", WARNING: "WARNING", FAILED: "FAILED", SKIPPED: "skipped"}
_SUBJECT_WIDTH = 34
_EPILOG = """\
examples:
  copytool check
  copytool check copy -x 1025-192.168.50.101:1025 -s 192.168.50.102 -c 192.168.60.x --plain
  copytool check intercept -i ens18 -F 'tcp and src port 1025' --wait 30
  copytool check target --config copy.toml --wait 30

It takes the options of the daemon, so that it can run before mirroring, or what /etc/copytool/ROLE.toml says if none is
given; `target` takes those of copy. `copy` sends a probe: a SYN from the client network to each target, which is reset
when its answer has come through the assistant. On the assistant and the target it looks at what arrives meanwhile, so
run those first; playbooks/check.yml does that for all hosts. Nothing is changed anywhere.

"""


def add_check(commands: Any, exit_statuses: str) -> None:
    """Add the command to argparse's subparsers."""
    kind = argparse.RawDescriptionHelpFormatter
    summary = "find out why nothing arrives, hop by hop, before mirroring or meanwhile"
    check = commands.add_parser(
        "check", help=summary, description=f"{summary[0].upper()}{summary[1:]}.", formatter_class=kind,
        allow_abbrev=False, epilog=_EPILOG + exit_statuses,
    )  # fmt: skip
    _add_own_options(check, json=False, no_probe=False, wait=None)
    roles = check.add_subparsers(dest="role", metavar="copy|intercept|target|forward")
    for role, options in CHECK_OPTIONS.items():
        text = f"what can be seen on the {_HOSTS[role]} host"
        command = roles.add_parser(role, help=text, description=f"Checks {text}.", formatter_class=kind,
                                   allow_abbrev=False, epilog=exit_statuses)  # fmt: skip
        suppressed = argparse.SUPPRESS
        _add_own_options(command, json=suppressed, no_probe=suppressed, wait=suppressed)
        command.add_argument("-C", "--config", metavar="FILE", help="TOML file with options; flags win over it")
        for option in options:
            add_option(command, option)


def _add_own_options(command: argparse.ArgumentParser, **defaults: Any) -> None:
    command.add_argument("--json", action="store_true", default=defaults["json"], help="one JSON object")
    command.add_argument("--no-probe", action="store_true", default=defaults["no_probe"], help="send no SYN")
    command.add_argument(
        "--wait", metavar="S", default=defaults["wait"],
        help="seconds to look for packets, at most (default 2 for copy, 5 elsewhere)",
    )  # fmt: skip


def read_check(namespace: dict[str, Any]) -> dict[str, Any]:
    """Return json, probe, wait_s (None: the role's default), and `options`: what read_options() says for each role."""
    try:
        wait_s = number(0.1, 3600)(namespace["wait"]) if namespace["wait"] is not None else None
    except ConfigError as error:
        raise ConfigError(f"--wait: {error}") from None
    roles = [namespace["role"]] if namespace["role"] else _configured_roles()
    options = {}
    for role in roles:
        own = CHECK_OPTIONS[role]
        given = {option.key: namespace.get(option.key) for option in own}
        config = namespace.get("config")
        default = CONFIG_DIRECTORY / f"{_TABLES[role]}.toml"
        if config is None and all(value is None for value in given.values()) and may_exist(default):
            config = str(default)
        options[role] = read_options(given, own, config, _TABLES[role])
    return {"json": namespace["json"], "probe": not namespace["no_probe"], "wait_s": wait_s, "options": options}


def _configured_roles() -> list[str]:
    found = [role for role in ROLES if may_exist(CONFIG_DIRECTORY / f"{role}.toml")]
    if not found:
        raise ConfigError(
            f"check: nothing is configured in {CONFIG_DIRECTORY}; say `copytool check copy`, intercept, target or"
            " forward, with the daemon's options or --config"
        )
    return found


def run_check(values: dict[str, Any]) -> ExitStatus:
    """Print what is found; return whether something failed."""
    logging.getLogger().addHandler(logging.NullHandler())  # what it finds is said once, in the table
    states: Counter[str] = Counter()
    document: dict[str, Any] = {"version": __version__, "checks": []}
    for number_of, (role, options) in enumerate(values["options"].items()):
        wait_s = _WAIT_S[role] if values["wait_s"] is None else values["wait_s"]
        if not values["json"]:
            print_text(f"{'' if not number_of else chr(10)}{_HOSTS[role]} host, {role}")
        for result in _results(role, options, wait_s, values["probe"]):
            states[result.state] += 1
            document["checks"].append({"role": role, **result.to_json()})
            if not values["json"]:
                print_text("\n".join(format_result(result)))
    document["failed"] = states[FAILED]
    print_text(json.dumps(document, indent=2) if values["json"] else format_sum(document["checks"]))
    return ExitStatus.CHECK_FAILED if states[FAILED] else ExitStatus.OK


def _results(role: str, options: dict[str, Any], wait_s: float, with_probe: bool) -> Iterator[Result]:
    if role in ("intercept", "target") and not options["tls_cert"] and not options["tls_ca"]:
        options = {**options, "plain": True}  # only the others connect to the other end
    # Imported late: what copy needs is not there on the target.
    if role == "copy":
        from ..io.checks.copy_side import check_copy

        yield from check_copy(copy_settings(options), wait_s, with_probe)
    elif role == "forward":
        from ..io.checks.forward_side import check_forward

        yield from check_forward(forward_settings(options), wait_s)
    elif role == "intercept":
        from ..io.checks.intercept_side import check_intercept

        networks: list[Network] = (options["client_network"] or ([], []))[0]
        yield from check_intercept(intercept_settings(options), networks, wait_s)
    else:
        from ..io.checks.target_side import check_target

        yield from check_target(copy_settings(options), wait_s)


def format_result(result: Result) -> list[str]:
    """Return a result as lines for people."""
    name = f"{result.check} {result.subject}".strip()
    lines = [f"  {_STATES[result.state]:<8} {name:<{_SUBJECT_WIDTH}} {result.seen}".rstrip()]
    if result.cause:
        lines += [f"           cause: {result.cause}", f"           fix:   {result.fix}"]
    return lines


def format_sum(checks: list[dict[str, Any]]) -> str:
    """Return in one line how the checks went, and which failed first."""
    states = Counter(check["state"] for check in checks)
    text = ", ".join(f"{states[state]} {_STATES[state]}" for state in (OK, WARNING, SKIPPED, FAILED) if states[state])
    first = next((check for check in checks if check["state"] == FAILED), None)
    return text + (f"; the first that failed: {first['check']} {first['subject']}".rstrip() if first else "")
