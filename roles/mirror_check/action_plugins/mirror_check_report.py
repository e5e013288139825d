"""Action: judge test sessions hop by hop and print a summary for people.

`judge` and `summary` are pure; the action only takes its arguments apart and prints. It never changes a
thing, and fails with the name of the first hop that lost sessions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

Json = dict[str, Any]
Multiset = Counter[tuple[int, str]]
Logs = dict[str, list[Json] | None]
"""By host: a service's session lines; None when it keeps none."""
Statuses = dict[str, dict[str, Json]]
"""By host: a daemon's status `before` and `after`; {} when it did not answer."""

OUTCOME_HINTS = {
    "target_refused": "nothing listens on the target's service port",
    "target_unreachable": "the target does not answer, or its answers do not reach the assistant (fab route)",
    "no_feedback": "the link to intercept was down at the time",
    "capture_gap": "copy could not keep up with the traffic, see its capture drops in copytool status copy",
}


@dataclass(frozen=True, slots=True)
class Observed:
    """What was seen of one run of test sessions."""

    client: Json
    """What the session driver printed; {} when no client drove sessions."""
    online_log: Logs
    """Each online service's session lines since the start."""
    copy: Statuses
    """Each copy's status before and after."""
    intercept: Statuses
    """Each intercept's status before and after."""
    target_log: Logs
    """Each target service's session lines since the start."""
    ratio: float = 100
    copies: int = 1


@dataclass(frozen=True, slots=True)
class Hop:
    """One step on the way of a session, and how it went."""

    name: str
    ok: bool
    sessions: int | None = None
    total_bytes: int | None = None
    note: str = ""
    problem: str = ""
    """What is wrong and where to look, when not ok."""


@dataclass(slots=True)
class Verdict:
    """The hops in order."""

    hops: list[Hop] = field(default_factory=list)

    def failed(self) -> Hop | None:
        """The first hop that went wrong."""
        return next((hop for hop in self.hops if not hop.ok), None)


def multiset(entries: Iterable[Any]) -> Multiset:
    """Sessions as a multiset of (bytes, SHA-256), from log lines or from the driver's pairs."""
    return Counter((e["bytes"], e["sha256"]) if isinstance(e, dict) else (e[0], e[1]) for e in entries)


def total_bytes(sessions: Multiset) -> int:
    """The bytes of all sessions together."""
    return sum(size * count for (size, _), count in sessions.items())


def joined(logs: Logs) -> Multiset | None:
    """The sessions of all services together; None unless each keeps a log."""
    known = [multiset(log) for log in logs.values() if log is not None]
    return sum(known, Multiset()) if len(known) == len(logs) else None


def seen_by(copies: Statuses) -> dict[str, int]:
    """How many sessions each copy saw."""
    return {name: grown(status, "sessions", "seen") for name, status in copies.items()}


def outcomes_of(copies: Statuses) -> dict[str, Counter[str]]:
    """The outcomes of each copy's sessions."""
    found = {}
    for name, status in copies.items():
        words = status["after"].get("sessions", {}).get("outcomes", {})
        found[name] = +Counter({word: grown(status, "sessions", "outcomes", word) for word in words})
    return found


def grown(status: dict[str, Json], *path: str) -> int:
    """How much a counter of a daemon grew; one that it does not tell is 0."""
    before, after = status["before"], status["after"]
    for key in path[:-1]:
        before, after = before.get(key, {}), after.get(key, {})
    return int(after.get(path[-1], 0) - before.get(path[-1], 0))


def shares(counts: dict[str, int]) -> str:
    """What each host has of a number, when there are several hosts."""
    return f" ({', '.join(f'{name} {grouped(count)}' for name, count in counts.items())})" if len(counts) > 1 else ""


