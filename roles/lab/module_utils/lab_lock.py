"""One run at a time: a lock that ends with the last process that holds it, however that ends."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_POLL_S = 0.1


class LockError(Exception):
    """Another run holds the lock for too long."""


@contextmanager
def lock(directory: Path, timeout_s: float = 300) -> Iterator[int]:
    """Hold a directory's lock, making the directory if need be; a child that inherits the descriptor holds it too.

    A run of Ansible that was killed leaves its module at work for a while: the next must not meet it half-way.
    """
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    path = directory / "lock"
    deadline = time.monotonic() + timeout_s
    with path.open("w") as file:
        while not _try(file.fileno()):
            if time.monotonic() > deadline:
                raise LockError(f"another run holds {path} for {timeout_s:.0f} s: see which with 'fuser {path}'")
            time.sleep(_POLL_S)
        yield file.fileno()


def _try(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
