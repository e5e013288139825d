"""The link between `copytool forward` and the copy that it feeds: captured packets, as they are, with their age.

A PACKETS frame's body is any number of packets, each behind eight octets: its length, with the highest bit set if the
kernel or the sender has answered for its checksums, and how long ago it was captured, in microseconds. So the hosts'
clocks need not agree. A packet of no octets says that others were lost here, and how many: in place of its age.
"""

from __future__ import annotations

from typing import Any

from ..errors import DecodeError
from ..wire import octets
from . import frames
from .connection import ClientEnd, ServerEnd

__all__ = ["CHECKED", "HEAD_BYTES", "MAX_AGE", "FeedEnd", "ForwardEnd", "check_packets"]

HEAD_BYTES = 8
"""Octets before each packet."""

CHECKED = 1 << 31
"""Bit of a packet's length."""

MAX_AGE = (1 << 32) - 1
"""The greatest age, or number of lost packets, that fits."""

_HEAD_BYTES = HEAD_BYTES
_FRAME_HEAD_BYTES = 5
_LENGTH = CHECKED - 1


def check_packets(body: octets.Buffer) -> None:
    """Raise DecodeError unless `body` is that of a PACKETS frame."""
    at = 0
    size = len(body)
    while at + _HEAD_BYTES <= size:
        at += _HEAD_BYTES + (octets.get32(body, at) & _LENGTH)
    if at != size:
        raise DecodeError(f"packets frame of {size} bytes ends in a packet's middle")


class ForwardEnd(ClientEnd):
    """forward's end: sends packets, unless more than `max_bytes` wait already.

    forwarded: packets that went on their way. lost: packets that did not, and are still to be told about.
    """

    __slots__ = ("_max_bytes", "forwarded", "lost")

    def __init__(self, services: list[str], version: str, now: float, max_bytes: int) -> None:
        super().__init__({"forward": {"services": services}}, version, now)
        self._max_bytes = max_bytes
        self.forwarded = 0
        self.lost = 0

    def has_room(self) -> bool:
        """Return whether packets may be queued: with a link that cannot keep up they would be late anyhow."""
        return self.established and len(self._outgoing) < self._max_bytes

    def begin(self) -> bytearray:
        """Return what packets are to be appended to, each with its head."""
        frame = bytearray(_FRAME_HEAD_BYTES)
        if self.lost:
            frame += bytes(4)
            frame += min(self.lost, MAX_AGE).to_bytes(4, "big")
            self.lost = 0
        return frame

    def finish(self, frame: bytearray, count: int) -> None:
        """Queue what begin() returned, with `count` packets in it."""
        if len(frame) > _FRAME_HEAD_BYTES:
            frame[:4] = (len(frame) - 4).to_bytes(4, "big")
            frame[4] = frames.PACKETS
            self._outgoing += frame
            self.forwarded += count


class FeedEnd(ServerEnd):
    """copy's end: takes in packets. services: what the other end says that it captures, for people to see."""

    __slots__ = ("services",)

    def __init__(self, now: float) -> None:
        super().__init__(now)
        self.services: list[str] = []

    def _read_hello(self, hello: dict[str, Any]) -> None:
        forward = hello.get("forward")
        services = forward.get("services") if isinstance(forward, dict) else None
        if not isinstance(services, list):
            raise DecodeError("the peer is no `copytool forward`; a copy's -s names intercepts, which listen elsewhere")
        self.services = [frames.plain(service, 60) for service in services[:16]]

    def _check(self, body: bytes) -> None:
        check_packets(body)
