"""The way of packets through copy: from the capture rings and the links into the engine, and out to the targets."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from ..mirror.client import ClientConnection
from ..mirror.engine import Engine
from ..mirror.events import SessionEnded
from ..wire.address import format_address
from ..wire.flow import FlowKey
from .feeding import feed_packets
from .nexthop import NextHopTable
from .output import PacketOutput
from .pace import Pace
from .remote_sockets import RemoteSockets
from .ring import BlockRing, look_after
from .session_log import SessionLog
from .shaper import Shaper
from .sockdiag import GONE, OPEN, SocketLookup

__all__ = ["CopyPath"]

_log = logging.getLogger(__name__)

_BLOCKS_AT_ONCE = 16
_BLOCKS_AT_MOST = 512  # while a ring is filling up
_REST_S = 0.001
_SEND_BATCH = 64  # then the rings and links are served again: what waits here is safe, what waits there is not
_CHECKS_AT_ONCE = 64
_STATISTICS_S = 2.0  # the kernel's drop counters are 32 bits wide and reset when read


class CopyPath:
    """Moves what there is to move, whenever the loop calls.

    on_failure is called in an exception handler: a bug may cost a packet, not the rest. shaper: what is sent goes
    through it, if there is one. sockets: of the online host, if its kernel can be asked. lost: packets that forwarders
    say were not forwarded.
    """

    def __init__(
        self,
        engine: Engine,
        rings: list[BlockRing],
        next_hops: NextHopTable,
        session_log: SessionLog,
        on_failure: Callable[[], None],
        now: float,
        shaper: Shaper | None = None,
        sockets: SocketLookup | RemoteSockets | None = None,
    ) -> None:
        self._shaper = shaper
        self.output = PacketOutput(next_hops)
        self._engine = engine
        self._rings = rings
        self._session_log = session_log
        self._on_failure = on_failure
        self._sockets = sockets
        self.lost = 0
        self._behind_drops: set[BlockRing] = set()
        self._statistics_at = now
        self._pacing = Pace()
        self._saving_rest_s = 0.0

    def save_time(self, rest_s: float) -> None:
        """Let packets and records collect for so long from now on, however few come; 0: as usual."""
        self._saving_rest_s = rest_s

    def pace(self) -> float:
        """Return how long packets and records may collect: only what no turn waits for can wait."""
        engine = self._engine
        if engine.is_busy() or engine.is_pressed():
            return 0.0
        for ring in self._rings:
            if ring.has_packets():
                return 0.0
        if self._saving_rest_s:
            return self._saving_rest_s
        counters = engine.counters
        return self._pacing.after(counters.client_packets + counters.responses, _REST_S)

    def next_timer(self) -> float:
        """Return when handle_timer wants to be called."""
        if self._shaper is not None and self._shaper.is_full():
            return min(self._statistics_at, self._shaper.next_timer())
        if self._engine.is_busy():
            return 0.0
        if self._shaper is not None:
            return min(self._engine.next_timer(), self._statistics_at, self._shaper.next_timer())
        return min(self._engine.next_timer(), self._statistics_at)

    def handle_timer(self, now: float) -> None:
        """Serve the engine's deadlines and read the kernel's counters."""
        self._engine.handle_timer(now)
        self.flush(now)
        self._check_connections(now)
        if now >= self._statistics_at:
            self._statistics_at = now + _STATISTICS_S
            self.look_after_rings(now)

    def look_after_rings(self, now: float) -> None:
        """Read the kernel's counters, and have the engine know what it dropped."""
        if look_after(self._rings, "copy"):
            self._engine.note_drops(now)
            self._behind_drops.update(self._rings)

    def receive_packets(self, ring: BlockRing, now: float) -> None:
        """Take in what waits in a ring, and send what follows from it."""
        wall_clock_ahead_s = time.time() - now
        blocks = 0
        limit = _BLOCKS_AT_ONCE
        while blocks < limit and ring.has_packets():
            blocks += 1
            ring.feed(self._engine, now, self._on_failure, wall_clock_ahead_s)
            if blocks == limit < _BLOCKS_AT_MOST and ring.is_filling_up():
                limit += _BLOCKS_AT_ONCE
        if not blocks:
            ring.recover()
        elif ring.losing:
            self.look_after_rings(now)
        if ring in self._behind_drops:
            # What waited here when packets were dropped is older than the drops, and its connections lost some.
            self._engine.note_drops(now)
            if not ring.has_packets():
                self._behind_drops.discard(ring)
        self.flush(now)
        self._check_connections(now)

    def receive_forwarded(self, bodies: list[bytes], now: float) -> None:
        """Take in the bodies of PACKETS frames, and send what follows from them."""
        lost = 0
        for body in bodies:
            lost += feed_packets(body, self._engine, now, self._on_failure)
        if lost:
            self.lost += lost
            self._engine.note_drops(now)
        self.flush(now)
        self._check_connections(now)

    def receive_records(self, bodies: list[bytes], now: float) -> None:
        """Take in the bodies of a link's RECORDS frames, and send what follows from them."""
        for body in bodies:
            self._engine.receive_records(body, now, self._on_failure)
        self.flush(now)

    def flush(self, now: float) -> None:
        """Send what the engine has to send, and note what ended."""
        engine = self._engine
        shaper = self._shaper
        if shaper is None:
            packets = engine.packets_to_send(now, _SEND_BATCH)
        else:
            dropped = shaper.dropped
            packets = shaper.pass_on([] if shaper.is_full() else engine.packets_to_send(now, _SEND_BATCH), now)
            if shaper.dropped > dropped:
                engine.note_own_drops(now)
        if packets:
            self.output.send(packets, now)
        event = engine.next_event()
        while event is not None:
            self._session_log.add(event)
            _log_end(event)
            event = engine.next_event()

    def _check_connections(self, now: float) -> None:
        """Ask the kernel about connections whose clients are silent, and whose service is new, a few at a time."""
        engine = self._engine
        sockets = self._sockets
        for _ in range(_CHECKS_AT_ONCE):
            connection = engine.next_check()
            if connection is None:
                return
            if sockets is None or (not connection.is_silent(now) and sockets.knows(connection.key)):
                continue
            self._judge(connection, sockets.find(connection.key), now)

    def _judge(self, connection: ClientConnection, state: str, now: float) -> None:
        """Have the connection know what the kernel says of it."""
        if state == GONE:
            self.look_after_rings(now)  # the drops of the last seconds count
        if state in (OPEN, GONE):
            connection.checked(state == OPEN, self._engine.saw_drops_since(connection.opened_at), now)

    def receive_states(self, states: list[tuple[FlowKey, str]], now: float) -> None:
        """Take in what other hosts' kernels say of connections."""
        for flow, state in states:
            connection = self._engine.find_connection(flow)
            if connection is not None:
                self._judge(connection, state, now)
        self.flush(now)

    def shut_down(self, now: float) -> None:
        """Close the mirrored sessions on the target; nothing is sent after it."""
        self._engine.shut_down(now)
        if self._shaper is not None:
            self.output.send(self._shaper.drain(), now)
        self.output.send(self._engine.packets_to_send(now), now)
        self.output.close()
        if self._sockets is not None:
            self._sockets.close()


def _log_end(event: SessionEnded) -> None:
    if event.outcome != "mirrored" and _log.isEnabledFor(logging.DEBUG):
        address, port = event.client
        text = format_address(address)
        _log.debug("session of %s port %d: %s after %.3f s", text, port, event.outcome, event.duration_s)
