"""The side of a link that connects, and keeps doing so: copy's to each intercept, and forward's to copy."""

from __future__ import annotations

import errno
import logging
import os
import selectors
import socket
from collections.abc import Callable
from typing import Any

from ..link.connection import ClientEnd
from .channel import Channel, format_endpoint, open_channel
from .loop import EventLoop
from .tls import TlsIdentity, tls_reason

__all__ = ["LinkClient"]

_log = logging.getLogger(__name__)

_FIRST_RETRY_S = 0.25
_MAX_RETRY_S = 4.0
_CONNECT_TIMEOUT_S = 5.0
_REFUSED_RETRY_S = 2.0
_REFUSALS = ("refused", "protocol error", "TLS")


class LinkClient:
    """One peer's address, the connection to it, and the plan to connect again.

    peer: the daemon there, for messages. make_end(now) is called for each connection, on_bodies(bodies) with what the
    peer has sent, on_change() when the link is established or lost. end: of the connection that there is.
    """

    def __init__(
        self,
        loop: EventLoop,
        address: tuple[str, int],
        peer: str,
        make_end: Callable[[float], ClientEnd],
        on_bodies: Callable[[list[bytes]], None],
        on_change: Callable[[], None],
        identity: TlsIdentity | None = None,
    ) -> None:
        self.address = address
        self.state = "closed"
        self.reason = "not tried yet"
        self.connects = 0
        self.end: ClientEnd | None = None
        self._loop = loop
        self._peer = peer
        self._make_end = make_end
        self._on_bodies = on_bodies
        self._on_change = on_change
        self._identity = identity
        self._socket: socket.socket | None = None
        self._channel: Channel | None = None
        self._retry_s = _FIRST_RETRY_S
        self._is_blocked = False
        self._deadline = loop.now()

    @property
    def name(self) -> str:
        """The peer's host:port."""
        return format_endpoint(self.address)

    def status(self) -> dict[str, Any]:
        """Return the link's state as `copytool status --json` shows it."""
        return {
            "peer": self.name,
            "state": self.state,
            "reason": self.reason,
            "connects": self.connects,
            "version": self.end.peer_version if self.end else "",
            "encrypted": self._channel is not None and self._channel.is_encrypted,
        }

    def next_timer(self) -> float:
        """Return when handle_timer wants to be called."""
        if self.end is not None:
            return self.end.next_timer()
        return self._deadline

    def handle_timer(self, now: float) -> None:
        """Connect when it is time to, give up an attempt that hangs, keep the link alive."""
        if self.end is not None:
            self.end.handle_timer(now)
            self._after_io(now)
        elif now >= self._deadline:
            if self._socket is None:
                self._connect(now)
            else:
                self._disconnect(f"no answer to connect within {_CONNECT_TIMEOUT_S:g} s", now)

    def send_pending(self, now: float) -> None:
        """Send what has been queued since."""
        self._after_io(now)

    def close(self) -> None:
        """Close without a plan to come back."""
        if self._socket is not None:
            self._loop.unwatch(self._socket)
            (self._channel or self._socket).close()
            self._socket = self._channel = None

    def _connect(self, now: float) -> None:
        self.state = "connecting"
        self._deadline = now + _CONNECT_TIMEOUT_S
        family = socket.AF_INET6 if ":" in self.address[0] else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = self._socket.connect_ex(self.address)
        if code not in (0, errno.EINPROGRESS):
            self._disconnect(os.strerror(code), now)
            return
        self._loop.watch(self._socket, selectors.EVENT_WRITE, self._on_connected)

    def _on_connected(self, _events: int) -> None:
        assert self._socket is not None
        now = self._loop.now()
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._disconnect(os.strerror(code), now)
            return
        self.state = "greeting"
        self._channel = open_channel(self._socket, self._identity, self.address[0])
        self.end = self._make_end(now)
        self._is_blocked = False
        self._loop.watch(self._socket, selectors.EVENT_READ, self._on_ready)
        self._after_io(now)

    def _on_ready(self, events: int) -> None:
        assert self._channel is not None and self.end is not None
        now = self._loop.now()
        if events & selectors.EVENT_READ:
            try:
                data = self._channel.receive()
            except OSError as error:
                data = None
                self.end.close(tls_reason(error))
            if data == b"":
                self.end.close(f"closed by {self._peer}{self._hint()}")
            elif data:
                bodies = self.end.receive_data(data, now)
                if bodies:
                    self._on_bodies(bodies)
        self._after_io(now)

    def _hint(self) -> str:
        """Return what to look at when the peer has closed without saying why."""
        if self._identity is not None or self.state == "established":
            return ""
        return " without a word; if it is run with --tls-cert, so must be this daemon"

    def _after_io(self, now: float) -> None:
        end, channel = self.end, self._channel
        if end is None or channel is None:
            return
        blocked = False
        pending = end.waiting_bytes()
        try:
            blocked = channel.send_pending(end)
        except OSError as error:
            end.close(tls_reason(error))
        if blocked and end.waiting_bytes() < pending:
            end.note_progress(now)
        if end.closed_because:
            self._disconnect(end.closed_because, now)
            return
        if blocked != self._is_blocked:
            self._is_blocked = blocked
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if blocked else 0)
            self._loop.watch(channel.socket, events, self._on_ready)
        if end.established and self.state != "established":
            self.state, self.reason = "established", ""
            self.connects += 1
            self._retry_s = _FIRST_RETRY_S
            _log.info("link to %s %s established", self._peer, self.name)
            self._on_change()

    def _disconnect(self, reason: str, now: float) -> None:
        was_established = self.state == "established"
        self.close()
        self.end = None
        self.state = "closed"
        if was_established:
            _log.warning("link to %s %s lost: %s; reconnecting", self._peer, self.name, reason)
        elif reason != self.reason:
            _log.warning("cannot reach %s %s: %s; retrying", self._peer, self.name, reason)
        self.reason = reason
        refused = reason.startswith(_REFUSALS)
        self._deadline = now + (_REFUSED_RETRY_S if refused and not was_established else self._retry_s)
        self._retry_s = min(self._retry_s * 2, _MAX_RETRY_S)
        if was_established:
            self._on_change()
