"""The forward daemon: captures what clients send to services of this host, and sends it to a copy on another one.

It sends no packet of its own, needs no answers of the target, and keeps no state of any connection.
"""

from __future__ import annotations

import logging
import selectors
import time
from functools import partial
from typing import Any

from .. import __version__
from ..errors import ConfigError
from ..flavour import flavour
from ..link.forwarding import ForwardEnd, decode_questions
from ..mirror.targets import Service
from ..wire.address import format_address
from ..wire.flow import flow_ends
from .capabilities import held
from .capture_filter import CaptureFilter
from .channel import format_endpoint
from .control import ControlServer
from .link_client import LinkClient
from .log_level import set_log_level
from .loop import EventLoop
from .ring import BlockRing, capture_status, look_after
from .settings import ForwardSettings
from .sockdiag import SocketLookup
from .sources import BLOCK_BYTES
from .tls import TlsIdentity

__all__ = ["ForwardDaemon", "forward_end"]

_log = logging.getLogger(__name__)

_BLOCKS_AT_ONCE = 16
_FRAMES_AT_ONCE = 64
_AT_ONCE_BYTES = 1 << 19  # keeps a link busy for longer than a rest
_ROOM_REST_S = 0.001
_STATISTICS_S = 2.0


class ForwardDaemon:
    """Everything that runs in a `copytool forward` process.

    capabilities: what it needs after it has started: nothing, as a capturing socket can be bound again without.
    """

    capabilities: tuple[str, ...] = ()

    def __init__(self, settings: ForwardSettings, loop: EventLoop) -> None:
        """Open everything that can fail; raises HostError or ConfigError with the reason."""
        self._loop = loop
        self._settings = settings
        self._end: ForwardEnd | None = None
        self._forwarded = 0
        self._sockets = SocketLookup()
        self._dropped = {"no_link": 0, "slow_link": 0}
        code = CaptureFilter(settings.services, settings.clients).code(settings.ratio_percent)
        self._blocks = settings.ring_bytes // BLOCK_BYTES
        self._rings = [BlockRing(name, code, BLOCK_BYTES, self._blocks) for name in settings.interfaces]
        self._identity = TlsIdentity(settings.tls, is_server=False) if settings.tls else None
        self._link = LinkClient(
            loop, settings.copy, "copy", self._make_end, self._answer, self._on_link_change, self._identity
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
        loop.services += [self, self._link]

    def _make_end(self, now: float) -> ForwardEnd:
        self._end = forward_end(self._settings, now)
        return self._end

    def _on_link_change(self) -> None:
        """Forget a lost link, and what waited for it: copy counts all of that as lost when the next one comes."""
        if self._link.end is None:
            self._forwarded = self._forwarded_packets()
            self._end = None

    def _answer(self, bodies: list[bytes]) -> None:
        """Ask the kernel for the connections that copy asks for."""
        end = self._end
        if end is None:
            return
        for body in bodies[:_FRAMES_AT_ONCE]:
            end.answer([(flow, self._sockets.find(flow_ends(flow))) for flow in decode_questions(body)])

    # -- the loop calls these -------------------------------------------------------------------------------

    def next_timer(self) -> float:
        """Return when handle_timer wants to be called."""
        return self._statistics_at

    def handle_timer(self, now: float) -> None:
        """Read the kernel's counters, and have copy know what was lost."""
        self._statistics_at = now + _STATISTICS_S
        self._look_after_rings()
        end = self._end
        if end is not None and end.lost and end.has_room():
            end.finish(end.begin(), 0)
            self._link.send_pending(now)

    def _look_after_rings(self) -> None:
        """Read the kernel's counters, and note what it dropped."""
        dropped = look_after(self._rings, "forward")
        if dropped and self._end is not None:
            self._end.lost += dropped

    def _on_capture(self, ring: BlockRing, _events: int) -> None:
        end = self._end
        blocks = 0
        wall_clock = time.time()
        while blocks < _BLOCKS_AT_ONCE and ring.has_packets():
            if self._can_wait(ring):
                self._loop.rest(ring, _ROOM_REST_S)
                break
            blocks += 1
            if end is not None and end.has_room():
                frame = end.begin()
                end.finish(frame, ring.forward(frame, wall_clock))
            else:
                self._drop(ring)
        if not blocks:
            ring.recover()
        elif ring.losing:
            self._look_after_rings()
        self._link.send_pending(self._loop.now())

    def _can_wait(self, ring: BlockRing) -> bool:
        """Return whether the link has enough to send, and the ring's packets may stay where they are.

        That costs nothing, but each millisecond takes a block, however little is in it. So half of the ring may wait
        before packets wait in the process as well, and nearly all of it before any are dropped.
        """
        end = self._end
        if end is None or end.waiting_bytes() < _AT_ONCE_BYTES:
            return False
        self._link.send_pending(self._loop.now())
        if not end.established or end.waiting_bytes() < _AT_ONCE_BYTES:
            return False
        return not ring.has_waiting(self._blocks // 2 if end.has_room() else self._blocks * 7 // 8)

    def _drop(self, ring: BlockRing) -> None:
        """Drop a block's packets: without a link, or with one that does not keep up, they would be late."""
        count = ring.skip()
        end = self._end
        if end is not None and end.established:
            end.lost += count
            self._dropped["slow_link"] += count
        else:
            self._dropped["no_link"] += count

    # -- from outside ---------------------------------------------------------------------------------------

    def shut_down(self) -> None:
        """Release everything; copy notices."""
        self._control.close()
        self._link.close()
        self._sockets.close()
        for ring in self._rings:
            self._loop.unwatch(ring)
            ring.close()

    def _forwarded_packets(self) -> int:
        return self._forwarded + (self._end.forwarded if self._end is not None else 0)

    def status(self) -> dict[str, Any]:
        """Return everything that is counted, as JSON-able data."""
        self._look_after_rings()
        waiting = self._end.waiting_bytes() if self._end is not None else 0
        return {
            "role": "forward",
            "version": __version__,
            "flavour": flavour(),
            "capabilities": held(),
            "capture": capture_status(self._rings),
            "forwarded": {
                "packets": self._forwarded_packets(),
                "dropped": dict(self._dropped),
                "waiting_bytes": waiting,
                "buffer_bytes": self._settings.buffer_bytes,
            },
            "link": [self._link.status()],
            "certificate": self._identity.status() if self._identity else None,
            "internal_errors": self._loop.failures,
            "cpu_s": round(time.process_time(), 3),
        }


def forward_end(settings: ForwardSettings, now: float) -> ForwardEnd:
    """Return the end of a new connection to copy."""
    services = [format_service(service) for service in settings.services]
    return ForwardEnd(services, __version__, now, settings.buffer_bytes)


def format_service(service: Service) -> str:
    """Return a service as [ip:]port."""
    address, port = service
    return str(port) if address is None else format_endpoint((format_address(address), port))


def _refuse_sessions(_request: dict[str, Any]) -> dict[str, Any]:
    raise ConfigError("forward keeps no list of sessions; ask the copy that it sends to")
