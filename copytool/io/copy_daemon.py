"""The copy daemon: feeds the mirror engine from the capture rings and the links, and sends what it says."""

from __future__ import annotations

import logging
import selectors
import time
from collections.abc import Iterable
from functools import partial
from ipaddress import ip_address
from typing import Any

from .. import __version__
from ..errors import ConfigError
from ..flavour import flavour
from ..link.connection import CopyEnd
from ..link.share import Share
from ..mirror.engine import Engine
from ..mirror.mapping import ClientNetwork, ClientSelection
from ..wire.address import format_address
from ..wire.flow import FlowKey
from .budgets import Budgets
from .capabilities import CAP_NET_RAW, held
from .control import ControlServer
from .copy_path import CopyPath
from .feed_server import FeedServer
from .link_client import LinkClient
from .log_level import set_log_level
from .loop import EventLoop
from .memory import fit_buffers, resident_bytes
from .neighbours import NeighbourKeeper
from .nexthop import NextHopTable
from .probing import Probing
from .remote_sockets import RemoteSockets
from .ring import BlockRing, capture_status
from .session_log import SessionLog
from .settings import CopySettings
from .shaper import Shaper
from .sockdiag import SocketLookup
from .sources import BLOCK_BYTES, make_filter, open_rings
from .steering import Steering
from .tls import TlsIdentity
from .tunnel_sink import TunnelSink

__all__ = ["CopyDaemon", "check_addresses"]

_log = logging.getLogger(__name__)

_SAVING_REST_S = 0.01


