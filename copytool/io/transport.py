"""Sockets of the link: copy connects to each intercept and keeps doing so; intercept listens.

A TLS socket has the same recv, send and fileno; it would be wrapped where a socket is made here, and nothing above
would change.
"""

from __future__ import annotations

import errno
import logging
import os
import selectors
import socket
from collections.abc import Callable
from typing import Any

from ..errors import HostError
from ..link.connection import CopyEnd, InterceptEnd, LinkEnd
from ..link.share import Share
from .loop import EventLoop

__all__ = ["MAX_PEERS", "InterceptClient", "LinkServer", "PeerConnection", "format_endpoint"]

_log = logging.getLogger(__name__)

MAX_PEERS = 64
"""Link connections an intercept holds at once, greeted or not."""

_RECEIVE_BYTES = 1 << 16  # a buffer of this size is made for each call
_FIRST_RETRY_S = 0.25
_MAX_RETRY_S = 4.0
_CONNECT_TIMEOUT_S = 5.0
_REFUSED_RETRY_S = 2.0
_MAX_REASONS = 1000


def format_endpoint(address: tuple[Any, ...]) -> str:
    """Return a socket address as host:port, IPv6 in brackets, IPv4-mapped IPv6 as IPv4."""
    host, port = address[0].removeprefix("::ffff:"), address[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _send_pending(sock: socket.socket, end: LinkEnd) -> bool:
    """Send what is queued; return whether some of it had to stay."""
    data = end.data_to_send()
    while data:
        try:
            sent = sock.send(data)
        except BlockingIOError:
            return True
        del data[:sent]
    return False


def _receive(sock: socket.socket) -> bytes | None:
    """Return received bytes, b"" at the end of the stream, None if there is nothing now."""
    try:
        return sock.recv(_RECEIVE_BYTES)
    except (BlockingIOError, InterruptedError):
        return None


class InterceptClient:
    """copy's side: one intercept's address, the connection to it, and the plan to connect again."""

    def __init__(
        self,
        loop: EventLoop,
        address: tuple[str, int],
        share: Share,
        version: str,
        on_records: Callable[[list[bytes]], None],
        on_change: Callable[[], None],
    ) -> None:
        self.address = address
        self.state = "closed"
        self.reason = "not tried yet"
        self.connects = 0
        self._loop = loop
        self._share = share
        self._version = version
        self._on_records = on_records
        self._on_change = on_change
        self._socket: socket.socket | None = None
        self._end: CopyEnd | None = None
        self._retry_s = _FIRST_RETRY_S
        self._is_blocked = False
        self._deadline = loop.now()

    @property
    def name(self) -> str:
        """The intercept's host:port."""
        return format_endpoint(self.address)

    def status(self) -> dict[str, Any]:
        """Return the link's state as `copytool status --json` shows it."""
        return {
            "peer": self.name,
            "state": self.state,
            "reason": self.reason,
            "connects": self.connects,
            "version": self._end.peer_version if self._end else "",
        }

    def next_timer(self) -> float:
        """Return when handle_timer wants to be called."""
        if self._end is not None:
            return self._end.next_timer()
        return self._deadline

    def handle_timer(self, now: float) -> None:
        """Connect when it is time to, give up an attempt that hangs, keep the link alive."""
        if self._end is not None:
            self._end.handle_timer(now)
            self._after_io(now)
        elif now >= self._deadline:
            if self._socket is None:
                self._connect(now)
            else:
                self._disconnect(f"no answer to connect within {_CONNECT_TIMEOUT_S:g} s", now)

    def close(self) -> None:
        """Close without a plan to come back."""
        if self._socket is not None:
            self._loop.unwatch(self._socket)
            self._socket.close()
            self._socket = None

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
        self._end = CopyEnd(self._share, self._version, now)
        self._is_blocked = False
        self._loop.watch(self._socket, selectors.EVENT_READ, self._on_ready)
        self._after_io(now)

    def _on_ready(self, events: int) -> None:
        assert self._socket is not None and self._end is not None
        now = self._loop.now()
        if events & selectors.EVENT_READ:
            try:
                data = _receive(self._socket)
            except OSError as error:
                data = None
                self._end.close(error.strerror or "read error")
            if data == b"":
                self._end.close("closed by intercept")
            elif data:
                bodies = self._end.receive_data(data, now)
                if bodies:
                    self._on_records(bodies)
        self._after_io(now)

    def _after_io(self, now: float) -> None:
        end, sock = self._end, self._socket
        if end is None or sock is None:
            return
        blocked = False
        try:
            blocked = _send_pending(sock, end)
        except OSError as error:
            end.close(error.strerror or "write error")
        if end.closed_because:
            self._disconnect(end.closed_because, now)
            return
        if blocked != self._is_blocked:
            self._is_blocked = blocked
            self._loop.watch(sock, selectors.EVENT_READ | (selectors.EVENT_WRITE if blocked else 0), self._on_ready)
        if end.established and self.state != "established":
            self.state, self.reason = "established", ""
            self.connects += 1
            self._retry_s = _FIRST_RETRY_S
            _log.info("link to intercept %s established", self.name)
            self._on_change()

    def _disconnect(self, reason: str, now: float) -> None:
        was_established = self.state == "established"
        self.close()
        self._end = None
        self.state = "closed"
        if was_established:
            _log.warning("link to intercept %s lost: %s; reconnecting", self.name, reason)
        elif reason != self.reason:
            _log.warning("cannot reach intercept %s: %s; retrying", self.name, reason)
        self.reason = reason
        refused = reason.startswith(("refused", "protocol error"))
        self._deadline = now + (_REFUSED_RETRY_S if refused and not was_established else self._retry_s)
        self._retry_s = min(self._retry_s * 2, _MAX_RETRY_S)
        if was_established:
            self._on_change()


class PeerConnection:
    """intercept's side of one connection."""

    def __init__(self, server: LinkServer, sock: socket.socket, address: tuple[Any, ...], now: float) -> None:
        self.socket = sock
        self.host = address[0].removeprefix("::ffff:")
        self.name = format_endpoint(address)
        self.end = InterceptEnd(now)
        self.blocked = False
        self._server = server

    @property
    def share(self) -> Share | None:
        """The share the peer claims."""
        return self.end.share

    def status(self) -> dict[str, Any]:
        """Return the link's state as `copytool status --json` shows it."""
        share = self.end.share
        return {
            "peer": self.name,
            "state": "established" if self.end.established else "greeting",
            "version": self.end.peer_version,
            "client_networks": [str(network) for network in share.networks] if share else [],
        }

    def next_timer(self) -> float:
        """Return when handle_timer wants to be called."""
        return self.end.next_timer()

    def handle_timer(self, now: float) -> None:
        """Close the peer if it is dead."""
        self.end.handle_timer(now)
        self.after_io()

    def on_ready(self, events: int) -> None:
        """Read and write what is possible."""
        now = self._server.loop.now()
        if events & selectors.EVENT_READ:
            try:
                data = _receive(self.socket)
            except OSError as error:
                data = None
                self.end.close(error.strerror or "read error")
            if data == b"":
                self.end.close("closed by copy")
            elif data:
                self.end.receive_data(data, now)
                if self.end.awaits_decision:
                    self._server.decide(self, now)
                    if self.end.established:
                        self._server.forget_reason(self)
        self.after_io()
        if events & selectors.EVENT_WRITE and not self.blocked:
            self._server.on_writable(self)

    def after_io(self) -> None:
        """Send what is queued, drop the peer if it is over."""
        was_blocked = self.blocked
        try:
            self.blocked = _send_pending(self.socket, self.end)
        except OSError as error:
            self.end.close(error.strerror or "write error")
        if self.end.closed_because:
            self._server.drop(self)
            return
        if self.blocked != was_blocked:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self.blocked else 0)
            self._server.loop.watch(self.socket, events, self.on_ready)


