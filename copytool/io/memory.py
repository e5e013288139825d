"""How much memory this process has resident, giving back what it does not need, and buffers that fit into a limit."""

from __future__ import annotations

import ctypes
import os
from dataclasses import replace
from pathlib import Path

from ..errors import ConfigError
from ..mirror.budget import SCARCE
from ..mirror.config import MirrorConfig
from .settings import CopySettings

__all__ = ["fit_buffers", "release_free_memory", "resident_bytes"]

_STATM = Path("/proc/self/statm")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_MIB = 1 << 20
_TABLES_BYTES = 28 * _MIB
"""What handshakes and connections that are not mirrored take, when floods have filled the tables (12 and 14 MB)."""

_MIN_ROOM_BYTES = 16 * _MIB


def resident_bytes() -> int:
    """Return this process's resident memory, capture rings and shared pages included (proc(5), statm)."""
    return int(_STATM.read_bytes().split()[1]) * _PAGE_BYTES


def release_free_memory() -> None:
    """Have the C library give freed memory back to the kernel, where it can (malloc_trim(3)); costs milliseconds."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's alone
    if trim is not None:
        trim(0)


def fit_buffers(settings: CopySettings, resident: int) -> MirrorConfig:
    """Return the engine's settings with buffers for which the memory limit has room.

    resident: octets that this process takes before it mirrors anything, its capture rings included. Raises ConfigError
    if there is no room for buffers that are worth the name.
    """
    mirror, limit = settings.mirror, settings.budgets.memory_bytes
    if limit is None:
        return mirror
    room = int(SCARCE * limit) - resident - _TABLES_BYTES
    if room < _MIN_ROOM_BYTES:
        rings = settings.ring_bytes * len(settings.interfaces) >> 20
        needed = -(-int((limit * SCARCE - room + _MIN_ROOM_BYTES) / SCARCE) // _MIB)
        of_each = f" for each of {settings.workers} workers" if settings.workers > 1 else ""
        raise ConfigError(
            f"--memory-limit leaves {limit >> 20} MiB{of_each}, and {needed} are needed: {resident >> 20} are in use"
            f" before anything is mirrored, {rings} of them for capture rings; raise it, or lower --ring-size"
        )
    total = min(mirror.total_buffer_bytes, room // 2)  # the other half is for sessions, and what the allocator wastes
    return replace(mirror, total_buffer_bytes=total, session_buffer_bytes=min(mirror.session_buffer_bytes, total))