class CopyDaemon:
    """Everything that runs in a `copytool copy` process.

    capabilities: what it needs after it has started: an interface that comes back has to be sent on by a new socket.
    """

    capabilities = (CAP_NET_RAW,)

    def __init__(self, settings: CopySettings, keeper: NeighbourKeeper, loop: EventLoop) -> None:
        """Open everything that can fail; raises HostError or ConfigError with the reason."""
        self._loop = loop
        self._settings = settings
        self._keeper = keeper
        now = loop.now()
        feed = settings.feed
        self._filter = make_filter(settings)
        self._rings = open_rings(settings, self._filter.code(settings.mirror.ratio_percent))
        self._sink = TunnelSink(feed.vxlan_port) if feed.kind == "tunnel" else None
        self.engine = Engine(
            settings.targets,
            ClientNetwork(settings.client_ranges, settings.all_client_ranges),
            fit_buffers(settings, resident_bytes()),
            ClientSelection([(network.network_address.packed, network.prefixlen) for network in settings.clients]),
        )
        targets = sorted(set(settings.targets.values()))
        addresses = sorted({address for address, _ in targets})
        self._next_hops = NextHopTable(addresses, keeper, self._tell_engine, now, settings.allow_local_target)
        session_log = SessionLog()
        bits = settings.budgets.bandwidth_bits
        self._shaper = None if bits is None else Shaper(bits, now)
        self._feed_server, self._remote = self._open_feed()
        self._path = CopyPath(
            self.engine, self._rings, self._next_hops, session_log, loop.note_failure, now, self._shaper,
            SocketLookup() if feed.is_own else self._remote,
        )  # fmt: skip
        share = Share(settings.client_networks, targets)
        self._identity = TlsIdentity(settings.tls, is_server=False) if settings.tls else None
        make_end = partial(CopyEnd, share, __version__)
        self._links = [
            LinkClient(loop, address, "intercept", make_end, self._on_records, self._on_link_change, self._identity)
            for address in ([] if settings.mirror.dry_run else settings.intercepts)
        ]
        self._steering = Steering(self.engine, self._show_share, now)
        self._probing = Probing(settings, self._path.output, self._next_hops, self.engine.has_session)
        self._budgets = Budgets(settings.budgets, self.engine, self._steering, self._save_time, now)
        commands = {
            "status": lambda _request: self.status(),
            "sessions": session_log.answer,
            "log-level": set_log_level,
            **self._steering.commands(loop.now),
            **self._probing.commands(loop.now, self._has_link),
        }
        self._control = ControlServer(loop, settings.control_socket, commands)
        check_addresses(settings, self._next_hops.local_addresses)
        for ring in self._rings:
            loop.watch(ring, selectors.EVENT_READ, partial(self._on_capture, ring))
        loop.services += [self._path, self._next_hops, self._steering, self._budgets, self._probing, *self._links]
        loop.pace = self._path.pace

    def _open_feed(self) -> tuple[FeedServer | None, RemoteSockets | None]:
        """Listen for forwarders if they feed this copy; what their hosts' kernels know is asked for through them."""
        settings = self._settings
        if settings.feed.kind != "forward":
            return None, None
        identity = TlsIdentity(settings.tls, is_server=True) if settings.tls else None
        server = FeedServer(self._loop, settings.feed, self._on_packets, self._on_states, self._note_loss, identity)
        return server, RemoteSockets(server.ask)

    def _tell_engine(self, table: NextHopTable) -> None:
        path_mtu = {target: hop.mtu_bytes for target, hop in table.hops.items()}
        self.engine.set_host(table.local_addresses, path_mtu, self._loop.now())

    def _save_time(self, saves: bool) -> None:
        ring_s = self._settings.ring_bytes // BLOCK_BYTES * 0.001
        self._path.save_time(min(_SAVING_REST_S, ring_s / 4) if saves else 0.0)

    def _show_share(self, ratio_percent: float) -> None:
        code, widest = self._filter.code(ratio_percent), self._filter.widest
        try:
            for ring in self._rings:
                ring.set_filter(code, widest)
        except OSError:
            for ring in self._rings:
                ring.set_filter(widest, widest)
            raise

    # -- the loop calls these -------------------------------------------------------------------------------

    def _on_capture(self, ring: BlockRing, _events: int) -> None:
        self._path.receive_packets(ring, self._loop.now())

    def _on_packets(self, bodies: list[bytes]) -> None:
        self._path.receive_forwarded(bodies, self._loop.now())

    def _on_states(self, states: list[tuple[FlowKey, str]]) -> None:
        assert self._remote is not None
        for flow, state in states:
            self._remote.answered(flow, state)
        self._path.receive_states(states, self._loop.now())

    def _note_loss(self) -> None:
        self.engine.note_drops(self._loop.now())

    def _on_records(self, bodies: list[bytes]) -> None:
        now = self._loop.now()
        self._probing.receive(bodies, now)
        self._path.receive_records(bodies, now)

    def _on_link_change(self) -> None:
        now = self._loop.now()
        self.engine.set_feedback(self._has_link(), now)
        self._path.flush(now)

    def _has_link(self) -> bool:
        return any(link.state == "established" for link in self._links)

    # -- from outside ---------------------------------------------------------------------------------------

    def shut_down(self) -> None:
        """Close the mirrored sessions on the target and release everything."""
        now = self._loop.now()
        self._probing.shut_down(now)
        self._path.shut_down(now)
        self._control.close()
        for link in self._links:
            link.close()
        if self._feed_server is not None:
            self._feed_server.close()
        if self._sink is not None:
            self._sink.close()
        for ring in self._rings:
            self._loop.unwatch(ring)
            ring.close()
        self._next_hops.close()
        self._keeper.close()

    def _send_errors(self) -> dict[str, int]:
        errors = dict(self._path.output.errors)
        if self._shaper is not None and self._shaper.dropped:
            errors["bandwidth_limit"] = self._shaper.dropped
        return errors

    def _feed_status(self) -> dict[str, Any]:
        """Return where packets come from, and what is particular to that."""
        kind = self._settings.feed.kind
        status: dict[str, Any] = {"kind": kind}
        if kind == "tunnel":
            status["empty_packets"] = sum(ring.empty for ring in self._rings)
        if self._feed_server is not None:
            status |= {"lost_packets": self._path.lost, **self._feed_server.status()}
        return status

    def status(self) -> dict[str, Any]:
        """Return everything that is counted, as JSON-able data."""
        self._path.look_after_rings(self._loop.now())
        return {
            "role": "copy",
            "version": __version__,
            "flavour": flavour(),
            "capabilities": held(),
            "dry_run": self._settings.mirror.dry_run,
            "steering": self._steering.status(),
            "budgets": self._budgets.status(),
            **self.engine.status(),
            "feed": self._feed_status(),
            "capture": capture_status(self._rings),
            "send": {"errors": self._send_errors(), "unreachable": self._next_hops.problems},
            "link": [link.status() for link in self._links],
            "certificate": self._identity.status() if self._identity else None,
            "internal_errors": self._loop.failures,
            "cpu_s": round(time.process_time(), 3),
            "imbalance": self.engine.imbalance(),
        }


def check_addresses(settings: CopySettings, local: Iterable[bytes]) -> None:
    """Refuse what would turn the mirror on the production service or on real hosts, given this host's addresses."""
    local = frozenset(local)
    for address, port in settings.targets.values():
        if address in local or ip_address(address).is_loopback:
            _check_local_target(settings, address, port)
    network = ClientNetwork(settings.client_ranges, settings.all_client_ranges)
    intercepts = {ip_address(host).packed for host, _port in settings.intercepts}
    for address in sorted(local | intercepts):
        if address in network:
            raise ConfigError(
                f"-c (--client-network): {format_address(address)} is inside it, which is in use here; "
                "take a network that exists nowhere"
            )


def _check_local_target(settings: CopySettings, address: bytes, port: int) -> None:
    """Refuse a target on this host unless that is meant, and it cannot be a mirrored service.

    A service may listen on all addresses, so that a port which is mirrored at one of them is refused at any.
    """
    text = format_address(address)
    if not settings.allow_local_target:
        raise ConfigError(
            f"-x (--map): target {text} is an address of this host; the service would get everything twice. Name the"
            " test host, or say --allow-local-target if the test copy is here, on another port"
        )
    if any(port == online_port for _, online_port in settings.targets):
        raise ConfigError(
            f"-x (--map): target {text} port {port} is on this host, and port {port} is mirrored: it is the service"
            " itself, or looks like it. Let the test copy listen on another port"
        )
