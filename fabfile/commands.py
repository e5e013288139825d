"""Tasks for what nobody thought of: run, capture."""

from __future__ import annotations

import asyncio
import shlex
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from invoke import Context, Exit

from .crowd import Result, run_all
from .fleet import Host
from .options import INVENTORY, SELECTION, fleet_of, fleet_task
from .report import SSH_FAILED, Report, carry_out, job_for, reporting
from .steps import Step

TIME_IS_UP = 124
"""The status of timeout(1) when it ended a command."""
SETTLE_S = 60.0

# The packets go to a file on the host first: sent at once they would be captured again.
CAPTURE = """\
pcap=$(mktemp /tmp/capture-XXXXXX) || exit 1
trap 'rm -f "$pcap"' EXIT
trap 'exit 143' HUP INT TERM
timeout --signal=INT {seconds} tcpdump -Z root -i any -n -U -c {packets} -w "$pcap" {filter} >&2
status=$?
cat "$pcap"
exit $status
"""


@fleet_task(
    command="the command, as one word, for the host's shell",
    timeout="seconds that it may take on a host; 0 for as long as it wants",
    sudo="run it as root (--no-sudo: as the user that logs in)",
    **SELECTION,
)
def run(
    context: Context, command: str, hosts: str = "", timeout: int = 60, sudo: bool = True, inventory: str = ""
) -> None:
    """Run a command as root on all hosts, or on those of --hosts: fab run 'ss -tn' --hosts target.

    Each host's output follows its name, in the order of the inventory. Fails if the command fails on a host, which
    the last line names with the status.
    """
    fleet = fleet_of(context, inventory, hosts)
    if not command.strip():
        raise Exit("no command: fab run 'ss -tn' --hosts target")
    step = Step(command.strip().splitlines()[0], command)
    chosen = fleet.everybody() or fleet.fail("is in one of the groups")
    with reporting(fleet, "run") as report:
        carry_out(report, dict.fromkeys(chosen, (step,)), timeout or None, as_root=sudo)


@fleet_task(
    host="the hosts: online, target, assistant, client, names, groups, patterns as for Ansible's --limit",
    filter="what to capture, as for tcpdump (all TCP but ssh)",
    seconds="how long at most (10)",
    packets="how many at most (10000)",
    output="local file; HOST.pcap when not given",
    **INVENTORY,
)
def capture(
    context: Context,
    host: str,
    filter: str = "tcp and not port 22",
    seconds: int = 10,
    packets: int = 10000,
    output: str = "",
    inventory: str = "",
) -> None:
    """Capture packets on hosts into local pcap files."""
    fleet = fleet_of(context, inventory, host)
    hosts = list(fleet.hosts.values())
    if output and len(hosts) > 1:
        raise Exit(f"--output is one file, and there are {', '.join(fleet.hosts)}: name one of them")
    paths = [Path(output or f"{one.name}.pcap") for one in hosts]
    script = CAPTURE.format(seconds=int(seconds), packets=int(packets), filter=shlex.quote(filter))
    print(f"capturing on {', '.join(fleet.hosts)} for {int(seconds)} s or {int(packets)} packets ...", flush=True)
    with reporting(fleet, "capture") as report, ExitStack() as stack:
        jobs = []
        for one, path in zip(hosts, paths, strict=True):
            part = path.with_name(f"{path.name}.part")
            stack.callback(part.unlink, missing_ok=True)
            jobs.append(replace(job_for(fleet, one, script), file=stack.enter_context(part.open("wb"))))

        def deliver(index: int, result: Result) -> None:
            keep(report, hosts[index], paths[index], result)

        # All at once, so that what passes several hosts is in all files.
        asyncio.run(run_all(jobs, len(jobs), seconds + SETTLE_S, deliver))


def keep(report: Report, host: Host, path: Path, result: Result) -> None:
    """Give a capture its name, or say why there is none."""
    if result.status in (0, TIME_IS_UP):
        path.with_name(f"{path.name}.part").replace(path)
        print(f"{path}: {path.stat().st_size} bytes; read it with tcpdump -nr {path}", flush=True)
    elif result.problem or result.status == SSH_FAILED or result.messages.startswith("sudo:"):
        report.unreached(host, result)
    else:
        print(f"{host.name}: tcpdump: {result.messages.strip()}", flush=True)
        report.fail(host.name, "tcpdump")
