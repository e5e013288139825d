"""Read the lab's hosts from the machine and carry out planned operations on them."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from ansible.module_utils import lab_nspawn, lab_processes
from ansible.module_utils.lab_mounts import mounts_below, unmount_below

_MADE_OF = "made_of"
"""File that names the build of the root file system below a host's overlay; noted before it is first mounted."""

_LEADER_GRACE_S = 5
"""How long a host may have no process 1, as while it reboots, before it counts as dead."""


class HostError(Exception):
    """A host cannot be made or does not come up; the message says why and what to do."""


class Hosts:
    """The hosts of one lab, on this machine."""

    def __init__(self, state_dir: Path, prefix: str) -> None:
        self._dir = state_dir / "hosts"
        self._prefix = prefix

    def read(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Current state, in the planner's form, of the hosts there are."""
        names = [entry.name for entry in sorted(self._dir.iterdir())] if self._dir.is_dir() else []
        return {name: self._read_host(name, wanted.get(name, {"files": {}})) for name in names}

    def apply(self, operations: list[dict[str, Any]]) -> None:
        """Carry out a plan."""
        for operation in operations:
            arguments = {key: value for key, value in operation.items() if key not in ("op", "host")}
            getattr(self, f"_{operation['op']}")(operation["host"], **arguments)
        if self._dir.is_dir() and not any(self._dir.iterdir()):
            self._dir.rmdir()

    def leader(self, name: str) -> int | None:
        """Pid, here, of process 1 of a host."""
        return next(iter(lab_processes.find(self._is_leader(name))), None)

    def log_tail(self, name: str, lines: int = 5) -> str:
        """Last lines that a host wrote to its console."""
        try:
            return "\n".join(self._log(name).read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return "(no console log)"

    def system_state(self, name: str) -> str:
        """What systemd inside a host says of itself; empty while it cannot be asked."""
        leader = self.leader(name)
        return self._systemctl(leader, "is-system-running") if leader else ""

    def failed_units(self, name: str) -> str:
        """Units that failed in a host, separated by blanks."""
        leader = self.leader(name)
        listing = self._systemctl(leader, "list-units", "--failed", "--plain", "--no-legend") if leader else ""
        return " ".join(line.split()[0] for line in listing.splitlines())

    def has_processes(self, name: str) -> bool:
        """Tell whether any process that runs this host is alive."""
        return bool(lab_processes.find(self._is_of(name)))

    def _read_host(self, name: str, wanted: dict[str, Any]) -> dict[str, Any]:
        root = self._root(name)
        return {
            "exists": True,
            "made_of": self._made_of(name),
            "mounted": str(root) in mounts_below(root),
            "files": {path: _read_file(root / path.lstrip("/")) for path in wanted["files"]},
            "processes": self.has_processes(name),
            "running": self._is_running(name),
        }

    def _made_of(self, name: str) -> str | None:
        try:
            return (self._host_dir(name) / _MADE_OF).read_text() or None
        except FileNotFoundError:
            return None

    def _is_running(self, name: str) -> bool:
        netns = Path("/run/netns") / lab_nspawn.machine(self._prefix, name)
        deadline = time.monotonic() + _LEADER_GRACE_S
        while True:
            leader = self.leader(name)
            monitors = [pid for pid in lab_processes.find(self._is_of(name)) if _runs_nspawn(pid)]
            if leader and monitors:
                return netns.exists() and lab_processes.netns_inode(leader) == netns.stat().st_ino
            if leader or not self.has_processes(name) or time.monotonic() > deadline:
                return False
            time.sleep(0.1)

    def _make_directory(self, name: str) -> None:
        self._dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._host_dir(name).mkdir(mode=0o755)

    def _mount(self, name: str, lower: str, build: str) -> None:
        paths = {part: self._host_dir(name) / part for part in ("root", "upper", "work")}
        for path in paths.values():
            path.mkdir(exist_ok=True)
        (self._host_dir(name) / _MADE_OF).write_text(build)
        options = f"lowerdir={lower},upperdir={paths['upper']},workdir={paths['work']}"
        _run("mount", "-t", "overlay", lab_nspawn.machine(self._prefix, name), "-o", options, str(paths["root"]))

    def _write(self, name: str, path: str, content: str, mode: str) -> None:
        target = self._root(name) / path.lstrip("/")
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, int(mode, 8)), "w") as file:
            os.fchmod(file.fileno(), int(mode, 8))
            file.write(content)

    def _boot(self, name: str) -> None:
        lab_nspawn.start(self._prefix, name, self._host_dir(name))

    def _kill(self, name: str) -> None:
        lab_processes.kill(self._is_of(name), f"host {name}")
        lab_nspawn.remove_traces(self._prefix, name, self._root(name))

    def _unmount(self, name: str) -> None:
        lab_nspawn.remove_traces(self._prefix, name, self._root(name))
        unmount_below(self._host_dir(name))

    def _remove_directory(self, name: str) -> None:
        lab_nspawn.remove_traces(self._prefix, name, self._root(name))
        unmount_below(self._host_dir(name))
        shutil.rmtree(self._host_dir(name))

    def _systemctl(self, leader: int, *arguments: str) -> str:
        command = ["nsenter", "--all", "--target", str(leader), "systemctl", *arguments]
        result = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        return result.stdout.strip()

    def _is_of(self, name: str) -> lab_processes.Predicate:
        return lab_processes.has_tag(str(self._host_dir(name)))

    def _is_leader(self, name: str) -> lab_processes.Predicate:
        is_of = self._is_of(name)
        return lambda pid: is_of(pid) and lab_processes.is_init(pid)

    def _host_dir(self, name: str) -> Path:
        return self._dir / name

    def _root(self, name: str) -> Path:
        return self._host_dir(name) / "root"

    def _log(self, name: str) -> Path:
        return self._host_dir(name) / lab_nspawn.LOG


def _runs_nspawn(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().startswith("systemd-nspawn")
    except OSError:
        return False


def _read_file(path: Path) -> dict[str, Any]:
    if path.is_symlink() or not path.is_file():
        return {"content": None, "mode": None}
    return {"content": path.read_text(errors="replace"), "mode": f"{path.stat().st_mode & 0o7777:04o}"}


def _run(*command: str) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise HostError(f"{' '.join(command)}: {result.stderr.strip() or result.stdout.strip()}")
