"""Filters run by the kernel itself, on a socket that needs no rights."""

from __future__ import annotations

import contextlib
import socket

from copytool.io.bpf import attach_filter


class Sieve:
    """A datagram socket with a filter: what a packet socket would keep."""

    def __init__(self, code: bytes) -> None:
        self._into, self._out = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._out.setblocking(False)
        attach_filter(self._out, code)

    def keeps(self, packet: bytes) -> int:
        """Return how many octets pass."""
        with contextlib.suppress(PermissionError):  # the filter has refused it
            self._into.send(packet)
        try:
            return len(self._out.recv(1 << 17))
        except BlockingIOError:
            return 0

    def close(self) -> None:
        """Close both ends."""
        self._into.close()
        self._out.close()
