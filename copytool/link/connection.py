"""The two ends of one link connection, without a socket.

Theory of operation. copy connects and says hello with its protocol version and share. intercept answers welcome,
or refused with a reason and closes. From then on intercept sends records, and copy sends a ping whenever it has
been silent for PING_INTERVAL_S, which intercept answers. An end that has heard nothing for DEAD_AFTER_S closes:
a vanished host is noticed without waiting for the kernel's own TCP timers. The greeting, too, has that long.

Both ends have the same verbs: receive_data(data, now), data_to_send(), next_timer(), handle_timer(now). After any of
them `closed_because` says whether the connection is over; it then stays over. TLS goes below this.
"""

from __future__ import annotations

from typing import Any

from ..errors import DecodeError
from . import frames
from .frames import RECORDS, FrameReader, decode_json, encode_frame, encode_json, plain
from .records import check_records
from .share import Share

__all__ = ["DEAD_AFTER_S", "PING_INTERVAL_S", "CopyEnd", "InterceptEnd", "LinkEnd"]

PING_INTERVAL_S = 2.0
DEAD_AFTER_S = 6.0


class LinkEnd:
    """What both ends share: buffering, liveness, closing."""

    __slots__ = ("_heard_at", "_outgoing", "_reader", "_sent_at", "closed_because", "established", "peer_version")

    def __init__(self, now: float) -> None:
        self.established = False
        self.closed_because = ""
        self.peer_version = ""
        self._reader = FrameReader()
        self._outgoing = bytearray()
        self._heard_at = now
        self._sent_at = now

    def data_to_send(self) -> bytearray:
        """Return the pending bytes; the caller deletes from the front what it has sent."""
        return self._outgoing

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

    def _send(self, frame: bytes, now: float) -> None:
        self._outgoing += frame
        self._sent_at = now

    def _check_alive(self, now: float) -> None:
        if self.silent_for(now) >= DEAD_AFTER_S:
            what = "silent" if self.established else "no greeting"
            self.close(f"{what} for {DEAD_AFTER_S:g} s")


class CopyEnd(LinkEnd):
    """copy's end: says hello, receives records."""

    __slots__ = ()

    def __init__(self, share: Share, version: str, now: float) -> None:
        super().__init__(now)
        hello: dict[str, Any] = {"protocol": frames.PROTOCOL_VERSION, "version": version, "features": []}
        self._send(encode_json(frames.HELLO, hello | share.to_json()), now)

    def receive_data(self, data: bytes, now: float) -> list[bytes]:
        """Return the bodies of the RECORDS frames in `data`.

        Bytes that are no valid frame close the link; a closed one reads nothing.
        """
        bodies: list[bytes] = []
        if self.closed_because:
            return bodies
        reader = self._reader
        self._take_in(data, now)
        try:
            while (kind := reader.next_frame()) >= 0:
                if kind == RECORDS and self.established:
                    check_records(reader.body)
                    bodies.append(reader.body)
                elif not self._control(kind, reader.body, now):
                    break
        except DecodeError as error:
            self.close(f"protocol error: {error}")
        return bodies

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

    def next_timer(self) -> float:
        """Return when handle_timer wants to be called."""
        return min(self._sent_at + PING_INTERVAL_S, self._heard_at + DEAD_AFTER_S)

    def handle_timer(self, now: float) -> None:
        """Ping a quiet link, close a dead one."""
        if now - self._sent_at >= PING_INTERVAL_S:
            self._send(encode_frame(frames.PING), now)
        self._check_alive(now)


class InterceptEnd(LinkEnd):
    """intercept's end: checks the hello, sends records.

    The daemon decides on the share after `share` is set: it calls welcome() or refuse().
    `refused`: refuse() ended the connection, be it for the share or for a protocol error.
    """

    __slots__ = ("_decided", "refused", "share")

    def __init__(self, now: float) -> None:
        super().__init__(now)
        self.share: Share | None = None
        self.refused = False
        self._decided = False

    def receive_data(self, data: bytes, now: float) -> None:
        """Take in hello and pings. Bytes that are no valid frame close the link; a closed one reads nothing."""
        if self.closed_because:
            return
        reader = self._reader
        self._take_in(data, now)
        try:
            while (kind := reader.next_frame()) >= 0:
                if kind == frames.PING and self.share is not None:
                    if not self._outgoing:  # whatever waits there already will tell the peer as much
                        self._send(encode_frame(frames.PONG), now)
                elif kind == frames.HELLO and self.share is None:
                    self._hello(decode_json(reader.body), now)
                else:
                    raise DecodeError(f"unexpected frame type {kind}")
        except DecodeError as error:
            self.refuse(f"protocol error: {error}", now)

    def _hello(self, hello: dict[str, Any], now: float) -> None:
        if hello.get("protocol") != frames.PROTOCOL_VERSION:
            theirs = plain(hello.get("protocol"), 20)
            raise DecodeError(
                f"link protocol {theirs} is not {frames.PROTOCOL_VERSION}; run the same copytool version on both hosts"
            )
        self.peer_version = plain(hello.get("version", ""), 40)
        self.share = Share.from_json(hello)

    @property
    def awaits_decision(self) -> bool:
        """Whether a share is claimed and neither welcome() nor refuse() was called."""
        return self.share is not None and not self._decided and not self.closed_because

    def welcome(self, version: str, now: float) -> None:
        """Accept the share; records may follow."""
        self._decided = True
        self._greeted(now)
        self._send(encode_json(frames.WELCOME, {"version": version}), now)

    def refuse(self, reason: str, now: float) -> None:
        """Tell the peer why, and close once that is sent."""
        self._decided = True
        if not self.closed_because:
            self.refused = True
            self._send(encode_json(frames.REFUSED, {"reason": reason}), now)
        self.close(reason)

    def send_records(self, body: bytes | bytearray, now: float) -> None:
        """Queue one records frame."""
        self._send(encode_frame(frames.RECORDS, body), now)

    def next_timer(self) -> float:
        """Return when handle_timer wants to be called."""
        return self._heard_at + DEAD_AFTER_S

    def handle_timer(self, now: float) -> None:
        """Close a dead link."""
        self._check_alive(now)
