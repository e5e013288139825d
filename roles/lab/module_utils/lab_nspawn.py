"""Run one lab host with systemd-nspawn, under the machine's systemd when it has one and else by itself.

On its own, nspawn shares the control group that it is started in with every other nspawn there, and the systemds in
them would take each other's services for their own: so each host gets a group. And nspawn ends with status 133 when
the host inside reboots: whoever started it has to start it again.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import time
from pathlib import Path

from ansible.module_utils.lab_processes import TAG

LOG = "console.log"
_SCRIPT = "run"
_REBOOT_STATUS = 133
_CGROUP_MOUNTS = ("/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified")
_NSPAWN_RUN_DIR = Path("/run/systemd/nspawn")

_SUPERVISOR = """\
#!/bin/bash
# Runs the lab host {machine} and starts it again each time that it reboots.
join_cgroup() {{
    local mount
    for mount in {cgroup_mounts}; do
        if [ -e "$mount/cgroup.procs" ]; then
            mkdir -p "$mount/{cgroup}" && echo "$BASHPID" > "$mount/{cgroup}/cgroup.procs"
        fi
    done
}}
while :; do
{forget_routes}
    (join_cgroup; exec {nspawn})
    status=$?
    [ "$status" -eq {reboot_status} ] || exit "$status"
done
"""


class StartError(Exception):
    """The machine's systemd refused to start a host."""


class TracesError(Exception):
    """Something that a host left cannot be removed."""


def machine(prefix: str, name: str) -> str:
    """Name of a host on this machine: of its namespace, its control group and its unit."""
    return f"{prefix}-{name}"


def nspawn_command(prefix: str, name: str, host_dir: Path) -> list[str]:
    """The command that runs a host in the foreground."""
    return [
        "systemd-nspawn",
        f"--directory={host_dir}/root",
        "--boot",
        "--register=no",
        "--keep-unit",
        f"--machine={machine(prefix, name)}",
        f"--hostname={name}",
        f"--network-namespace-path=/run/netns/{machine(prefix, name)}",
        "--resolv-conf=off",
        "--timezone=off",
        "--link-journal=no",
        "--capability=CAP_NET_ADMIN,CAP_NET_RAW",
        f"--setenv={TAG}={host_dir}",
        "--console=read-only",
    ]


def forget_routes_commands(prefix: str, name: str) -> list[list[str]]:
    """Commands that drop the routes that were set inside, as the namespace outlives a reboot and they must not."""
    return [
        ["ip", "-n", machine(prefix, name), family, "route", "flush", "table", "all", "proto", protocol]
        for family in ("-4", "-6")
        for protocol in ("boot", "static")
    ]


def supervisor_script(prefix: str, name: str, host_dir: Path) -> str:
    """The program that runs a host where no systemd does."""
    commands = forget_routes_commands(prefix, name)
    return _SUPERVISOR.format(
        machine=machine(prefix, name),
        cgroup_mounts=" ".join(_CGROUP_MOUNTS),
        cgroup=_cgroup(prefix, name),
        forget_routes="\n".join(f"    {shlex.join(command)} 2>/dev/null" for command in commands),
        nspawn=shlex.join(nspawn_command(prefix, name, host_dir)),
        reboot_status=_REBOOT_STATUS,
    )


def start(prefix: str, name: str, host_dir: Path) -> None:
    """Start a host and return at once."""
    if Path("/run/systemd/system").is_dir():
        _start_unit(prefix, name, host_dir)
    else:
        _start_detached(prefix, name, host_dir)


def remove_traces(prefix: str, name: str, root: Path) -> None:
    """Remove what a killed host leaves on the machine. Its processes must have ended, its root be mounted still."""
    if root.exists():
        status = root.stat()
        (_NSPAWN_RUN_DIR / "locks" / f"inode-{status.st_dev}:{status.st_ino}").unlink(missing_ok=True)
    _remove_empty(_NSPAWN_RUN_DIR / "propagate" / machine(prefix, name))
    for directory in ("locks", "propagate", "."):
        _remove_empty(_NSPAWN_RUN_DIR / directory)
    for mount in _CGROUP_MOUNTS:
        _remove_cgroup(Path(mount) / _cgroup(prefix, name))


def _cgroup(prefix: str, name: str) -> str:
    return f"{prefix}/{name}"


def _remove_cgroup(group: Path, timeout_s: float = 10) -> None:
    """Remove a control group. Killed processes may be in it for a moment after they have lost all else."""
    deadline = time.monotonic() + timeout_s
    while group.is_dir():
        for directory, _, _ in os.walk(group, topdown=False):
            _remove_empty(Path(directory))
        if group.is_dir():
            if time.monotonic() > deadline:
                raise TracesError(f"control group {group} still has processes after {timeout_s:.0f} s")
            time.sleep(0.02)
    _remove_empty(group.parent)


def _remove_empty(directory: Path) -> None:
    with contextlib.suppress(OSError):
        directory.rmdir()


def _environment(host_dir: Path) -> dict[str, str]:
    return {TAG: str(host_dir), "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"}


def _start_detached(prefix: str, name: str, host_dir: Path) -> None:
    script = host_dir / _SCRIPT
    script.write_text(supervisor_script(prefix, name, host_dir))
    script.chmod(0o755)
    with (host_dir / LOG).open("wb") as log:
        subprocess.Popen(
            [str(script)],
            cwd="/",
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", **_environment(host_dir)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _start_unit(prefix: str, name: str, host_dir: Path) -> None:
    unit = machine(prefix, name)
    log = host_dir / LOG
    command = ["systemd-run", f"--unit={unit}", "--collect", f"--description=copytool lab host {name}"]
    command += [f"--setenv={key}={value}" for key, value in _environment(host_dir).items()]
    properties = ["Delegate=yes", "KillMode=mixed", "SuccessExitStatus=133", "RestartForceExitStatus=133"]
    properties += [f"StandardOutput=append:{log}", f"StandardError=append:{log}", "TimeoutStopSec=20"]
    properties += [f"ExecStartPre=-{shlex.join(line)}" for line in forget_routes_commands(prefix, name)]
    command += [f"--property={item}" for item in properties]
    result = subprocess.run(
        [*command, "--", *nspawn_command(prefix, name, host_dir)], capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        raise StartError(f"systemd-run for host {name}: {result.stderr.strip()}")
