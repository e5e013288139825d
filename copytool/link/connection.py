"""The two ends of one link connection, without a socket.

Theory of operation. copy connects and says hello with its protocol version and share. intercept answers welcome,
or refused with a reason and closes. From then on intercept sends records, and copy sends a ping every
PING_INTERVAL_S, which intercept answers. An end that has heard nothing for DEAD_AFTER_S closes:
a vanished host is noticed without waiting for the kernel's own TCP timers. The greeting, too, has that long.

Both ends have the same verbs: receive_data(data, now), data_to_send(), next_timer(), handle_timer(now). After any of
them `closed_because` says whether the connection is over; it then stays over. TLS goes below this.

What is said here of copy and intercept is as true of `copytool forward` and a copy that it feeds (forwarding.py): the
one connects and greets, the other decides.
"""

from __future__ import annotations

from typing import Any

from ..errors import DecodeError
from . import frames
from .frames import RECORDS, FrameReader, decode_json, encode_frame, encode_json, plain
from .records import check_records
from .share import Share

__all__ = ["DEAD_AFTER_S", "PING_INTERVAL_S", "ClientEnd", "CopyEnd", "InterceptEnd", "LinkEnd", "ServerEnd"]

PING_INTERVAL_S = 2.0
DEAD_AFTER_S = 6.0


class LinkEnd:
    """What both ends share: buffering, liveness, closing."""

    __slots__ = ("_heard_at", "_outgoing", "_reader", "closed_because", "established", "peer_version")

    def __init__(self, now: float) -> None:
        self.established = False
        self.closed_because = ""
        self.peer_version = ""
        self._reader = FrameReader()
        self._outgoing = bytearray()
        self._heard_at = now

    def data_to_send(self) -> bytearray:
        """Return the pending bytes; the caller deletes from the front what it has sent."""
        return self._outgoing

    def waiting_bytes(self) -> int:
        """Return how many bytes are pending."""
        return len(self._outgoing)

    def close(self, reason: str) -> None:
        """End the connection; the first reason stays."""
        if not self.closed_because:
            self.closed_because = reason
        self.established = False

    def silent_for(self, now: float) -> float:
        """Return for how many seconds nothing was heard."""
        return now - self._heard_at

    def _take_in(self, data: bytes, now: float) -> None:
        if self.established:  # before that only the greeting counts, or anybody could hold a place for ever
            self._heard_at = now
        self._reader.append(data)

    def _greeted(self, now: float) -> None:
        self.established = True
        self._heard_at = now

    def _send(self, frame: bytes) -> None:
        self._outgoing += frame

    def _check_alive(self, now: float) -> None:
        if self.silent_for(now) >= DEAD_AFTER_S:
            what = "silent" if self.established else "no greeting"
            self.close(f"{what} for {DEAD_AFTER_S:g} s")


class ClientEnd(LinkEnd):
    """The end that connects: says hello, is welcomed or refused, and pings."""

    __slots__ = ("_pinged_at",)

    def __init__(self, greeting: dict[str, Any], version: str, now: float) -> None:
        """greeting: what the hello says beside the versions."""
        super().__init__(now)
        self._pinged_at = now
        hello: dict[str, Any] = {"protocol": frames.PROTOCOL_VERSION, "version": version}
        self._send(encode_json(frames.HELLO, hello | greeting))

    def receive_data(self, data: bytes, now: float) -> list[bytes]:
        """Return the bodies of the frames in `data` that the other end sends for their content.

        Bytes that are no valid frame close the link; a closed one reads nothing.
        """
        bodies: list[bytes] = []
        if self.closed_because:
            return bodies
        reader = self._reader
        self._take_in(data, now)
        try:
            while (kind := reader.next_frame()) >= 0:
                if self.established and self._take(kind, reader.body, bodies):
                    continue
                if not self._control(kind, reader.body, now):
                    break
        except DecodeError as error:
            self.close(f"protocol error: {error}")
        return bodies

    def _take(self, kind: int, body: bytes, bodies: list[bytes]) -> bool:
        """Take in a frame that the other end sends for its content; return whether it is one."""
        raise NotImplementedError

    def _control(self, kind: int, body: bytes, now: float) -> bool:
        if kind == frames.WELCOME and not self.established:
            self.peer_version = plain(decode_json(body).get("version", ""), 40)
            self._greeted(now)
        elif kind == frames.REFUSED:
            self.close(f"refused: {plain(decode_json(body).get('reason', ''), 200)}")
            return False
        elif kind != frames.PONG:
            raise DecodeError(f"unexpected frame type {kind}")
        return True

    def note_progress(self, now: float) -> None:
        """Say that the other end's host has taken some of what it could not take all of: it may be long until it comes
        to a ping that is behind."""
        if self.established:
            self._heard_at = now

    def next_timer(self) -> float:
        """Return when handle_timer wants to be called."""
        return min(self._pinged_at + PING_INTERVAL_S, self._heard_at + DEAD_AFTER_S)

    def handle_timer(self, now: float) -> None:
        """Ping, as nothing else has the other end speak; close a dead link."""
        if now - self._pinged_at >= PING_INTERVAL_S:
            self._pinged_at = now
            self._send(encode_frame(frames.PING))
        self._check_alive(now)


