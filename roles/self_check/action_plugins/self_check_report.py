"""Action: join what `copytool check` says on all hosts, in the order of the hops, and name the first that fails.

`join` and `summary` are pure; the action only takes its arguments apart and prints. It never changes a thing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

Json = dict[str, Any]
Documents = dict[str, list[Json]]
"""By host: what it says; a target says it once for each online host."""

BEFORE_TARGET = (
    "daemon", "certificate", "capabilities", "interface", "offloads", "service", "traffic", "drops", "conntrack",
    "rp_filter", "client network", "next hop", "mtu", "clock", "port",
)  # fmt: skip
AROUND = ("link", "probe")
ON_TARGET = (
    "address", "interface", "service", "client network", "rp_filter", "firewall", "conntrack", "route", "neighbour",
    "arrivals",
)  # fmt: skip
SHOWN_STATES = {"ok": "ok", "warning": "WARNING", "failed": "FAILED", "skipped": "skipped"}


@dataclass(frozen=True, slots=True)
class Row:
    """One check of one host, or of the way between two."""

    host: str
    name: str
    state: str
    seen: str
    cause: str = ""
    fix: str = ""

    @property
    def hop(self) -> str:
        """What to call it."""
        return f"{self.host}: {self.name}"


def rows_of(documents: Documents, checks: tuple[str, ...] = ()) -> list[Row]:
    """The results of the named checks of all hosts, or of all checks, each once."""
    found: dict[Row, None] = {}
    for host, own in documents.items():
        for document in own:
            if document.get("error") and (not checks or checks[0] in ("daemon", "address")):
                found[Row(host, "copytool check", "failed", "did not run", document["error"], FIX_RUN)] = None
            for check in document["checks"]:
                if not checks or check["check"] in checks:
                    name = f"{check['check']} {check['subject']}".strip()
                    found[Row(host, name, check["state"], check["seen"], check["cause"], check["fix"])] = None
    return list(found)


FIX_RUN = "run it by hand there; a target needs Python 3.11, the others copytool (playbooks/copy.yml, intercept.yml)"


def results(documents: Documents, check: str) -> Iterator[Json]:
    """All results of a check."""
    for own in documents.values():
        for document in own:
            yield from (one for one in document["checks"] if one["check"] == check)


def own_documents(documents: Documents) -> Documents:
    """A target's documents without those of copies that mirror to other targets only, if any mirrors to it."""
    kept = {}
    for host, own in documents.items():
        fitting = [one for one in own if all(c["state"] == "ok" for c in one["checks"] if c["check"] == "address")]
        kept[host] = fitting or own
    return kept


def way_to_target(online: Documents, target: Documents) -> Row | None:
    """Whether what the probes sent came to the targets."""
    probes = [one["data"].get("state") for one in results(online, "probe") if one["state"] != "skipped"]
    arrivals = list(results(target, "arrivals"))
    arrived = [one for one in arrivals if one["data"].get("syns")]
    row = ("online to target", "packets from the client network")
    if arrived or (probes and all(state in ("answered", "refused") for state in probes)):
        return Row(*row, "ok", "arrive")
    if "no_answer" not in probes or not arrivals or all(one["state"] == "skipped" for one in arrivals):
        return Row(*row, "skipped", "not seen, as no probe was sent, or nobody could look")
    if any(one["state"] == "ok" for one in results(online, "port")):
        cause = (
            "something between the hosts drops them, and lets packets from the online host's own address pass: "
            "anti-spoofing of a switch, hypervisor or cloud, or a firewall"
        )
        fix = "let packets with source addresses of the client network pass from the online host's port to the target"
    else:
        cause, fix = "nothing of the online host reaches the target", "see next hop and port above"
    return Row(*row, "failed", "were sent, and do not arrive", cause, fix)


def way_to_assistant(online: Documents, target: Documents, assistant: Documents) -> Row | None:
    """Whether the targets' answers came to the assistants."""
    probes = [one["data"].get("state") for one in results(online, "probe") if one["state"] != "skipped"]
    left = [text for one in results(target, "arrivals") for text in one["data"].get("answers", {})]
    answers = list(results(assistant, "answers"))
    arrived = sum(one["data"].get("arrived", 0) for one in answers)
    row = ("target to assistant", "answers to the client network")
    if arrived or (probes and all(state in ("answered", "refused") for state in probes)):
        return Row(*row, "ok", "arrive")
    if not left or not answers or all(one["state"] == "skipped" for one in answers):
        return Row(*row, "skipped", "none was sent, or nobody could look")
    gateways = {one["data"]["gateway"] for one in results(target, "route") if one["data"].get("gateway")}
    sent = f"{', '.join(dict.fromkeys(left))}, via {', '.join(gateways) or 'its route'}"
    cause = (
        f"the target sends them ({sent}): that is not the assistant, or something between the hosts drops packets to"
        " the client network"
    )
    fix = "compare the route's next hop with the assistant's address; let packets to the client network pass"
    return Row(*row, "failed", "leave the target, and do not arrive", cause, fix)


def join(online: Documents, target: Documents, assistant: Documents) -> list[Row]:
    """All rows, in the order of the hops."""
    target = own_documents(target)
    to_target, to_assistant = way_to_target(online, target), way_to_assistant(online, target, assistant)
    rows = rows_of(online, BEFORE_TARGET)
    rows += [to_target] if to_target else []
    for check in ON_TARGET:
        rows += [row for row in rows_of(target, (check,)) if (row.name, row.state) != ("arrivals", "warning")]
    rows += [to_assistant] if to_assistant else []
    rows += [row for row in rows_of(assistant) if not (row.state == "warning" and row.name.startswith("answers"))]
    return rows + rows_of(online, AROUND)


def headline(rows: list[Row]) -> str:
    """The result in one line."""
    failed = next((row for row in rows if row.state == "failed"), None)
    if failed:
        return f'FAILED at "{failed.hop}": {failed.cause}'
    if not any(row.name.startswith("probe") and row.state == "ok" for row in rows):
        return "Nothing is found to be wrong, but no probe went all the way."
    return "A SYN from the client network is answered through the assistant: sessions can be mirrored."


def summary(rows: list[Row]) -> list[str]:
    """The lines that people read."""
    widths = [max(len(text) for text in column) for column in zip(*((row.host, row.name) for row in rows), strict=True)]
    lines = ["", headline(rows), "", "Hop by hop"]
    for row in rows:
        lines.append(f"  {SHOWN_STATES[row.state]:<8} {row.host:<{widths[0]}}  {row.name:<{widths[1]}}  {row.seen}")
        if row.cause:
            lines += [f"             cause: {row.cause}", f"             fix:   {row.fix}"]
    return [*lines, ""]


class ActionModule(ActionBase):
    """Ansible's entry point."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: Json | None = None) -> Json:
        """Print the table; fail when a hop did."""
        result: Json = super().run(tmp, task_vars)
        arguments = self._task.args
        rows = join(arguments["online"], arguments["target"], arguments["assistant"])
        failed = next((row for row in rows if row.state == "failed"), None)
        for number, line in enumerate(summary(rows)):
            Display().display(line, color=("red" if failed else "green") if number == 1 else None)
        result["changed"] = False
        if failed:
            result["failed"] = True
            result["msg"] = f"{failed.hop}: {failed.cause}; {failed.fix}"
        return result