def judge_client(seen: Observed) -> Hop:
    """client → online, as the client saw it."""
    errors = seen.client["errors"]
    return Hop(
        "client: sent, and got back",
        not errors,
        seen.client["completed"],
        seen.client["bytes"],
        problem=f"{len(errors)} of {seen.client['sessions']} sessions failed at the client: {(errors or [''])[0]}",
    )


def judge_online(seen: Observed, sent: Multiset, logged: Multiset) -> Hop:
    """The online services' own logs."""
    read = logged & sent
    counts = {name: (multiset(log or []) & sent).total() for name, log in seen.online_log.items()}
    return Hop(
        "online: read by the service",
        read == sent,
        read.total(),
        total_bytes(read),
        problem=f"the online service logged {read.total()} of {sent.total()} sessions{shares(counts)}; "
        "look at journalctl -u echo_server on the online host",
    )


def judge_link(seen: Observed) -> Hop:
    """The links between the daemons, as both ends see them: all that copy wants, one at least at each intercept."""
    unlinked = []
    for daemon, statuses, enough in (("copy", seen.copy, all), ("intercept", seen.intercept, any)):
        for name, status in statuses.items():
            if not status["after"]:
                unlinked.append(f"copytool {daemon} on {name} does not answer")
            else:
                states = [peer.get("state", "unknown") for peer in status["after"].get("link", [])]
                if not states or not enough(state == "established" for state in states):
                    unlinked.append(f"copytool {daemon} on {name} says {', '.join(states) or 'that it has no peer'}")
    problem = "; ".join(unlinked) + "; look at journalctl -u 'copytool@*' there and at the firewall"
    return Hop("link: copy to intercept", not unlinked, note="established", problem=problem)


def judge_capture(seen: Observed, sent: Multiset) -> Hop:
    """What copy captured."""
    counts = seen_by(seen.copy)
    count, wanted = sum(counts.values()), sent.total() * seen.copies
    return Hop(
        "copy: seen on the wire",
        count >= wanted,
        count,
        problem=f"copy saw {count} of {wanted} sessions{shares(counts)}; "
        "check its mapping and interface (copytool status copy)",
    )


def judge_answers(seen: Observed) -> Hop:
    """Whether intercept captured any of the target's answers."""
    counts = {name: grown(status, "capture", "packets") for name, status in seen.intercept.items()}
    packets = sum(counts.values())
    return Hop(
        "intercept: answers captured",
        packets > 0,
        note=f"{grouped(packets)} packets",
        problem="the assistant got none of the target's answers; check the route on the target (fab route), "
        "intercept's interface and filter, and that the target host is up",
    )


def judge_mirror(seen: Observed, sent: Multiset) -> Hop:
    """What became of the sessions in copy."""
    outcomes = outcomes_of(seen.copy)
    counts = {name: own["mirrored"] for name, own in outcomes.items()}
    mirrored, wanted = sum(counts.values()), sent.total() * seen.copies
    others = sum(outcomes.values(), Counter[str]())
    del others["mirrored"]
    ok = set(others) <= {"sampled_out"} if seen.ratio < 100 else mirrored >= wanted
    listed = ", ".join(f"{count} {word}" for word, count in sorted(others.items())) or "no other outcome"
    hint = next((f"; {hint}" for word, hint in OUTCOME_HINTS.items() if word in others), "")
    return Hop(
        "copy: mirrored",
        ok,
        mirrored,
        note=listed if others else "",
        problem=f"copy mirrored {mirrored} of {wanted} sessions{shares(counts)} ({listed}){hint}",
    )


def judge_target(seen: Observed, sent: Multiset, logged: Multiset) -> Hop:
    """The target services' own logs."""
    arrived = Counter({key: count for key, count in logged.items() if key in sent})
    wanted = Counter({key: count * seen.copies for key, count in sent.items()})
    if seen.ratio < 100:
        mirrored = sum(own["mirrored"] for own in outcomes_of(seen.copy).values())
        ok = arrived <= wanted and arrived.total() == mirrored
    else:
        mirrored, ok = wanted.total(), arrived == wanted
    exact = (arrived & wanted).total()
    return Hop(
        "target: read by the service",
        ok,
        exact,
        total_bytes(arrived & wanted),
        note="byte for byte",
        problem=f"{exact} of {mirrored} sessions reached the target byte for byte; look at the route on the target "
        "(fab route) and at journalctl -u echo_server there",
    )


