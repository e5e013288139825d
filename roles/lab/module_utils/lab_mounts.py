"""Mounts below a directory: which there are, and taking them away."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path


class MountError(Exception):
    """A mount cannot be taken away."""


def mounts_below(directory: Path) -> dict[str, str]:
    """Mount points at and below a directory, oldest first, each with its overlay's lower directory or its source."""
    found = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, tail = line.partition(" - ")
        mount_point = _unescape(fields.split()[4])
        if Path(mount_point).is_relative_to(directory):
            found[mount_point] = _origin(tail)
    return found


def unmount_below(directory: Path, timeout_s: float = 5) -> None:
    """Unmount all at and below a directory, newest first; what stays busy is detached."""
    deadline = time.monotonic() + timeout_s
    while found := mounts_below(directory):
        mount_point = list(found)[-1]
        if _umount(mount_point):
            continue
        if time.monotonic() < deadline:
            time.sleep(0.05)
        elif not _umount("--lazy", mount_point):
            raise MountError(f"cannot unmount {mount_point}: unmount it by hand and run this again")


def _umount(*arguments: str) -> bool:
    return subprocess.run(["umount", *arguments], capture_output=True, check=False).returncode == 0


def _origin(tail: str) -> str:
    _type, source, options = tail.split(" ", 2)
    for option in options.split(","):
        if option.startswith("lowerdir="):
            return _unescape(option.removeprefix("lowerdir="))
    return source


def _unescape(text: str) -> str:
    return text.encode().decode("unicode_escape") if "\\" in text else text
