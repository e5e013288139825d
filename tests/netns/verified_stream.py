"""What the sessions of the fault tests send: octets that follow from the session's number, which they begin with.

So whoever reads such a stream can say of each octet whether it is right, without having seen what was sent.
"""

from __future__ import annotations

import hashlib
import struct

HEADER = struct.Struct("!Q")
_CHUNK = 4096


def octets(session: int, start: int, size: int) -> bytes:
    """Return octets `start` to `start + size` of a session's stream; the first eight are its number."""
    first = start // _CHUNK
    chunks = [_chunk(session, number) for number in range(first, (start + size) // _CHUNK + 1)]
    return b"".join(chunks)[start - first * _CHUNK :][:size]


def _chunk(session: int, number: int) -> bytes:
    body = hashlib.shake_128(HEADER.pack(session) + HEADER.pack(number)).digest(_CHUNK)
    return body if number else HEADER.pack(session) + body[HEADER.size :]


class Verifier:
    """Checks one stream as it comes in.

    session: its number, -1 until it is known. size: octets read. corrupt_at: the first wrong octet, -1 for none.
    """

    def __init__(self) -> None:
        self.session = -1
        self.size = 0
        self.corrupt_at = -1
        self._begin = b""

    def feed(self, data: bytes) -> None:
        """Take in the next octets."""
        start = self.size
        self.size += len(data)
        if self.session < 0:
            self._begin += data
            if len(self._begin) < HEADER.size:
                return
            self.session = HEADER.unpack_from(self._begin)[0]
            start, data = 0, self._begin
        if self.corrupt_at >= 0:
            return
        expected = octets(self.session, start, len(data))
        if data != expected:
            self.corrupt_at = start + next(
                i for i, pair in enumerate(zip(data, expected, strict=True)) if len(set(pair)) > 1
            )