class LinkServer:
    """intercept's listening socket and its peers.

    decide(peer, now) is called when a peer has said hello; it calls peer.end.welcome() or refuse().
    on_writable(peer) is called when a peer that was slow takes data again, on_drop(peer) when a peer is gone.
    rejected: connections closed because MAX_PEERS were open: the oldest one that has not greeted, else the newest.
    refused: those that decide() refused, and those that were no copy or spoke another protocol.
    """

    def __init__(
        self,
        loop: EventLoop,
        bind: str,
        port: int,
        decide: Callable[[PeerConnection, float], None],
        on_writable: Callable[[PeerConnection], None],
        on_drop: Callable[[PeerConnection], None],
    ) -> None:
        self.loop = loop
        self.decide = decide
        self.on_writable = on_writable
        self.peers: list[PeerConnection] = []
        self.rejected = 0
        self.refused = 0
        self._on_drop = on_drop
        self._reasons: dict[str, str] = {}
        try:
            self._socket = _listen(bind, port)
        except OSError as error:
            reason = error.strerror or str(error)
            raise HostError(f"cannot listen on {bind}:{port} (-b, -p): {reason}; see `ss -ltnp`") from None
        loop.watch(self._socket, selectors.EVENT_READ, self._on_accept)

    def drop(self, peer: PeerConnection) -> None:
        """Close a peer's connection and forget it."""
        if peer not in self.peers:
            return
        self.peers.remove(peer)
        self.loop.services.remove(peer)
        self.loop.unwatch(peer.socket)
        peer.socket.close()
        self._log_end(peer)
        self._on_drop(peer)

    def _log_end(self, peer: PeerConnection) -> None:
        """Log why a peer is gone; what refuses a host again and again only the first time."""
        reason = peer.end.closed_because or "dropped"
        if peer.end.refused:
            self.refused += 1
            if self._reasons.get(peer.host) == reason:
                return
            if len(self._reasons) >= _MAX_REASONS:
                self._reasons.clear()
            self._reasons[peer.host] = reason
        level = logging.INFO if reason.startswith("closed by copy") or peer.end.share is None else logging.WARNING
        _log.log(level, "link from %s ended: %s", peer.name, reason)

    def forget_reason(self, peer: PeerConnection) -> None:
        """Log it again if this peer's host is refused once more."""
        self._reasons.pop(peer.host, None)

    def close(self) -> None:
        """Stop listening and close every peer."""
        for peer in self.peers[:]:
            peer.end.close("intercept stopped")
            self.drop(peer)
        self.loop.unwatch(self._socket)
        self._socket.close()

    def _on_accept(self, _events: int) -> None:
        accepted = self.loop.accept(self._socket)
        if accepted is None:
            return
        sock, address = accepted
        if len(self.peers) >= MAX_PEERS and not self._make_room():
            sock.close()
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = PeerConnection(self, sock, address, self.loop.now())
        self.peers.append(peer)
        self.loop.services.append(peer)
        self.loop.watch(sock, selectors.EVENT_READ, peer.on_ready)

    def _make_room(self) -> bool:
        """Close the peer that has waited longest for a greeting; return whether there was one."""
        self.rejected += 1
        for peer in self.peers:
            if not peer.end.established:
                peer.end.close("no greeting, and too many connections")
                self.drop(peer)
                return True
        return False


def _listen(bind: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((bind, port))
        sock.listen(64)
    except OSError:
        sock.close()
        raise
    return sock
