"""Find and end the lab's processes by what they carry, never by name or by a number noted earlier.

The lab starts its processes with a tag in their environment, so that they are found again whatever crashed in
between. A process is signalled through a pidfd that was checked after it was opened: a reused pid is never hit.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

TAG = "COPYTOOL_LAB_OWNER"
"""Environment variable that names what a process belongs to: a path below the lab's state or cache directory."""

Predicate = Callable[[int], bool]


class ProcessesSurviveError(Exception):
    """Processes are still there after they were killed."""


def has_tag(owner: str, *, below: bool = False) -> Predicate:
    """Tell whether a process carries the tag of ``owner``, or of something ``below`` it."""
    exact = f"{TAG}={owner}".encode()

    def check(pid: int) -> bool:
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            return False
        return any(item == exact or (below and item.startswith(exact + b"/")) for item in environment)

    return check


def in_netns(inode: int) -> Predicate:
    """Tell whether a process is in the network namespace with this inode number."""

    def check(pid: int) -> bool:
        return netns_inode(pid) == inode

    return check


def netns_inode(pid: int) -> int | None:
    """Inode number of the network namespace of a process, None when it has ended."""
    try:
        return Path(f"/proc/{pid}/ns/net").stat().st_ino
    except OSError:
        return None


def find(predicate: Predicate) -> list[int]:
    """Pids of the processes for which ``predicate`` holds."""
    numbers = (int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit())
    return sorted(pid for pid in numbers if predicate(pid))


def is_init(pid: int) -> bool:
    """Tell whether a process is process 1 of a pid namespace below ours."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    for line in status.splitlines():
        if line.startswith("NSpid:"):
            numbers = line.split()[1:]
            return len(numbers) > 1 and numbers[-1] == "1"
    return False


def kill(predicate: Predicate, what: str, timeout_s: float = 20) -> None:
    """Kill every process for which ``predicate`` holds and wait until none is left."""
    deadline = time.monotonic() + timeout_s
    while pids := find(predicate):
        if time.monotonic() > deadline:
            raise ProcessesSurviveError(f"{what}: processes {pids} survive SIGKILL for {timeout_s:.0f} s")
        for pid in pids:
            _kill_one(pid, predicate)
        time.sleep(0.02)


def _kill_one(pid: int, predicate: Predicate) -> None:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if predicate(pid):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)
