"""When requests pass online and when they arrive at the target: packet sockets with the kernel's timestamps."""

from __future__ import annotations

import re
import socket
import struct

from tests.netns.taps import in_namespace, open_tap

from .world import PORT

__all__ = ["Arrivals", "lags_us", "requests_in"]

SO_TIMESTAMPNS = 35
SO_RCVBUFFORCE = 33
SOL_PACKET, PACKET_STATISTICS, PACKET_IGNORE_OUTGOING = 263, 6, 23
BUFFER_BYTES = 256 << 20
FRAME_BYTES = 1 << 16
_TIMESPEC = struct.Struct("qq")
_REQUEST = re.compile(rb"GET /(\d+) HTTP/1\.1\r\n")


class Arrivals:
    """Keeps the packets to the service that arrive at a host, in the kernel; they are read when the load is over."""

    def __init__(self, namespace: str) -> None:
        self._socket = in_namespace(namespace, lambda: open_tap("ens18", f"tcp and dst port {PORT}"))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)

    def read(self) -> dict[int, int]:
        """Return when each numbered request arrived first, in nanoseconds; OSError if packets were lost."""
        seen: dict[int, int] = {}
        while True:
            try:
                frame, ancillary, _, _ = self._socket.recvmsg(FRAME_BYTES, 64)
            except BlockingIOError:
                break
            seconds, nanoseconds = _TIMESPEC.unpack(ancillary[0][2])
            for number in requests_in(frame):
                seen.setdefault(number, seconds * 1_000_000_000 + nanoseconds)
        lost = struct.unpack("II", self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1]
        if lost:
            raise OSError(f"the observer has lost {lost} packets: its buffer is too small for this load")
        return seen

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def requests_in(frame: bytes) -> list[int]:
    """Return the numbers of the requests that begin in a packet."""
    return [int(number) for number in _REQUEST.findall(frame)]


def lags_us(online: dict[int, int], target: dict[int, int]) -> list[float]:
    """Return how long after online each request arrived at the target, in microseconds, sorted."""
    return sorted((target[number] - passed) / 1000 for number, passed in online.items() if number in target)
