"""Mounts below a directory: which there are, and taking them away."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path


class MountError(Exception):
    """A mount cannot be taken away."""


def mounts_below(directory: Path) -> list[str]:
    """Mount points at and below a directory, oldest first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [_unescape(line.split()[4]) for line in lines]
    return [point for point in points if Path(point).is_relative_to(directory)]


def overlays_on(directory: Path) -> list[str]:
    """Mount points, anywhere, of overlays that have their lower layer at or below a directory."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, tail = line.partition(" - ")
        _type, _source, options = tail.split(" ", 2)
        lowers = [option.removeprefix("lowerdir=") for option in options.split(",") if option.startswith("lowerdir=")]
        if any(Path(_unescape(lower)).is_relative_to(directory) for lower in lowers):
            found.append(_unescape(fields.split()[4]))
    return found


def unmount_below(directory: Path, timeout_s: float = 5) -> None:
    """Unmount all at and below a directory, newest first; what stays busy is detached."""
    deadline = time.monotonic() + timeout_s
    while found := mounts_below(directory):
        mount_point = found[-1]
        if _umount(mount_point):
            continue
        if time.monotonic() < deadline:
            time.sleep(0.05)
        elif not _umount("--lazy", mount_point):
            raise MountError(f"cannot unmount {mount_point}: unmount it by hand and run this again")


def _umount(*arguments: str) -> bool:
    return subprocess.run(["umount", *arguments], capture_output=True, check=False).returncode == 0


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
