"""Tasks that look: status, ended, logs, follow, route."""

from __future__ import annotations

import asyncio

from invoke import Context

from .crowd import Result, follow_all
from .fleet import Fleet
from .options import DAEMON, SELECTION, fleet_of, fleet_task
from .report import Report, carry_out, job_for, reporting
from .steps import Step


@fleet_task(**SELECTION)
def status(context: Context, hosts: str = "", inventory: str = "") -> None:
    """Show what runs on each host, the link and the counters.

    Fails if a daemon does not run, or the echo service on a host of echo_hosts.
    """
    fleet = fleet_of(context, inventory, hosts)
    running = fleet.running()
    services = {*fleet.of_group("online_hosts"), *fleet.of_group("target_hosts")}
    expected = fleet.of_group("echo_hosts")
    plan = {}
    for host in fleet.hosts.values():
        echo = [echo_step(host in expected)] if host in services else []
        if steps := [daemon_step(own) for own in running.get(host, [])] + echo:
            plan[host] = steps
    with reporting(fleet, "status") as report:
        carry_out(report, plan or fleet.fail("runs a daemon or a service"))


def daemon_step(daemon: str) -> Step:
    """What systemd and a daemon itself say."""
    command = f"printf '  service      %s\\n' \"$(systemctl is-active copytool@{daemon})\"\ncopytool status {daemon}"
    return Step(f"copytool {daemon}", command, reason=f"copytool {daemon}")


def echo_step(expected: bool) -> Step:
    """Whether the echo service runs, which it need not everywhere."""
    command = f"systemctl is-active echo_server || {'exit 1' if expected else ':'}"
    return Step("echo service", command, inline=True, reason="echo service")


@fleet_task(count="how many sessions", **SELECTION)
def ended(context: Context, count: int = 20, hosts: str = "", inventory: str = "") -> None:
    """Show the mirrored sessions that ended last, with outcome and reason."""
    fleet = fleet_of(context, inventory, hosts)
    step = Step("the last sessions", f"copytool status --sessions {int(count)}", reason="copytool copy")
    with reporting(fleet, "ended") as report:
        carry_out(report, dict.fromkeys(fleet.which_run("copy"), (step,)))


@fleet_task(lines="how many lines", **DAEMON, **SELECTION)
def logs(context: Context, daemon: str = "", lines: int = 50, hosts: str = "", inventory: str = "") -> None:
    """Show the last log lines of the daemons."""
    fleet = fleet_of(context, inventory, hosts)
    command = f"journalctl --no-pager -n {int(lines)} -o short-iso -u copytool@"
    plan = {
        host: [Step(f"copytool {own}", command + own, reason="journalctl") for own in running]
        for host, running in fleet.which_run(daemon).items()
    }
    with reporting(fleet, "logs") as report:
        carry_out(report, plan)


@fleet_task(**DAEMON, **SELECTION)
def follow(context: Context, daemon: str = "", hosts: str = "", inventory: str = "") -> None:
    """Follow the logs of the daemons until Ctrl-C, each line with its host's name.

    A host that does not answer is named at once, and the others are followed. Keeps one connection to each host.
    """
    fleet = fleet_of(context, inventory, hosts)
    with reporting(fleet, "follow") as report:
        try:
            asyncio.run(follow_logs(fleet, report, daemon))
        except KeyboardInterrupt:
            if report.failures:
                raise
            print(flush=True)


async def follow_logs(fleet: Fleet, report: Report, daemon: str) -> None:
    """Print the lines as they come, until all connections have ended."""
    running = fleet.which_run(daemon)
    followed = list(running)
    width = max(len(host.name) for host in followed)

    def tell(index: int, line: str) -> None:
        print(f"{followed[index].name:<{width}} | {line}", flush=True)

    def gone(index: int, result: Result) -> None:
        if result.messages or result.problem:
            report.unreached(followed[index], result)
        else:
            tell(index, "-- no more: journalctl has ended")
            report.fail(followed[index].name, "")

    jobs = []
    for host, own in running.items():
        units = " ".join(f"-u copytool@{one}" for one in own)
        jobs.append(job_for(fleet, host, f"exec journalctl --no-pager -f -n 5 -o short {units}"))
    await follow_all(jobs, tell, gone)


@fleet_task(**SELECTION)
def route(context: Context, hosts: str = "", inventory: str = "") -> None:
    """Show the route of mirrored sessions' answers: target to assistant, and that it ends there.

    Fails if the service that keeps a target's route does not run, or an assistant forwards. (One that is also a target
    or an online host may have to.)
    """
    fleet = fleet_of(context, inventory, hosts)
    targets, assistants = fleet.of_group("target_hosts"), fleet.of_group("assistant_hosts")
    others = {*targets, *fleet.of_group("online_hosts")}
    plan = {}
    for host in fleet.hosts.values():
        steps = [ROUTES] if host in targets else []
        steps += [forwarding_step(judge=host not in others)] if host in assistants else []
        if steps:
            plan[host] = steps
    with reporting(fleet, "route") as report:
        carry_out(report, plan or fleet.fail("is a target or an assistant"))


ROUTES = Step(
    "routes",
    "ip route show || exit 1\nsystemctl --no-pager -n 0 status mirror-route | sed -n 2,4p\n"
    "systemctl is-active --quiet mirror-route",
    reason="mirror-route does not run",
)


def forwarding_step(judge: bool) -> Step:
    """Whether an assistant forwards."""
    command = "sysctl net.ipv4.ip_forward || exit 1\n"
    command += '[ "$(sysctl -n net.ipv4.ip_forward)" = 0 ]' if judge else ":"
    return Step("forwarding (0 is right)", command, reason="it forwards")