class CopyEnd(ClientEnd):
    """copy's end: receives records."""

    __slots__ = ()

    def __init__(self, share: Share, version: str, now: float) -> None:
        super().__init__({"features": []} | share.to_json(), version, now)

    def _take(self, kind: int, body: bytes, bodies: list[bytes]) -> bool:
        if kind != RECORDS:
            return False
        check_records(body)
        bodies.append(body)
        return True


class ServerEnd(LinkEnd):
    """The end that is connected to: checks the hello; its daemon then decides, and calls welcome() or refuse().

    `refused`: refuse() ended the connection, be it for what the peer wants or for a protocol error.
    """

    __slots__ = ("_decided", "_has_hello", "refused")

    def __init__(self, now: float) -> None:
        super().__init__(now)
        self.refused = False
        self._has_hello = False
        self._decided = False

    def receive_data(self, data: bytes, now: float) -> list[bytes]:
        """Take in hello and pings; return the bodies of the frames that are the peer's to send for their content.

        Bytes that are no valid frame close the link; a closed one reads nothing.
        """
        bodies: list[bytes] = []
        if self.closed_because:
            return bodies
        reader = self._reader
        self._take_in(data, now)
        try:
            while (kind := reader.next_frame()) >= 0:
                if self.established and self._take(kind, reader.body, bodies):
                    continue
                if kind == frames.PING and self._has_hello:
                    if not self._outgoing:  # whatever waits there already will tell the peer as much
                        self._send(encode_frame(frames.PONG))
                elif kind == frames.HELLO and not self._has_hello:
                    self._hello(decode_json(reader.body))
                else:
                    raise DecodeError(f"unexpected frame type {kind}")
        except DecodeError as error:
            self.refuse(f"protocol error: {error}")
        return bodies

    def _take(self, kind: int, body: bytes, bodies: list[bytes]) -> bool:
        """Take in a frame that the other end sends for its content; return whether it is one."""
        return False

    def _hello(self, hello: dict[str, Any]) -> None:
        if hello.get("protocol") != frames.PROTOCOL_VERSION:
            theirs = plain(hello.get("protocol"), 20)
            raise DecodeError(
                f"link protocol {theirs} is not {frames.PROTOCOL_VERSION}; run the same copytool version on both hosts"
            )
        self.peer_version = plain(hello.get("version", ""), 40)
        self._read_hello(hello)
        self._has_hello = True

    def _read_hello(self, hello: dict[str, Any]) -> None:
        raise NotImplementedError

    @property
    def awaits_decision(self) -> bool:
        """Whether the peer has said hello, and neither welcome() nor refuse() was called."""
        return self._has_hello and not self._decided and not self.closed_because

    def welcome(self, version: str, now: float) -> None:
        """Accept the peer; what it came for may follow."""
        self._decided = True
        self._greeted(now)
        self._send(encode_json(frames.WELCOME, {"version": version}))

    def refuse(self, reason: str) -> None:
        """Tell the peer why, and close once that is sent."""
        self._decided = True
        if not self.closed_because:
            self.refused = True
            self._send(encode_json(frames.REFUSED, {"reason": reason}))
        self.close(reason)

    def next_timer(self) -> float:
        """Return when handle_timer wants to be called."""
        return self._heard_at + DEAD_AFTER_S

    def handle_timer(self, now: float) -> None:
        """Close a dead link."""
        self._check_alive(now)


class InterceptEnd(ServerEnd):
    """intercept's end: is told copy's `share`, sends records."""

    __slots__ = ("share",)

    def __init__(self, now: float) -> None:
        super().__init__(now)
        self.share: Share | None = None

    def _read_hello(self, hello: dict[str, Any]) -> None:
        self.share = Share.from_json(hello)

    def send_records(self, body: bytes | bytearray) -> None:
        """Queue one records frame."""
        self._send(encode_frame(frames.RECORDS, body))
