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
    "daemon", "certificate", "capabilities", "feed", "interface", "offloads", "service", "traffic", "drops",
    "conntrack", "rp_filter", "client network", "next hop", "mtu", "clock", "port",
)  # fmt: skip
AROUND = ("link", "probe")
ON_TARGET = (
    "address", "interface", "service", "client network", "rp_filter", "firewall", "conntrack", "route", "guard",
    "neighbour", "arrivals",
)  # fmt: skip
FIX_RUN = "run it by hand there; a target needs Python 3.11, the others copytool (playbooks/copy.yml, intercept.yml)"
TOLERANCE_S = 0.5
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


def probes_to(online: Documents, own: list[Json]) -> list[str]:
    """How the probes went that were sent to a target, by its documents."""
    addresses = [address for one in results({"": own}, "address") for address in one["data"].get("addresses", [])]
    probes = [one for one in results(online, "probe") if one["state"] != "skipped"]
    return [one["data"]["state"] for one in probes if one["subject"].rpartition(":")[0].strip("[]") in addresses]


def observations(documents: Documents, check: str, online: Documents) -> list[Json]:
    """What a check saw that looked at packets while the probes were sent; hosts' clocks are about the same."""
    probed_at = max((one["data"].get("ended_at", 0) for one in results(online, "probe")), default=0)
    seen = [one for one in results(documents, check) if one["state"] != "skipped"]
    return [one for one in seen if one["state"] != "warning" or one["data"]["ended_at"] > probed_at - TOLERANCE_S]


def way_to_target(online: Documents, name: str, own: list[Json]) -> Row:
    """Whether what the probes sent came to a target."""
    probes = probes_to(online, own)
    arrivals = observations({name: own}, "arrivals", online)
    row = (f"online to {name}", "packets from the client network")
    if any(one["data"].get("syns") for one in arrivals) or {*probes} & {"answered", "refused"}:
        return Row(*row, "ok", "arrive")
    if "no_answer" not in probes or not arrivals:
        return Row(*row, "skipped", "none was sent, or nobody looked at the time (self_check_wait)")
    if any(one["state"] == "ok" for one in results(online, "port")):
        cause = (
            "something between the hosts drops them, and lets packets from the online host's own address pass: "
            "anti-spoofing of a switch, hypervisor or cloud, or a firewall"
        )
        fix = "let packets with source addresses of the client network pass from the online host's port to the target"
    else:
        cause, fix = "nothing of the online host reaches the target", "see next hop and port above"
    return Row(*row, "failed", "were sent, and do not arrive", cause, fix)


def way_to_assistant(online: Documents, name: str, own: list[Json], assistant: Documents) -> Row:
    """Whether a target's answers came to an assistant."""
    document = {name: own}
    left = [text for one in results(document, "arrivals") for text in one["data"].get("answers", {})]
    addresses = {address for one in results(document, "address") for address in one["data"].get("addresses", [])}
    answers = observations(assistant, "answers", online)
    arrived = any(addresses & set(one["data"].get("sources", [])) for one in answers)
    row = (f"{name} to assistant", "answers to the client network")
    if arrived or {*probes_to(online, own)} & {"answered", "refused"}:
        return Row(*row, "ok", "arrive")
    if not left or not answers:
        return Row(*row, "skipped", "none was sent, or nobody looked at the time (self_check_wait)")
    gateways = {one["data"]["gateway"] for one in results(document, "route") if one["data"].get("gateway")}
    sent = f"{', '.join(dict.fromkeys(left))}, via {', '.join(gateways) or 'its route'}"
    cause = (
        f"{name} sends them ({sent}): that is not the assistant, or something between the hosts drops packets to the"
        " client network"
    )
    fix = "compare the route's next hop with the assistant's address; let packets to the client network pass"
    return Row(*row, "failed", f"leave {name}, and do not arrive", cause, fix)


def join(online: Documents, target: Documents, assistant: Documents) -> list[Row]:
    """All rows, in the order of the hops."""
    rows = rows_of(online, BEFORE_TARGET)
    for name, own in own_documents(target).items():
        rows.append(way_to_target(online, name, own))
        for check in ON_TARGET:
            rows += [row for row in rows_of({name: own}, (check,)) if (row.name, row.state) != ("arrivals", "warning")]
        rows.append(way_to_assistant(online, name, own, assistant))
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
        rows = rows_of(arguments["forward"])  # what captures for copy, where that is elsewhere, comes before it
        rows += join(arguments["online"], arguments["target"], arguments["assistant"])
        failed = next((row for row in rows if row.state == "failed"), None)
        for number, line in enumerate(summary(rows)):
            Display().display(line, color=("red" if failed else "green") if number == 1 else None)
        result["changed"] = False
        if failed:
            result["failed"] = True
            result["msg"] = f"{failed.hop}: {failed.cause}; {failed.fix}"
        return result
