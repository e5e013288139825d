"""The link between `copytool forward` and the copy that it feeds: captured packets, as they are, with their age.

A PACKETS frame's body is any number of packets, each behind eight octets: its length, with the highest bit set if the
kernel or the sender has answered for its checksums, and how long ago it was captured, in microseconds. So the hosts'
clocks need not agree. A packet of no octets says that others were lost here, and how many: in place of its age.

copy sees what clients send and nothing that the service does. What the online host's kernel says of connections (the
service reset one, or its end was lost) it asks forward for: a QUESTIONS frame's body is flow keys, each behind an octet
with its length. The ANSWERS frame has them again, each with an octet behind it: the index in STATES.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from ..errors import DecodeError
from ..wire import octets
from ..wire.flow import FlowKey
from . import frames
from .connection import ClientEnd, ServerEnd

__all__ = [
    "CHECKED",
    "HEAD_BYTES",
    "MAX_AGE",
    "MAX_QUESTIONS",
    "STATES",
    "FeedEnd",
    "ForwardEnd",
    "check_packets",
    "decode_questions",
    "decode_states",
    "encode_states",
]

HEAD_BYTES = 8
"""Octets before each packet."""

CHECKED = 1 << 31
"""Bit of a packet's length."""

MAX_AGE = (1 << 32) - 1
"""The greatest age, or number of lost packets, that fits."""

_HEAD_BYTES = HEAD_BYTES
_FRAME_HEAD_BYTES = 5
_AT_ONCE_BYTES = 1 << 18
_LENGTH = CHECKED - 1

STATES = ("unknown", "open", "gone")
"""What a kernel says of a connection."""

MAX_QUESTIONS = 64
"""Flow keys in a QUESTIONS frame: each costs forward a question to its kernel."""

_KEY_SIZES = (12, 36)


def check_packets(body: octets.Buffer) -> None:
    """Raise DecodeError unless `body` is that of a PACKETS frame."""
    at = 0
    size = len(body)
    while at + _HEAD_BYTES <= size:
        at += _HEAD_BYTES + (octets.get32(body, at) & _LENGTH)
    if at != size:
        raise DecodeError(f"packets frame of {size} bytes ends in a packet's middle")


def decode_questions(body: bytes) -> list[FlowKey]:
    """Return the flow keys in a QUESTIONS frame's body."""
    return [flow for flow, _ in _decode_flows(body, 0)]


def encode_states(states: list[tuple[FlowKey, str]]) -> bytes:
    """Return an ANSWERS frame."""
    parts = [bytes([len(flow)]) + flow + bytes([STATES.index(state)]) for flow, state in states]
    return frames.encode_frame(frames.ANSWERS, b"".join(parts))


def decode_states(body: bytes) -> list[tuple[FlowKey, str]]:
    """Return the flow keys in an ANSWERS frame's body, each with its state."""
    found = []
    for flow, number in _decode_flows(body, 1):
        if number >= len(STATES):
            raise DecodeError(f"{number} is no state of a connection")
        found.append((flow, STATES[number]))
    return found


def _decode_flows(body: bytes, behind: int) -> list[tuple[FlowKey, int]]:
    """Return flow keys, each with the octet behind it if there is one."""
    found: list[tuple[FlowKey, int]] = []
    at = 0
    while at < len(body):
        end = at + 1 + body[at]
        if body[at] not in _KEY_SIZES or end + behind > len(body) or len(found) == MAX_QUESTIONS:
            raise DecodeError(f"flow keys of {len(body)} bytes are cut off, too many, or no keys")
        found.append((body[at + 1 : end], body[end] if behind else 0))
        at = end + behind
    return found


class ForwardEnd(ClientEnd):
    """forward's end: sends packets, unless more than `max_bytes` wait already.

    forwarded: packets that went on their way. lost: packets that did not, and are still to be told about.
    """

    __slots__ = ("_frames", "_frames_bytes", "_max_bytes", "forwarded", "lost")

    def __init__(self, services: list[str], version: str, now: float, max_bytes: int) -> None:
        super().__init__({"forward": {"services": services}}, version, now)
        self._max_bytes = max_bytes
        self._frames: deque[bytes | bytearray] = deque()  # one buffer of megabytes would be moved as it grows
        self._frames_bytes = 0
        self.forwarded = 0
        self.lost = 0

    def has_room(self) -> bool:
        """Return whether packets may be queued: with a link that cannot keep up they would be late anyhow."""
        return self.established and self.waiting_bytes() < self._max_bytes

    def waiting_bytes(self) -> int:
        """Return how many bytes are pending."""
        return len(self._outgoing) + self._frames_bytes

    def data_to_send(self) -> bytearray:
        """Return the next of the pending bytes; the caller deletes from the front what it has sent, and asks again."""
        outgoing = self._outgoing
        while self._frames and len(outgoing) < _AT_ONCE_BYTES:
            frame = self._frames.popleft()
            self._frames_bytes -= len(frame)
            outgoing += frame
        return outgoing

    def _queue(self, frame: bytes | bytearray) -> None:
        self._frames.append(frame)
        self._frames_bytes += len(frame)

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
            self._queue(frame)
            self.forwarded += count

    def _take(self, kind: int, body: bytes, bodies: list[bytes]) -> bool:
        if kind != frames.QUESTIONS:
            return False
        decode_questions(body)
        bodies.append(body)
        return True

    def answer(self, states: list[tuple[FlowKey, str]]) -> None:
        """Queue what the kernel says of connections, behind the packets that were captured before.

        Nothing where those have no room either: copy asks again.
        """
        if self.has_room():
            self._queue(encode_states(states))


class FeedEnd(ServerEnd):
    """copy's end: takes in packets. services: what the other end says that it captures, for people to see.

    states: answers that were received and not yet fetched.
    """

    __slots__ = ("services", "states")

    def __init__(self, now: float) -> None:
        super().__init__(now)
        self.services: list[str] = []
        self.states: list[tuple[FlowKey, str]] = []

    def _read_hello(self, hello: dict[str, Any]) -> None:
        forward = hello.get("forward")
        services = forward.get("services") if isinstance(forward, dict) else None
        if not isinstance(services, list):
            raise DecodeError("the peer is no `copytool forward`; a copy's -s names intercepts, which listen elsewhere")
        self.services = [frames.plain(service, 60) for service in services[:16]]

    def _take(self, kind: int, body: bytes, bodies: list[bytes]) -> bool:
        if kind == frames.PACKETS:
            check_packets(body)
            bodies.append(body)
            return True
        if kind == frames.ANSWERS:
            self.states += decode_states(body)
            return True
        return False

    def ask(self, flow: FlowKey) -> None:
        """Queue a question for a connection; none while others wait, as it is asked again."""
        if self.established and not self._outgoing:
            self._send(frames.encode_frame(frames.QUESTIONS, bytes([len(flow)]) + flow))
