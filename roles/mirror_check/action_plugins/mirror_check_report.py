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
    online_log: list[Json] | None
    """Session lines of the online service since the start; None when it keeps none."""
    copy_before: Json
    """copy's status before."""
    copy_after: Json
    """copy's status after; {} when it did not answer."""
    intercept_before: Json
    """intercept's status before."""
    intercept_after: Json
    """intercept's status after; {} when it did not answer."""
    target_log: list[Json] | None
    """Session lines of the target service since the start; None when it keeps none."""
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


def grown(before: Json, after: Json) -> tuple[int, dict[str, int]]:
    """How many sessions copy saw in between, and their outcomes."""
    old, new = before.get("sessions", {}), after.get("sessions", {})
    outcomes = {word: count - old.get("outcomes", {}).get(word, 0) for word, count in new.get("outcomes", {}).items()}
    return new.get("seen", 0) - old.get("seen", 0), {word: count for word, count in outcomes.items() if count}


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


def judge_online(seen: Observed, sent: Multiset) -> Hop:
    """The online service's own log."""
    read = multiset(seen.online_log or []) & sent
    return Hop(
        "online: read by the service",
        read == sent,
        read.total(),
        total_bytes(read),
        problem=f"the online service logged {read.total()} of {sent.total()} sessions; "
        "look at journalctl -u echo_server on the online host",
    )


def judge_link(seen: Observed) -> Hop:
    """The link between the daemons, as both see it."""
    states = [("copy", peer.get("state", "unknown")) for peer in seen.copy_after.get("link", [])] + [
        ("intercept", peer.get("state", "unknown")) for peer in seen.intercept_after.get("link", [])
    ]
    if not seen.copy_after:
        problem = "copytool copy does not answer; look at journalctl -u copytool@copy on the online host"
    elif not seen.intercept_after:
        problem = "copytool intercept does not answer; look at journalctl -u copytool@intercept on the assistant"
    else:
        shown = ", ".join(f"{side} says {state}" for side, state in states) or "neither side has a peer"
        problem = f"copy and intercept are not connected ({shown}); look at both journals and at the firewall"
    sides = {side for side, state in states if state == "established"}
    return Hop("link: copy to intercept", sides == {"copy", "intercept"}, note="established", problem=problem)


def judge_capture(seen: Observed, sent: Multiset) -> Hop:
    """What copy captured."""
    count, _ = grown(seen.copy_before, seen.copy_after)
    wanted = sent.total() * seen.copies
    return Hop(
        "copy: seen on the wire",
        count >= wanted,
        count,
        problem=f"copy saw {count} of {wanted} sessions; check its mapping and interface (copytool status copy)",
    )


def judge_answers(seen: Observed) -> Hop:
    """Whether intercept captured any of the target's answers."""
    before, after = (status.get("capture", {}) for status in (seen.intercept_before, seen.intercept_after))
    packets = after.get("packets", 0) - before.get("packets", 0)
    return Hop(
        "intercept: answers captured",
        packets > 0,
        note=f"{grouped(packets)} packets",
        problem="the assistant got none of the target's answers; check the route on the target (fab route), "
        "intercept's interface and filter, and that the target host is up",
    )


def judge_mirror(seen: Observed, sent: Multiset) -> Hop:
    """What became of the sessions in copy."""
    _, outcomes = grown(seen.copy_before, seen.copy_after)
    mirrored = outcomes.get("mirrored", 0)
    wanted = sent.total() * seen.copies
    others = {word: count for word, count in outcomes.items() if word != "mirrored"}
    ok = set(others) <= {"sampled_out"} if seen.ratio < 100 else mirrored >= wanted
    listed = ", ".join(f"{count} {word}" for word, count in sorted(others.items())) or "no other outcome"
    hint = next((f"; {hint}" for word, hint in OUTCOME_HINTS.items() if word in others), "")
    return Hop(
        "copy: mirrored",
        ok,
        mirrored,
        note=listed if others else "",
        problem=f"copy mirrored {mirrored} of {wanted} sessions ({listed}){hint}",
    )


def judge_target(seen: Observed, sent: Multiset) -> Hop:
    """The target service's own log."""
    arrived = Counter({key: count for key, count in multiset(seen.target_log or []).items() if key in sent})
    wanted = Counter({key: count * seen.copies for key, count in sent.items()})
    if seen.ratio < 100:
        mirrored = grown(seen.copy_before, seen.copy_after)[1].get("mirrored", 0)
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
    if seen.online_log is not None:
        hops.append(judge_online(seen, sent))
    hops += [judge_link(seen), judge_capture(seen, sent)]
    if seen.ratio == 100:
        hops.append(judge_answers(seen))
    hops.append(judge_mirror(seen, sent))
    if seen.target_log is not None:
        hops.append(judge_target(seen, sent))
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
