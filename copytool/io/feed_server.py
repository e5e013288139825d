"""The end of copy that `copytool forward` connects to: takes in packets that other hosts have captured."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from .. import __version__
from ..link.connection import ServerEnd
from ..link.forwarding import FeedEnd
from ..wire.flow import FlowKey
from .link_server import LinkServer, PeerConnection
from .loop import EventLoop
from .settings import Feed
from .tls import TlsIdentity

__all__ = ["FeedServer", "ForwarderConnection"]

_log = logging.getLogger(__name__)


class ForwarderConnection(PeerConnection):
    """The connection of one `copytool forward`."""

    client = "forward"
    server = "copy"
    end: FeedEnd

    def _make_end(self, now: float) -> ServerEnd:
        return FeedEnd(now)

    def status(self) -> dict[str, Any]:
        """Return the link's state as `copytool status --json` shows it."""
        return {**super().status(), "services": self.end.services}


class FeedServer:
    """Listens for forwarders.

    on_packets(bodies) is called with the bodies of PACKETS frames, on_states(states) with what a host's kernel says of
    connections. on_loss() is called when a forwarder has come or gone: what its clients sent meanwhile is missing.
    """

    def __init__(
        self,
        loop: EventLoop,
        feed: Feed,
        on_packets: Callable[[list[bytes]], None],
        on_states: Callable[[list[tuple[FlowKey, str]]], None],
        on_loss: Callable[[], None],
        identity: TlsIdentity | None,
    ) -> None:
        self._forwarders = feed.forwarders
        self._on_packets = on_packets
        self._on_states = on_states
        self._on_loss = on_loss
        address, port = feed.listen
        self._server = LinkServer(
            loop, address, port, ForwarderConnection, self._decide, lambda _peer: None, self._on_drop, identity,
            on_content=self._take, flags="--feed-listen",
        )  # fmt: skip

    def _take(self, peer: ForwarderConnection, bodies: list[bytes]) -> None:
        if bodies:
            self._on_packets(bodies)
        if peer.end.states:
            states, peer.end.states = peer.end.states, []
            self._on_states(states)

    def ask(self, flow: FlowKey) -> None:
        """Ask the hosts whether they have a connection. Which of them has its address they know best."""
        for peer in self._server.peers[:]:
            peer.end.ask(flow)
            peer.after_io()

    def _decide(self, peer: ForwarderConnection, now: float) -> None:
        name = peer.channel.peer_name
        if self._forwarders is not None and name not in self._forwarders:
            peer.end.refuse(f"the certificate of {name!r} is none of --forwarders")
            return
        peer.end.welcome(__version__, now)
        _log.info("forward at %s sends what clients send to %s", peer.name, ", ".join(peer.end.services))
        self._on_loss()

    def _on_drop(self, peer: ForwarderConnection) -> None:
        if peer.welcomed:
            self._on_loss()

    def status(self) -> dict[str, Any]:
        """Return what is known of the forwarders, as JSON-able data."""
        return {"links": [peer.status() for peer in self._server.peers], "refused_links": self._server.refused}

    def close(self) -> None:
        """Stop listening and close every link."""
        self._server.close()
