"""Where a server logs: one JSON line for each session, written at once."""

from __future__ import annotations

import hashlib
import json
import os


class JsonLog:
    """Appends lines to a file; also from several threads."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def append(self, **record: object) -> None:
        """Write one line."""
        os.write(self._fd, json.dumps(record).encode() + b"\n")


class Tally:
    """Counts and hashes what a session has read."""

    def __init__(self) -> None:
        self.bytes = 0
        self._digest = hashlib.sha256()

    def add(self, octets: bytes | memoryview) -> None:
        """Take in what was read."""
        self.bytes += len(octets)
        self._digest.update(octets)

    @property
    def sha256(self) -> str:
        """The hash of all that was read."""
        return self._digest.hexdigest()
