"""The side of a link that is connected to: a listening socket and its peers."""

from __future__ import annotations

import logging
import selectors
import socket
from collections import Counter
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from ..errors import HostError
from ..link.connection import InterceptEnd, ServerEnd
from ..link.share import Share
from .channel import format_endpoint, open_channel
from .loop import EventLoop
from .tls import TlsIdentity, tls_reason

__all__ = ["MAX_PEERS", "CopyConnection", "LinkServer", "PeerConnection"]

_log = logging.getLogger(__name__)

MAX_PEERS = 64
"""Link connections an intercept holds at once, greeted or not."""

Peer = TypeVar("Peer", bound="PeerConnection")

_MAX_HOSTS = 1000
_MAX_REASONS = 8


class PeerConnection:
    """One connection of a LinkServer. welcomed: whether it was accepted, be it open or closed by now.

    client, server: the daemon that connects, and the one that it connects to, for messages.
    """

    client = "copy"
    server = "intercept"

    def __init__(self, server: LinkServer[Any], sock: socket.socket, address: tuple[Any, ...], now: float) -> None:
        self.channel = open_channel(sock, server.identity)
        self.host = address[0].removeprefix("::ffff:")
        self.name = format_endpoint(address)
        self.end = self._make_end(now)
        self.blocked = False
        self.welcomed = False
        self._server = server

    def _make_end(self, now: float) -> ServerEnd:
        raise NotImplementedError

    def status(self) -> dict[str, Any]:
        """Return the link's state as `copytool status --json` shows it."""
        return {
            "peer": self.name,
            "state": "established" if self.end.established else "greeting",
            "version": self.end.peer_version,
            "certificate": self.channel.peer_name,
            "encrypted": self.channel.is_encrypted,
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
                data = self.channel.receive()
            except OSError as error:
                data = None
                self.end.close(tls_reason(error))
            if data == b"":
                self.end.close(f"closed by {self.client}")
            elif data:
                bodies = self.end.receive_data(data, now)
                self._server.on_content(self, bodies)
                if self.end.awaits_decision:
                    self._server.decide(self, now)
                    if self.end.established:
                        self.welcomed = True
                        self._server.forget_reasons(self)
        self.after_io()
        if events & selectors.EVENT_WRITE and not self.blocked:
            self._server.on_writable(self)

    def after_io(self) -> None:
        """Send what is queued, drop the peer if it is over."""
        was_blocked = self.blocked
        try:
            self.blocked = self.channel.send_pending(self.end)
        except OSError as error:
            self.end.close(tls_reason(error))
        if self.end.closed_because:
            self._server.drop(self)
            return
        if self.blocked != was_blocked:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self.blocked else 0)
            self._server.loop.watch(self.channel.socket, events, self.on_ready)


class CopyConnection(PeerConnection):
    """intercept's side of the connection of a copy."""

    end: InterceptEnd

    def _make_end(self, now: float) -> ServerEnd:
        return InterceptEnd(now)

    @property
    def share(self) -> Share | None:
        """The share the peer claims."""
        return self.end.share

    def status(self) -> dict[str, Any]:
        """Return the link's state as `copytool status --json` shows it."""
        share = self.share
        return {**super().status(), "client_networks": [str(network) for network in share.networks] if share else []}


class LinkServer(Generic[Peer]):
    """A listening socket and its peers, which are of one `kind`.

    decide(peer, now) is called when a peer has said hello; it calls peer.end.welcome() or refuse().
    on_content(peer, bodies) is called when a peer has sent something, with what it has sent for its content.
    on_writable(peer) is called when a peer that was slow takes data again, on_drop(peer) when a peer is gone.
    refused: connections that ended before they were welcome, whatever the reason. Of each host's reasons the first few
    are logged, each once, until it is welcome. flags: those that say where to listen, for messages.
    """

    def __init__(
        self,
        loop: EventLoop,
        bind: str,
        port: int,
        kind: type[Peer],
        decide: Callable[[Peer, float], None],
        on_writable: Callable[[Peer], None],
        on_drop: Callable[[Peer], None],
        identity: TlsIdentity | None = None,
        on_content: Callable[[Peer, list[bytes]], None] = lambda _peer, _bodies: None,
        flags: str = "-b, -p",
    ) -> None:
        self.loop = loop
        self.identity = identity
        self.decide = decide
        self._kind = kind
        self.on_content = on_content
        self.on_writable = on_writable
        self.peers: list[Peer] = []
        self.refused = 0
        self._on_drop = on_drop
        self._reasons: dict[str, set[str]] = {}
        try:
            self._socket = _listen(bind, port)
        except OSError as error:
            reason = error.strerror or str(error)
            raise HostError(f"cannot listen on {bind}:{port} ({flags}): {reason}; see `ss -ltnp`") from None
        loop.watch(self._socket, selectors.EVENT_READ, self._on_accept)

    def drop(self, peer: Peer) -> None:
        """Close a peer's connection and forget it."""
        if peer not in self.peers:
            return
        self.peers.remove(peer)
        self.loop.services.remove(peer)
        self.loop.unwatch(peer.channel.socket)
        peer.channel.close()
        self._log_end(peer)
        self._on_drop(peer)

    def _log_end(self, peer: PeerConnection) -> None:
        reason = peer.end.closed_because or "dropped"
        if not peer.welcomed:
            self.refused += 1
            if not self._is_news(peer.host, reason):
                return
        level = logging.INFO if reason.startswith("closed by ") else logging.WARNING
        _log.log(level, "link from %s ended: %s", peer.name, reason)

    def _is_news(self, host: str, reason: str) -> bool:
        """Return whether this reason of a host is to be logged: whoever attacks may think of many."""
        if host not in self._reasons and len(self._reasons) >= _MAX_HOSTS:
            self._reasons.clear()
        reasons = self._reasons.setdefault(host, set())
        if reason in reasons or len(reasons) >= _MAX_REASONS:
            return False
        reasons.add(reason)
        return True

    def forget_reasons(self, peer: PeerConnection) -> None:
        """Log them again if this peer's host is refused once more."""
        self._reasons.pop(peer.host, None)

    def close(self) -> None:
        """Stop listening and close every peer."""
        for peer in self.peers[:]:
            peer.end.close(f"{peer.server} stopped")
            self.drop(peer)
        self.loop.unwatch(self._socket)
        self._socket.close()

    def _on_accept(self, _events: int) -> None:
        accepted = self.loop.accept(self._socket)
        if accepted is None:
            return
        sock, address = accepted
        if len(self.peers) >= MAX_PEERS and not self._make_room():
            self.refused += 1
            sock.close()
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = self._kind(self, sock, address, self.loop.now())
        self.peers.append(peer)
        self.loop.services.append(peer)
        self.loop.watch(sock, selectors.EVENT_READ, peer.on_ready)

    def _make_room(self) -> bool:
        """Close a peer that has not greeted; return whether there was one.

        It is the one that has waited longest, of the host that has most of them: a host that floods pushes out its own
        connections, and not that of a copy which comes back.
        """
        waiting = [peer for peer in self.peers if not peer.welcomed]
        if not waiting:
            return False
        crowd = Counter(peer.host for peer in waiting).most_common(1)[0][0]
        oldest = next(peer for peer in waiting if peer.host == crowd)
        oldest.end.close("no greeting, and too many connections")
        self.drop(oldest)
        return True


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
