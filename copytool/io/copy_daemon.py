"""The copy daemon: feeds the mirror engine from the capture rings and the links, and sends what it says."""

from __future__ import annotations

import logging
import selectors
import time
from functools import partial
from ipaddress import ip_address
from typing import Any

from .. import __version__
from ..errors import ConfigError
from ..flavour import flavour
from ..link.share import Share
from ..mirror.engine import Engine
from ..mirror.events import SessionEnded
from ..mirror.mapping import ClientNetwork, ClientSelection
from ..wire.address import format_address
from .capture_filter import capture_code
from .control import ControlServer
from .loop import EventLoop
from .nexthop import NextHopTable
from .output import PacketOutput
from .pace import Pace
from .ring import BlockRing, capture_status, look_after
from .session_log import SessionLog
from .settings import CopySettings
from .sockdiag import GONE, OPEN, SocketLookup
from .transport import InterceptClient

__all__ = ["CopyDaemon"]

_log = logging.getLogger(__name__)

# A GRO super-segment of 64 KiB and its headers must fit. Not larger: the kernel closes a block after a millisecond,
# however little is in it, so their number is how many milliseconds copy may be kept from running.
_BLOCK_BYTES = 1 << 17
_BLOCKS_AT_ONCE = 16
_RELAXED_S = 0.001
_PRESSED_S = 0.0001
_SEND_BATCH = 64  # then the rings and links are served again: what waits here is safe, what waits there is not
_CHECKS_AT_ONCE = 64
_STATISTICS_S = 2.0  # the kernel's drop counters are 32 bits wide and reset when read


