"""Has hosts do something, shows what they said, and fails in the end if one of them failed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from invoke import Exit

from .crowd import INTERRUPTED, Job, Result, run_all
from .fleet import Fleet, Host
from .reach import CLOSED, PROMPT, REFUSES, UnreachableError, command_for, explain
from .steps import NEVER_RAN, Done, Step, join, new_mark, split, started

QUERY_TIMEOUT_S = 60.0
CONTROL_TIMEOUT_S = 180.0
SSH_FAILED = 255
INTERRUPTED_STATUS = 130


class Report:
    """What failed where."""

    def __init__(self, fleet: Fleet, task: str) -> None:
        self.fleet = fleet
        self.task = task
        self.failures: dict[str, list[str]] = {}
        self.silent = False
        """Whether a host did not answer."""
        self._apart = True

    def show(self, text: str) -> None:
        """Print what belongs to a host, with empty lines around all that is longer than one line."""
        longer = text.count("\n") > 1
        print("\n" * (longer or self._apart), text, sep="", end="", flush=True)
        self._apart = longer

    def fail(self, host: str, reason: str) -> None:
        """Note it for the last line."""
        reasons = self.failures.setdefault(host, [])
        if reason and reason not in reasons:
            reasons.append(reason)

    def unreached(self, host: Host, result: Result) -> None:
        """Say why a host could not do anything, and note it."""
        if result.problem == INTERRUPTED:
            self.fail(host.name, INTERRUPTED)
            return
        what, reason = (CLOSED, result.problem) if result.problem else explain(host, result.messages)
        self.show(f"{host.name} {what}: {reason}\n")
        self.silent |= what != REFUSES
        self.fail(host.name, what)

    def last_line(self) -> str:
        """The hosts that failed, with the reasons."""
        each = (f"{host} ({', '.join(reasons)})" if reasons else host for host, reasons in self.failures.items())
        return f"{self.task} failed on {', '.join(each)}"


@contextmanager
def reporting(fleet: Fleet, task: str) -> Iterator[Report]:
    """Ends a task: with status 1 when a host failed, 130 after Ctrl-C; the last line names the hosts."""
    report = Report(fleet, task)
    try:
        yield report
    except KeyboardInterrupt:
        print(flush=True)
        raise Exit(report.last_line() if report.failures else "interrupted", INTERRUPTED_STATUS) from None
    if report.failures:
        hint = f"{fleet.hint}\n" if report.silent else ""
        raise Exit(f"\n{hint}{report.last_line()}", 1)


def job_for(fleet: Fleet, host: Host, script: str, as_root: bool = True) -> Job:
    """The job that runs a script on a host."""
    try:
        command = command_for(host, script, fleet.connect_timeout_s, as_root)
    except UnreachableError as error:
        return Job((), problem=str(error))
    return Job(command, f"{host.become_password}\n", PROMPT) if host.become_password else Job(command)


def carry_out(
    report: Report,
    plan: Mapping[Host, Sequence[Step]],
    timeout_s: float | None = QUERY_TIMEOUT_S,
    as_root: bool = True,
) -> None:
    """Run the steps of each host, on all hosts at once, and show them host by host, in order."""
    mark = new_mark()
    hosts = list(plan)

    def deliver(index: int, result: Result) -> None:
        host = hosts[index]
        show_result(report, host, plan[host], mark, result)

    jobs = [job_for(report.fleet, host, join(steps, mark), as_root) for host, steps in plan.items()]
    asyncio.run(run_all(jobs, report.fleet.forks, timeout_s, deliver))


def show_result(report: Report, host: Host, steps: Sequence[Step], mark: str, result: Result) -> None:
    """Show what a host said to its steps, and note what failed."""
    if not started(result.output, mark):
        report.unreached(host, result)
        return
    done = split(steps, mark, result.output)
    for one in done:
        report.show(one.text(host.name))
        if one.status not in (0, NEVER_RAN):
            report.fail(host.name, reason_of(one))
    if result.problem or len(done) < len(steps) or done[-1].status == NEVER_RAN:
        reason = result.problem or "the connection ended"
        report.show(f"{host.name}: broken off: {reason}\n")
        report.fail(host.name, reason)


def reason_of(done: Done) -> str:
    """What to call a step that failed."""
    return done.step.reason or f"status {done.status}"