def judge(seen: Observed) -> Verdict:
    """Follow the sessions hop by hop; without test sessions only the link can be judged."""
    if not seen.client:
        return Verdict([judge_link(seen)])
    sent = multiset(seen.client["multiset"])
    hops = [judge_client(seen)]
    if (logged := joined(seen.online_log)) is not None:
        hops.append(judge_online(seen, sent, logged))
    hops += [judge_link(seen), judge_capture(seen, sent)]
    if seen.ratio == 100:
        hops.append(judge_answers(seen))
    hops.append(judge_mirror(seen, sent))
    if (logged := joined(seen.target_log)) is not None:
        hops.append(judge_target(seen, sent, logged))
    return Verdict(hops)


def table(rows: list[tuple[str, ...]], right: tuple[int, ...] = ()) -> list[str]:
    """Rows in columns, the columns `right` aligned to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def grouped(number: int | None) -> str:
    """A number with its thousands set apart."""
    return "" if number is None else f"{number:,}".replace(",", " ")


def headline(verdict: Verdict, seen: Observed) -> str:
    """The result in one line."""
    failed = verdict.failed()
    if failed:
        return f'FAILED at "{failed.name}": {failed.problem}'
    last = verdict.hops[-1]
    if last.sessions is None:
        return "copy and intercept are connected. No client drove test sessions."
    sent = f"{grouped(seen.client['completed'])} sessions with {grouped(seen.client['bytes'])} bytes"
    if seen.ratio < 100 or seen.copies != 1:
        sampling = f"-r {seen.ratio:g}, -n {seen.copies}"
        return f"Of {sent}, {grouped(last.sessions)} mirrored ones reached the target byte for byte ({sampling})."
    return f"All {sent} reached the target byte for byte."


def summary(verdict: Verdict, seen: Observed, hosts: list[Json], hints: list[Json]) -> list[str]:
    """The lines that people read."""
    host_rows = [(host["name"], host["address"], host["runs"]) for host in hosts]
    failed = verdict.failed()
    hop_rows = [("", "sessions", "bytes", "")]
    for hop in verdict.hops[: verdict.hops.index(failed) + 1] if failed else verdict.hops:
        state = " ".join(["ok" if hop.ok else "FAILED", f"({hop.note})" if hop.note and hop.ok else ""])
        hop_rows.append((hop.name, grouped(hop.sessions), grouped(hop.total_bytes), state))
    hint_rows = [(hint["command"], hint["purpose"]) for hint in hints]
    lines = ["", headline(verdict, seen), "", "Hosts"]
    lines += ["  " + line for line in table(host_rows)]
    lines += ["", "Test sessions, hop by hop" if seen.client else "Checks"]
    lines += ["  " + line for line in table(hop_rows, right=(1, 2))]
    if hint_rows:
        lines += ["", "Look around"]
        lines += ["  " + line for line in table(hint_rows)]
    return [*lines, ""]


class ActionModule(ActionBase):
    """Ansible's entry point."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: Json | None = None) -> Json:
        """Print the summary; fail when a hop did."""
        result: Json = super().run(tmp, task_vars)
        arguments = self._task.args
        seen = Observed(**arguments["observed"])
        verdict = judge(seen)
        failed = verdict.failed()
        colour = "red" if failed else "green"
        for number, line in enumerate(summary(verdict, seen, arguments["hosts"], arguments.get("hints", []))):
            Display().display(line, color=colour if number == 1 else None)
        result["changed"] = False
        if failed:
            result["failed"] = True
            result["msg"] = f"{failed.name}: {failed.problem}"
        return result
