"""Action: join what all hosts say before anything is changed, judge it, print it, and refuse what would do harm.

The judges in safety_judges are pure; the action only reads the inventory's variables, and prints. It changes nothing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

ROLE = Path(__file__).resolve().parents[1]
for path in (ROLE, ROLE.parents[1]):  # the judges, and copytool's sources, which judge nft's rules
    if str(path) not in sys.path:
        sys.path.append(str(path))

from safety_judges.assistant import judge_assistants, judge_ports  # noqa: E402
from safety_judges.finding import Finding  # noqa: E402
from safety_judges.firewall import judge_firewalls  # noqa: E402
from safety_judges.host import judge_host  # noqa: E402
from safety_judges.inventory import Host, read_host, roles_of  # noqa: E402
from safety_judges.network import judge_network  # noqa: E402
from safety_judges.way import judge_way  # noqa: E402

Json = dict[str, Any]
SHOWN_STATES = {"ok": "ok", "warning": "WARNING", "failed": "FAILED"}
ACCEPTED = "safety_accept has it"
VARIABLES = (
    "ansible_host", "lab_address", "copytool_copy_map", "copytool_copy_intercept", "copytool_copy_client_network",
    "copytool_copy_options", "mirror_route_assistants", "mirror_route_assistant_address",
    "mirror_route_client_network", "mirror_route_end", "copytool_intercept_bind", "copytool_intercept_port",
    "copytool_tls_addresses", "copytool_exporter_listen", "echo_server_port", "monitoring_listen",
    "copytool_firewall_mode", "safety_accept",
)  # fmt: skip


def variables_of(templar: Any, hostvars: Any, name: str) -> tuple[Json, list[str]]:
    """The variables of a host that matter here, and what is wrong with those that cannot be computed."""
    raw = hostvars.raw_get(name)
    own = templar.copy_with_new_env(available_variables={**raw, "hostvars": hostvars})
    found: Json = {}
    objections = []
    for variable in VARIABLES:
        try:
            if raw.get(variable) is not None:
                found[variable] = plain(own.template(raw[variable]))
        except Exception as error:  # whatever a template does
            objections.append(f"{variable}: {last_line(error, type(error).__name__)}")
    return found, objections


def plain(value: Any) -> Any:
    """A value without what Ansible wraps it into."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, str) else value


def heard(result: Mapping[str, Any] | None) -> tuple[Json | None, str]:
    """What a host said, or why it did not; neither, if it was not asked."""
    if not result or result.get("skipped"):
        return None, ""
    if result.get("unreachable"):
        return None, last_line(result.get("msg"), "unreachable")
    try:
        return dict(json.loads(result["stdout"])), ""
    except (KeyError, ValueError):
        return None, last_line(result.get("stderr") or result.get("msg") or result.get("stdout"), "no answer")


def last_line(text: Any, otherwise: str) -> str:
    """The last line of what went wrong."""
    lines = [line.strip() for line in str(text or "").splitlines() if line.strip()]
    return lines[-1] if lines else otherwise


def gather(templar: Any, groups: Mapping[str, Any], hostvars: Any) -> tuple[dict[str, Host], dict[str, Json]]:
    """All hosts that are anything to the mirror, and their variables."""
    hosts, variables = {}, {}
    for name in groups.get("all", []):
        roles = roles_of(name, groups)
        if not roles:
            continue
        variables[name], objections = variables_of(templar, hostvars, name)
        host = read_host(name, roles, variables[name])
        host.objections += objections
        host.seen, host.why_not = heard(hostvars[name].get("__safety_seen"))
        hosts[name] = host
    return hosts, variables


def judge(hosts: dict[str, Host], variables: dict[str, Json], space_mib: int) -> list[Finding]:
    """All findings, host by host in the order of the inventory; what a host accepts is a warning only."""
    opened = {name: own.get("copytool_firewall_mode") == "open" for name, own in variables.items()}
    found = [finding for host in hosts.values() for finding in judge_host(host, space_mib)]
    found += [*judge_network(hosts), *judge_way(hosts), *judge_assistants(hosts), *judge_ports(hosts)]
    found += judge_firewalls(hosts, opened)
    order = {name: number for number, name in enumerate(hosts)}
    found.sort(key=lambda finding: order[finding.host])
    return [lenient(finding, variables[finding.host].get("safety_accept") or []) for finding in found]


def lenient(finding: Finding, accepted: list[str]) -> Finding:
    """A failure that the host's safety_accept names is a warning."""
    if finding.state == "failed" and finding.check in accepted:
        return replace(finding, state="warning", fix=f"{ACCEPTED}; otherwise: {finding.fix}")
    return finding


def headline(found: list[Finding], left_out: list[str]) -> str:
    """The result in one line."""
    errors = [finding for finding in found if finding.state == "failed"]
    note = f" (--limit leaves out {', '.join(left_out)}: what needs them was not judged)" if left_out else ""
    if errors:
        first = errors[0]
        more = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
        return f'REFUSED because of "{first.host}: {first.check}": {first.cause}{more}{note}'
    warnings = sum(finding.state == "warning" for finding in found)
    counted = f"{warnings} warning{'s' if warnings > 1 else ''}" if warnings else "nothing is in the way"
    hosts = len({finding.host for finding in found})
    return f"Safe to set up: {hosts} host{'s' if hosts != 1 else ''} looked at, {counted}{note}."


def summary(found: list[Finding], left_out: list[str], everything: bool) -> list[str]:
    """The lines that people read; everything: also what is well."""
    rows = [finding for finding in found if everything or finding.state != "ok"]
    lines = ["", headline(found, left_out), ""]
    if not rows:
        return lines
    widths = [max(len(text) for text in column) for column in zip(*((r.host, r.check) for r in rows), strict=True)]
    lines.append("Host by host, before anything is changed")
    for row in rows:
        lines.append(f"  {SHOWN_STATES[row.state]:<8} {row.host:<{widths[0]}}  {row.check:<{widths[1]}}  {row.seen}")
        if row.cause:
            lines += [f"             cause: {row.cause}", f"             fix:   {row.fix}"]
    return [*lines, ""]


class ActionModule(ActionBase):
    """Ansible's entry point."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: Json | None = None) -> Json:
        """Print the table; fail when something must not be done; refuse: always, uninstalled, never."""
        result: Json = super().run(tmp, task_vars)
        given = self._task.args
        hosts, variables = gather(self._templar, task_vars["groups"], task_vars["hostvars"])  # type: ignore[index]
        found = judge(hosts, variables, int(given["space_mib"]))
        left_out = [name for name, host in hosts.items() if host.seen is None and not host.why_not]
        errors = [finding for finding in found if finding.state == "failed"]
        for number, line in enumerate(summary(found, left_out, bool(given["everything"]))):
            Display().display(line, color=("red" if errors else "green") if number == 1 else None)
        installed = {name: host.seen["installed"] for name, host in hosts.items() if host.seen is not None}
        result.update(changed=False, installed=any(installed.values()), errors=len(errors))
        result["findings"] = [asdict(finding) for finding in found if finding.state != "ok"]
        if errors and (given["refuse"] == "always" or (given["refuse"] == "uninstalled" and not result["installed"])):
            result["failed"] = True
            result["msg"] = headline(found, left_out)
        return result
