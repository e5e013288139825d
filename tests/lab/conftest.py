"""Labs of the tests' own. They share nothing but the root file system with the one that `make lab` made."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

REPOSITORY = Path(__file__).resolve().parents[2]
ADDRESSES = {"one": "192.168.70.1", "two": "192.168.70.2"}
INVENTORY = {
    "all": {
        "hosts": {
            "localhost": {
                "ansible_connection": "local",
                "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            }
        },
        "children": {"lab_hosts": {"hosts": {name: {"lab_address": address} for name, address in ADDRESSES.items()}}},
    }
}
_numbers = itertools.count()


# The marks of `--dist loadgroup` are lost on pytest 9.
class LabScheduling(LoadScopeScheduling):
    """Gives a worker all tests of one lab: of one module, or of one parameter where a module has several labs."""

    def _split_scope(self, nodeid: str) -> str:
        module, _, test = nodeid.partition("::")
        return f"{module}[{test.partition('[')[2]}"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LabScheduling:
    """With -n 2 the tests of two labs run side by side."""
    return LabScheduling(config, log)


@dataclass(frozen=True)
class Run:
    """What an ansible-playbook run said."""

    status: int
    output: str

    @property
    def changed(self) -> int:
        """Number of tasks that changed something, over all hosts."""
        return sum(int(number) for number in re.findall(r"^\S+ +: .*changed=(\d+)", self.output, re.MULTILINE))


def wait_until(predicate: Callable[[], object], what: str, timeout_s: float = 60) -> None:
    """Poll until ``predicate`` holds."""
    deadline = time.monotonic() + timeout_s
    while not predicate():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.005)


def as_root(*command: str, check: bool = True) -> str:
    """Output of a command run as root."""
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    return subprocess.run([*sudo, *command], stdout=subprocess.PIPE, text=True, check=check).stdout


def send_signal(signal: str, *pids: int) -> None:
    """Signal processes, as root; those that have ended do not matter. By the shell: small systems have no kill."""
    as_root("sh", "-c", 'kill "$@"', "sh", f"-{signal}", *map(str, pids), check=False)


def kill_tree(pid: int) -> None:
    """kill -9 a process with all below it, stopping each first so that none escapes."""
    stopped = []
    remaining = [pid]
    while remaining:
        parent = remaining.pop()
        send_signal("STOP", parent)
        stopped.append(parent)
        remaining += children(parent)
    send_signal("KILL", *stopped)


def children(pid: int) -> list[int]:
    """Pids of the children of a process."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(number) for number in path.read_text().split()]
    return found


class Lab:
    """A lab with a name, a state directory and a user directory that no other has."""

    def __init__(self, directory: Path, inventory: Path | None = None) -> None:
        """A small lab, or one of an inventory."""
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.prefix = f"ctt{os.getpid()}n{next(_numbers)}"
        self.state_dir = directory / "state"
        self.user_dir = directory / "user"
        self.extra = {
            "lab_prefix": self.prefix,
            "lab_state_dir": str(self.state_dir),
            "lab_user_dir": str(self.user_dir),
            "lab_keep_rootfs": True,
        }
        self.inventory = inventory or directory / "inventory.json"
        self.more: tuple[str, ...] = ()
        if inventory is None:
            self.inventory.write_text(json.dumps(INVENTORY))

    def up(self, *options: str) -> Run:
        """Make the lab."""
        return self.play("playbooks/lab.yml", *options)

    def site(self, *options: str) -> Run:
        """Make the lab and all that is in it."""
        return self.play("site.yml", *options)

    def make(self) -> Run:
        """Make the lab, which has to succeed."""
        result = self.up()
        assert result.status == 0, result.output
        return result

    def down(self, *options: str) -> Run:
        """Remove the lab."""
        return self.play("playbooks/teardown.yml", *options)

    def up_until(self, predicate: Callable[[], object], what: str, *, whole_tree: bool = True) -> None:
        """Begin to make the lab and kill -9 it as soon as ``predicate`` holds.

        Without ``whole_tree`` only Ansible itself is killed, and the module that it was running goes on alone.
        """
        log = self.directory / "log"
        with log.open("w") as output:
            process = subprocess.Popen(self._command("playbooks/lab.yml"), cwd=REPOSITORY, stdout=output, stderr=output)
        try:
            wait_until(lambda: predicate() or process.poll() is not None, what)
            assert process.poll() is None, f"ansible-playbook ended before: {what}:\n{log.read_text()}"
        finally:
            kill_tree(process.pid) if whole_tree else process.kill()
            process.wait()

    def ssh(self, host: str, command: str) -> str:
        """Output of a command run in a host."""
        arguments = ["ssh", "-F", str(self.user_dir / "ssh_config"), host, command]
        return subprocess.run(arguments, stdout=subprocess.PIPE, text=True, check=True).stdout

    def processes(self, host: str = "") -> list[int]:
        """Pids of the processes that carry the tag of the lab, or of one of its hosts."""
        tag = f"COPYTOOL_LAB_OWNER={self.state_dir / 'hosts' / host}"
        paths = as_root("sh", "-c", 'grep -lzs "^$1" /proc/[0-9]*/environ', "sh", tag, check=False)
        return [int(path.split("/")[2]) for path in paths.split()]

    def nspawn(self, host: str) -> int:
        """Pid of the systemd-nspawn that runs a host."""
        names = {pid: Path(f"/proc/{pid}/comm").read_text().strip() for pid in self.processes(host)}
        (pid,) = [pid for pid, name in names.items() if name == "systemd-nspawn"]
        return pid

    def namespaces(self) -> list[str]:
        """Network namespaces of the lab."""
        return [path.name for path in Path("/run/netns").glob(f"{self.prefix}-*")]

    def mounts(self) -> list[str]:
        """Mount points of the lab."""
        points = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
        return [point for point in points if self.prefix in point or point.startswith(str(self.state_dir))]

    def traces(self) -> list[str]:
        """All that there is of the lab on this machine."""
        files = [str(path) for path in (self.state_dir, self.user_dir) if path.exists()]
        files += as_root("find", "/run/systemd/nspawn", "-name", f"*{self.prefix}*", check=False).split()
        files += as_root("find", "/sys/fs/cgroup", "-type", "d", "-name", f"*{self.prefix}*", check=False).split()
        processes = [f"process {pid}" for pid in self.processes()]
        return [*self.namespaces(), *self.mounts(), *processes, *files]

    def play(self, playbook: str, *options: str) -> Run:
        """Run a playbook on the lab."""
        result = subprocess.run(
            self._command(playbook, *options),
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return Run(result.returncode, result.stdout)

    def _command(self, playbook: str, *options: str) -> list[str]:
        program = str(Path(sys.executable).with_name("ansible-playbook"))
        extra = ["-i", str(self.inventory), *self.more, "-e", json.dumps(self.extra)]
        return [program, playbook, *extra, *options]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A lab that is not made yet. It is gone after the test, whatever the test did."""
    with removed_afterwards(Lab(tmp_path)) as lab:
        yield lab


@contextlib.contextmanager
def removed_afterwards(lab: Lab) -> Iterator[Lab]:
    """Lends a lab and removes it, of which nothing must be left."""
    try:
        yield lab
    finally:
        result = lab.down()
        assert result.status == 0, result.output
        assert lab.traces() == []
        shutil.rmtree(lab.directory)