class CopyDaemon:
    """Everything that runs in a `copytool copy` process."""

    def __init__(self, settings: CopySettings, loop: EventLoop) -> None:
        """Open everything that can fail; raises HostError or ConfigError with the reason."""
        self._loop = loop
        self._settings = settings
        now = loop.now()
        self.engine = Engine(
            settings.targets,
            ClientNetwork(settings.client_ranges, settings.all_client_ranges),
            settings.mirror,
            ClientSelection([(network.network_address.packed, network.prefixlen) for network in settings.clients]),
        )
        self._sockets = SocketLookup()
        code = capture_code(settings)
        blocks = settings.ring_bytes // _BLOCK_BYTES
        self._rings = [BlockRing(name, code, _BLOCK_BYTES, blocks) for name in settings.interfaces]
        targets = sorted(set(settings.targets.values()))
        self._next_hops = NextHopTable(sorted({address for address, _ in targets}), self._tell_engine, now)
        self._output = PacketOutput(self._next_hops)
        share = Share(settings.client_networks, targets)
        self._links = [
            InterceptClient(loop, address, share, __version__, self._on_records, self._on_link_change)
            for address in settings.intercepts
        ]
        self._session_log = SessionLog()
        commands = {"status": lambda _request: self.status(), "sessions": self._session_log.answer}
        self._control = ControlServer(loop, settings.control_socket, commands)
        self._behind_drops: set[BlockRing] = set()
        self._statistics_at = now
        self._pacing = Pace()
        self._check_targets()
        for ring in self._rings:
            loop.watch(ring, selectors.EVENT_READ, partial(self._on_capture, ring))
        loop.services += [self, self._next_hops, *self._links]
        loop.pace = self._pace

    def _check_targets(self) -> None:
        """Refuse what would turn the mirror on the production service or on real hosts."""
        local = self._next_hops.local_addresses
        for address, _port in self._settings.targets.values():
            if address in local:
                raise ConfigError(
                    f"-x (--map): target {format_address(address)} is an address of this host; the service would get"
                    " everything twice. Name the test host"
                )
        network = ClientNetwork(self._settings.client_ranges, self._settings.all_client_ranges)
        intercepts = {ip_address(host).packed for host, _port in self._settings.intercepts}
        for address in sorted(local | intercepts):
            if address in network:
                raise ConfigError(
                    f"-c (--client-network): {format_address(address)} is inside it, which is in use here; "
                    "take a network that exists nowhere"
                )

    def _tell_engine(self, table: NextHopTable) -> None:
        path_mtu = {target: hop.mtu_bytes for target, hop in table.hops.items()}
        self.engine.set_host(table.local_addresses, path_mtu, self._loop.now())

    # -- the loop calls these -------------------------------------------------------------------------------

    def _pace(self) -> float:
        """Return how long packets and records may collect: only what no turn waits for can wait."""
        counters = self.engine.counters
        if self.engine.is_busy or any(ring.has_packets() for ring in self._rings):
            return 0.0
        rest_s = _PRESSED_S if self.engine.is_pressed else _RELAXED_S
        return self._pacing.after(counters.client_packets + counters.responses, rest_s)

    def next_timer(self) -> float:
        """Return when handle_timer wants to be called."""
        if self.engine.is_busy:
            return 0.0
        return min(self.engine.next_timer(), self._statistics_at)

    def handle_timer(self, now: float) -> None:
        """Serve the engine's deadlines and read the kernel's counters."""
        self.engine.handle_timer(now)
        self._flush(now)
        self._check_connections(now)
        if now >= self._statistics_at:
            self._statistics_at = now + _STATISTICS_S
            self._look_after_rings(now)

    def _look_after_rings(self, now: float) -> None:
        if look_after(self._rings, "copy"):
            self.engine.note_drops(now)
            self._behind_drops.update(self._rings)

    def _check_connections(self, now: float) -> None:
        """Ask the kernel about connections whose clients are silent, and whose service is new, a few at a time."""
        for _ in range(_CHECKS_AT_ONCE):
            connection = self.engine.next_check()
            if connection is None:
                return
            if not connection.is_silent(now) and self._sockets.knows(connection.key):
                continue
            state = self._sockets.find(connection.key)
            if state == GONE:
                self._look_after_rings(now)  # the drops of the last seconds count
            if state in (OPEN, GONE):
                saw_drops = self.engine.saw_drops_since(connection.opened_at)
                connection.checked(state == OPEN, saw_drops, now)

    def _on_capture(self, ring: BlockRing, _events: int) -> None:
        now = self._loop.now()
        blocks = 0
        while blocks < _BLOCKS_AT_ONCE and ring.has_packets():
            blocks += 1
            ring.feed(self.engine, now, self._loop.note_failure)
        if not blocks:
            ring.recover()
        elif ring.losing:
            self._look_after_rings(now)
        if ring in self._behind_drops:
            # What waited here when packets were dropped is older than the drops, and its connections lost some.
            self.engine.note_drops(now)
            if not ring.has_packets():
                self._behind_drops.discard(ring)
        self._flush(now)
        self._check_connections(now)

    def _on_records(self, bodies: list[bytes]) -> None:
        now = self._loop.now()
        for body in bodies:
            self.engine.receive_records(body, now, self._loop.note_failure)
        self._flush(now)

    def _on_link_change(self) -> None:
        now = self._loop.now()
        self.engine.set_feedback(any(link.state == "established" for link in self._links), now)
        self._flush(now)

    def _flush(self, now: float) -> None:
        packets = self.engine.packets_to_send(now, _SEND_BATCH)
        if packets:
            self._output.send(packets, now)
        while (event := self.engine.next_event()) is not None:
            self._session_log.add(event)
            _log_end(event)

    # -- from outside ---------------------------------------------------------------------------------------

    def shut_down(self) -> None:
        """Close the mirrored sessions on the target and release everything."""
        now = self._loop.now()
        self.engine.shut_down(now)
        self._output.send(self.engine.packets_to_send(now), now)
        self._control.close()
        for link in self._links:
            link.close()
        for ring in self._rings:
            self._loop.unwatch(ring)
            ring.close()
        self._output.close()
        self._next_hops.close()
        self._sockets.close()

    def status(self) -> dict[str, Any]:
        """Return everything that is counted, as JSON-able data."""
        self._look_after_rings(self._loop.now())
        return {
            "role": "copy",
            "version": __version__,
            "flavour": flavour(),
            **self.engine.status(),
            "capture": capture_status(self._rings),
            "send": {"errors": dict(self._output.errors), "unreachable": self._next_hops.problems},
            "link": [link.status() for link in self._links],
            "internal_errors": self._loop.failures,
            "cpu_s": round(time.process_time(), 3),
            "imbalance": self.engine.imbalance(),
        }


def _log_end(event: SessionEnded) -> None:
    if event.outcome != "mirrored" and _log.isEnabledFor(logging.DEBUG):
        address, port = event.client
        text = format_address(address)
        _log.debug("session of %s port %d: %s after %.3f s", text, port, event.outcome, event.duration_s)
