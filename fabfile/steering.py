"""Tasks that steer what copy does, and start and stop the daemons."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from invoke import Context

from .fleet import Fleet
from .options import DAEMON, SELECTION, fleet_of, fleet_task
from .report import CONTROL_TIMEOUT_S, QUERY_TIMEOUT_S, carry_out, reporting
from .steps import Step


@fleet_task(**SELECTION)
def pause(context: Context, hosts: str = "", inventory: str = "") -> None:
    """Mirror no new connections; sessions that are open go on."""
    steer(fleet_of(context, inventory, hosts), "pause", [["pause"]])


@fleet_task(**SELECTION)
def resume(context: Context, hosts: str = "", inventory: str = "") -> None:
    """Mirror new connections again."""
    steer(fleet_of(context, inventory, hosts), "resume", [["resume"]])


@fleet_task(percent="of the connections", ramp="get there step by step, like 10m", **SELECTION)
def ratio(context: Context, percent: str, ramp: str = "", hosts: str = "", inventory: str = "") -> None:
    """Mirror another share of the new connections: fab ratio 5% --ramp 10m."""
    steer(fleet_of(context, inventory, hosts), "ratio", [["ratio", percent, *(("ramp", ramp) if ramp else ())]])


@fleet_task(count="mirror sessions per client connection", **SELECTION)
def copies(context: Context, count: int, hosts: str = "", inventory: str = "") -> None:
    """Mirror new connections so many times each."""
    steer(fleet_of(context, inventory, hosts), "copies", [["copies", str(count)]])


@fleet_task(timeout="give up after that, like 10m", **SELECTION)
def drain(context: Context, timeout: str = "", hosts: str = "", inventory: str = "") -> None:
    """Pause, and wait until no session is open any more.

    Without --timeout that may take as long as clients keep their connections.
    """
    words = [["pause"], ["drain", *(("--timeout", timeout) if timeout else ())]]
    steer(fleet_of(context, inventory, hosts), "drain", words, timeout_s=None)


def steer(
    fleet: Fleet, task: str, commands: Sequence[Sequence[str]], timeout_s: float | None = QUERY_TIMEOUT_S
) -> None:
    """Run copytool's commands on every host where copy runs."""
    steps = [
        Step(f"copytool {words[0]}", f"copytool {shlex.join(words)}", reason=f"copytool {words[0]}")
        for words in commands
    ]
    with reporting(fleet, task) as report:
        carry_out(report, dict.fromkeys(fleet.which_run("copy"), steps), timeout_s)


@fleet_task(**DAEMON, **SELECTION)
def start(context: Context, daemon: str = "", hosts: str = "", inventory: str = "") -> None:
    """Start the daemons: intercept, then copy, then forward."""
    fleet = fleet_of(context, inventory, hosts)
    control(fleet, "start", fleet.daemons(daemon))


@fleet_task(**DAEMON, **SELECTION)
def stop(context: Context, daemon: str = "", hosts: str = "", inventory: str = "") -> None:
    """Stop the daemons: forward, then copy, then intercept. The online service runs on."""
    fleet = fleet_of(context, inventory, hosts)
    control(fleet, "stop", list(reversed(fleet.daemons(daemon))))


@fleet_task(**DAEMON, **SELECTION)
def restart(context: Context, daemon: str = "", hosts: str = "", inventory: str = "") -> None:
    """Restart the daemons: intercept, then copy, then forward. Sessions being mirrored are given up."""
    fleet = fleet_of(context, inventory, hosts)
    control(fleet, "restart", fleet.daemons(daemon))


def control(fleet: Fleet, verb: str, order: Sequence[str]) -> None:
    """Start, stop or restart daemons, one kind after the other, each on all its hosts at once.

    What fails on one host holds up neither the others nor the next kind: copy without intercept does no harm.
    """
    by_host = fleet.which_run(order[0] if len(order) == 1 else "")
    with reporting(fleet, verb) as report:
        for daemon in order:
            own = [host for host, daemons in by_host.items() if daemon in daemons]
            carry_out(report, dict.fromkeys(own, (control_step(verb, daemon),)), CONTROL_TIMEOUT_S)


def control_step(verb: str, daemon: str) -> Step:
    """Do it, and say how that went."""
    unit = f"copytool@{daemon}"
    command = f'said=$(systemctl {verb} {unit} 2>&1); status=$?; systemctl is-active {unit}\n[ -z "$said" ] || '
    command += f"""printf '%s\\nSee: fab logs --daemon {daemon}\\n' "$said"; exit $status"""
    return Step(f"copytool {daemon}", command, inline=True, reason=f"copytool {daemon}")
