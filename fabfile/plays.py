"""Tasks that run playbooks: sessions, check."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from invoke import Context, Exit

from .fleet import REPOSITORY, Fleet
from .options import INVENTORY, SELECTION, fleet_of, fleet_task
from .report import reporting

GRACE_S = 10.0
RECAP = re.compile(r"^(\S+) +: ok=\d+ .*?unreachable=(\d+) +failed=(\d+) ", re.MULTILINE)


@fleet_task(
    count="how many sessions",
    concurrency="how many at once",
    turns="at most this many requests in a session",
    **{"max-bytes": "at most this many bytes in a request"},
    **INVENTORY,
)
def sessions(
    context: Context,
    count: int = 100,
    concurrency: int = 20,
    turns: int = 10,
    max_bytes: int = 8192,
    inventory: str = "",
) -> None:
    """Drive test sessions and say how many reached the target byte for byte.

    They pass all online hosts and targets, so no selection of hosts makes sense here.
    """
    fleet = fleet_of(context, inventory)
    if not fleet.of_group("client_hosts"):
        raise Exit(f"{fleet.inventory} has no host in client_hosts to drive sessions from")
    values = {"sessions": count, "concurrency": concurrency, "turns": turns, "max_bytes": max_bytes}
    play(fleet, "sessions", "verify.yml", {f"mirror_check_{name}": int(value) for name, value in values.items()})


@fleet_task(**SELECTION)
def check(context: Context, hosts: str = "", inventory: str = "") -> None:
    """Find out why nothing arrives, hop by hop over all hosts; before mirroring or meanwhile."""
    play(fleet_of(context, inventory, hosts), "check", "check.yml", {})


def play(fleet: Fleet, task: str, playbook: str, values: dict[str, int]) -> None:
    """Run a playbook on the hosts that are selected, and show the summary that it prints."""
    variables: dict[str, object] = dict(values)
    if config := os.environ.get("COPYTOOL_SSH_CONFIG"):
        variables["ansible_ssh_common_args"] = f"-F {shlex.quote(config)}"
    command = [str(Path(sys.executable).with_name("ansible-playbook")), f"playbooks/{playbook}"]
    command += ["-i", str(fleet.inventory.resolve()), "-e", json.dumps(variables)]
    if fleet.selection:
        command += ["--limit", ",".join([*fleet.hosts, "localhost"])]  # localhost joins what the others say
    with reporting(fleet, task) as report:
        status, output = run_playbook(command)
        print("\n".join(summary_of(output)) or failures_of(output), flush=True)
        for host, unreachable, failed in RECAP.findall(output):
            if int(unreachable):
                report.silent = True
                report.fail(host, "does not answer")
            elif int(failed) and host != "localhost":
                report.fail(host, "")
        if status != 0 and not report.failures:
            raise Exit(f"\n{task} failed, see above", 1)


def run_playbook(command: list[str]) -> tuple[int, str]:
    """Its status and output. Ctrl-C is passed on once, so that Ansible can clean up."""
    environment = {**os.environ, "ANSIBLE_FORCE_COLOR": "false", "ANSIBLE_NOCOLOR": "true"}
    with subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as process:
        try:
            output, _ = process.communicate()
        except KeyboardInterrupt:
            os.killpg(process.pid, signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=GRACE_S)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, output


def summary_of(output: str) -> list[str]:
    """The summary that a playbook printed among Ansible's own lines."""
    lines = output.splitlines()
    with suppress(ValueError):
        if "Hop by hop" in lines:
            table = lines.index("Hop by hop")
            return lines[table - 2 : lines.index("", table)]
        hosts = lines.index("Hosts")
        end = lines.index("Look around") if "Look around" in lines else len(lines)
        return lines[hosts - 2 : end]
    return []


def failures_of(output: str) -> str:
    """The tasks that failed, and the recap; everything if none did."""
    blocks = output.strip().split("\n\n")
    failed = [block for block in blocks if re.search(r"^(fatal|failed): ", block, re.MULTILINE)]
    return "\n\n".join([*failed, *(block for block in blocks if block.startswith("PLAY RECAP"))] if failed else blocks)
