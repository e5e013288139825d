"""The intercept daemon: captures the target's responses and reports their headers to the copies they belong to."""

from __future__ import annotations

import logging
import selectors
from functools import partial
from typing import Any

from .. import __version__
from ..errors import ConfigError
from ..flavour import flavour
from ..link.collector import ResponseCollector
from ..link.connection import PING_INTERVAL_S
from ..link.share import Network, Share
from .bpf import compile_filter
from .capabilities import held
from .control import ControlServer
from .link_server import CopyConnection, LinkServer
from .log_level import set_log_level
from .loop import EventLoop
from .pace import Pace
from .ring import FrameRing, capture_status, look_after
from .settings import InterceptSettings
from .tls import TlsIdentity

__all__ = ["InterceptDaemon"]

_log = logging.getLogger(__name__)

_SNAP_BYTES = 128  # IPv4 and TCP headers at their longest need 120, IPv6 with its usual extensions less
_STATISTICS_S = 2.0
_FLUSH_S = 0.00025
_MAX_LINKS_OF_ONE_COPY = 20  # the workers of one may be 16, and for a moment old connections count as well
_TAKEOVER_S = PING_INTERVAL_S + 0.5  # a copy that lives is never silent for longer


class InterceptDaemon:
    """Everything that runs in a `copytool intercept` process.

    capabilities: what it needs after it has started: nothing, as a capturing socket can be bound again without.
    """

    capabilities: tuple[str, ...] = ()

    def __init__(self, settings: InterceptSettings, loop: EventLoop) -> None:
        """Open everything that can fail; raises HostError or ConfigError with the reason."""
        self._loop = loop
        code = compile_filter(settings.filter, _SNAP_BYTES)
        self._collector = ResponseCollector()
        self._rings = [FrameRing(name, code) for name in settings.interfaces]
        self._peers = settings.peers
        self._identity = TlsIdentity(settings.tls, is_server=True) if settings.tls else None
        self._server = LinkServer(
            loop, settings.bind, settings.port, CopyConnection, self._decide, self._flush, self._on_drop, self._identity
        )
        commands = {
            "status": lambda _request: self.status(),
            "sessions": _refuse_sessions,
            "log-level": set_log_level,
        }
        self._control = ControlServer(loop, settings.control_socket, commands)
        self._statistics_at = loop.now()
        for ring in self._rings:
            loop.watch(ring, selectors.EVENT_READ, partial(self._on_capture, ring))
        loop.services.append(self)
        self._pacing = Pace()
        loop.pace = self._pace

    # -- the loop calls these -------------------------------------------------------------------------------

    def _pace(self) -> float:
        """Return how long responses may collect before they are reported."""
        return self._pacing.after(self._collector.counters["packets"], _FLUSH_S)

    def next_timer(self) -> float:
        """Return when handle_timer wants to be called."""
        return self._statistics_at

    def handle_timer(self, now: float) -> None:
        """Read the kernel's counters."""
        self._statistics_at = now + _STATISTICS_S
        look_after(self._rings, "intercept")

    def _on_capture(self, ring: FrameRing, _events: int) -> None:
        if not ring.has_packets():
            ring.recover()
        ring.feed(self._collector, self._loop.note_failure)
        for peer in self._server.peers[:]:
            self._flush(peer)

    def _flush(self, peer: CopyConnection) -> None:
        """Send a peer's records unless it is slow: then they go on coalescing, which bounds them."""
        while peer.end.established and not peer.blocked:
            body = self._collector.take_records(peer)
            if not body:
                return
            peer.end.send_records(body)
            peer.after_io()

    def _decide(self, peer: CopyConnection, now: float) -> None:
        """Accept a share unless a copy has it that is alive; one whose link went silent is replaced."""
        share = peer.share
        assert share is not None
        objection = self._objection(peer, share)
        if objection:
            peer.end.refuse(objection)
            return
        owner = self._collector.overlapping_owner(share)
        if isinstance(owner, CopyConnection):
            if owner.end.silent_for(now) < _TAKEOVER_S:
                network = share.overlap(owner.share) if owner.share else None
                reason = f"client network {network} belongs to the copy at {owner.name}; two copies need different -c"
                peer.end.refuse(reason)
                return
            owner.end.close(f"silent, and replaced by the copy at {peer.name}")
            self._server.drop(owner)
        self._collector.add_owner(peer, share)
        peer.end.welcome(__version__, now)
        networks = ", ".join(str(network) for network in share.networks)
        _log.info("link from %s established for %s", peer.name, networks)
        self._flush(peer)

    def _objection(self, peer: CopyConnection, share: Share) -> str:
        """Return why this peer may not have a share at all, or ""."""
        name = peer.channel.peer_name
        if self._peers is not None:
            for network in share.networks:
                if not any(_contains(allowed, network) for allowed in self._peers.get(name, ())):
                    return f"the certificate of {name!r} does not allow it client network {network}; see --peers"
        links = sum(other.welcomed and other.channel.peer_name == name for other in self._server.peers)
        return f"{name!r} has {links} links already" if name and links >= _MAX_LINKS_OF_ONE_COPY else ""

    def _on_drop(self, peer: CopyConnection) -> None:
        self._collector.remove_owner(peer)

    # -- from outside ---------------------------------------------------------------------------------------

    def shut_down(self) -> None:
        """Release everything; the copies notice and reconnect."""
        self._control.close()
        self._server.close()
        for ring in self._rings:
            self._loop.unwatch(ring)
            ring.close()

    def status(self) -> dict[str, Any]:
        """Return everything that is counted, as JSON-able data."""
        look_after(self._rings, "intercept")
        return {
            "role": "intercept",
            "version": __version__,
            "flavour": flavour(),
            "capabilities": held(),
            "capture": capture_status(self._rings),
            "responses": dict(self._collector.counters),
            "link": [peer.status() for peer in self._server.peers],
            "certificate": self._identity.status() if self._identity else None,
            "refused_links": self._server.refused,
            "no_descriptor_left": self._loop.starved,
            "internal_errors": self._loop.failures,
        }


def _contains(outer: Network, inner: Network) -> bool:
    return inner.network_address in outer and inner.broadcast_address in outer


def _refuse_sessions(_request: dict[str, Any]) -> dict[str, Any]:
    raise ConfigError("intercept keeps no list of sessions; ask copy, on the online host")
