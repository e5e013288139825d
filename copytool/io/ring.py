"""Packet capture from a memory-mapped AF_PACKET ring (Linux, Documentation/networking/packet_mmap).

Two layouts. Blocks (TPACKET_V3) hold packets of any length up to a GRO super-segment and wake the reader once per
block, at the latest after a millisecond or two: cheapest where many client packets are captured. Frames (TPACKET_V2)
are of one small size and wake the reader at once: for response headers, where each millisecond of waiting would be a
millisecond per turn.
"""

from __future__ import annotations

import logging
import mmap
import os
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import HostError
from ..link.collector import ResponseCollector
from ..mirror.engine import Engine
from ..wire import octets
from .bpf import attach_filter
from .feeding import OWN, SPAN, STATUS_KERNEL, STATUS_USER, TUNNELS, feed_block, feed_frames, forward_block
from .interfaces import is_up
from .packet_socket import bind_capture, open_capture, reassemble, take_all

__all__ = ["BlockRing", "CaptureRing", "FrameRing", "capture_status", "look_after"]

_log = logging.getLogger(__name__)

_SOL_PACKET = 263
_PACKET_RX_RING = 5
_PACKET_STATISTICS = 6
_PACKET_VERSION = 10
_PACKET_IGNORE_OUTGOING = 23
_TPACKET_V2 = 1
_TPACKET_V3 = 2
_STATUS_LOSING = 4
_DRAIN_LIMIT = 100_000


class CaptureRing:
    """A bound packet socket with a ring.

    packets, drops: kernel totals since start. losing: the kernel says that it has dropped packets since the totals were
    read. problem: why nothing can be captured now, or "".
    """

    _version = 0

    def __init__(self, interface: str, filter_code: bytes) -> None:
        """Capture what arrives at `interface` ("" for all) and passes the filter."""
        self.interface = interface
        self.packets = 0
        self.drops = 0
        self.losing = False
        self.problem = ""
        self.socket = open_capture()
        try:
            self._set_up(filter_code)
        except OSError as error:
            self.socket.close()
            where = interface or "all interfaces"
            raise HostError(f"cannot capture on {where}: {error.strerror}; see `ip link`") from None
        self._view: Any = memoryview(self._map)

    def _set_up(self, filter_code: bytes) -> None:
        sock = self.socket
        attach_filter(sock, filter_code)
        sock.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        sock.setsockopt(_SOL_PACKET, _PACKET_VERSION, self._version)
        request, size = self._ring_request()
        sock.setsockopt(_SOL_PACKET, _PACKET_RX_RING, request)
        self._map = mmap.mmap(sock.fileno(), size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._bind()

    def _bind(self) -> None:
        """Start to capture, or go on where the interface was removed and has come back; raises OSError."""
        bind_capture(self.socket, self.interface)

    def set_filter(self, filter_code: bytes, wider_code: bytes) -> None:
        """Capture by another filter from now on; raises OSError if the kernel does not take it.

        wider_code: a small filter that passes at least as much as the old and the new one. It is used in between where
        both do not fit into a socket's memory (net.core.optmem_max), or instead.
        """
        try:
            attach_filter(self.socket, filter_code)
        except OSError:
            attach_filter(self.socket, wider_code)
            attach_filter(self.socket, filter_code)

    def _ring_request(self) -> tuple[bytes, int]:
        raise NotImplementedError

    def has_packets(self) -> bool:
        """Return whether there are any to take in."""
        raise NotImplementedError

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when packets are ready."""
        return self.socket.fileno()

    def update_statistics(self) -> None:
        """Add the kernel's counters, which reading resets, to `packets` and `drops`."""
        packets, drops = struct.unpack("=II", self.socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 12)[:8])
        self.packets += packets
        self.drops += drops
        self.losing = False

    def recover(self) -> None:
        """Clear the error that makes the socket readable when its interface goes down; it would stay readable.

        Capturing goes on by itself when the interface comes up, except when it was removed: then a new one of that name
        has another index and the socket has to be bound again.
        """
        code = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code and not self.problem:
            self.problem = os.strerror(code)
            _log.warning("capture on %s: %s; waiting for it", self.interface or "all interfaces", self.problem)
        if self.problem and self.interface:
            try:
                self._bind()
            except OSError:
                return
            if is_up(self.interface):
                self.problem = ""
                _log.info("capture on %s goes on", self.interface)

    def close(self) -> None:
        """Stop capturing."""
        self._view = None  # gives the memory up
        self._map.close()
        self.socket.close()


def look_after(rings: Sequence[CaptureRing], role: str) -> int:
    """Take rings up again that lost their interface, and read the kernel's counters; return how many packets it has
    dropped since the last time, which are logged as `role`'s."""
    dropped = 0
    for ring in rings:
        ring.recover()
        before = ring.drops
        ring.update_statistics()
        if ring.drops > before:
            dropped += ring.drops - before
            _log.warning("the kernel dropped %d captured packets: %s is too slow", ring.drops - before, role)
    return dropped


def capture_status(rings: Sequence[CaptureRing]) -> dict[str, Any]:
    """Return what the rings captured and lost, as `copytool status --json` shows it."""
    return {
        "packets": sum(ring.packets for ring in rings),
        "drops": sum(ring.drops for ring in rings),
        "problems": {ring.interface: ring.problem for ring in rings if ring.problem},
    }


class BlockRing(CaptureRing):
    """Blocks of packets of any length (TPACKET_V3).

    intake: which of the packets count for feed() (io/feeding.py). empty: packets of TUNNELS that had nothing inside.
    """

    _version = _TPACKET_V3
    _RETIRE_MS = 1

    def __init__(
        self,
        interface: str,
        filter_code: bytes,
        block_bytes: int = 1 << 18,
        blocks: int = 128,
        intake: int = OWN,
        vxlan_port: int = 0,
    ) -> None:
        self._block_bytes = block_bytes
        self._blocks = blocks
        self._current = 0
        self._intake = intake
        self._vxlan_port = vxlan_port
        self.empty = 0
        super().__init__(interface, filter_code)

    def _bind(self) -> None:
        super()._bind()
        if self._intake == SPAN:
            take_all(self.socket, self.interface)
        elif self._intake == TUNNELS:
            reassemble(self.socket)  # what was mirrored fits into one packet less than into two

    def _ring_request(self) -> tuple[bytes, int]:
        size = self._block_bytes * self._blocks
        frame = 2048  # only its divisibility matters with TPACKET_V3
        request = struct.pack("=7I", self._block_bytes, self._blocks, frame, size // frame, self._RETIRE_MS, 0, 0)
        return request, size

    def has_packets(self) -> bool:
        """Return whether feed() would have any for an engine."""
        return self._is_filled(self._current)

    def is_filling_up(self) -> bool:
        """Return whether an eighth of the ring waits."""
        return self.has_waiting(self._blocks // 8)

    def has_waiting(self, blocks: int) -> bool:
        """Return whether more than so many blocks wait, of fewer than the ring has."""
        return self._is_filled((self._current + blocks) % self._blocks)

    def _is_filled(self, block: int) -> bool:
        return bool(octets.load_status(self._view, block * self._block_bytes + 8) & STATUS_USER)

    def feed(self, engine: Engine, now: float, on_failure: Callable[[], None], wall_clock_ahead_s: float) -> None:
        """Give the engine the packets of one block; has_packets() has said that there is one. See feed_block()."""
        base = self._current * self._block_bytes
        try:
            self.empty += feed_block(
                self._view, base, engine, now, on_failure, wall_clock_ahead_s, self._intake, self._vxlan_port
            )
        finally:  # also when it fails: the same packets would come up for ever
            self._give_back(base)

    def forward(self, frame: bytearray, wall_clock: float) -> int:
        """Append the packets of one block to a PACKETS frame; return how many. See forward_block()."""
        base = self._current * self._block_bytes
        try:
            return forward_block(self._view, base, frame, wall_clock)
        finally:
            self._give_back(base)

    def skip(self) -> int:
        """Drop one block; return how many packets were in it."""
        base = self._current * self._block_bytes
        count = octets.native32(self._view, base + 12)
        self._give_back(base)
        return count

    def _give_back(self, base: int) -> None:
        """Give the block to the kernel, and go to the next."""
        if octets.load_status(self._view, base + 8) & _STATUS_LOSING:
            self.losing = True
        octets.store_status(self._view, base + 8, STATUS_KERNEL)
        self._current = (self._current + 1) % self._blocks


class FrameRing(CaptureRing):
    """Frames of one small size (TPACKET_V2), for filters that keep only headers."""

    _version = _TPACKET_V2
    _FRAME = 256
    _BLOCK = 1 << 16

    def __init__(self, interface: str, filter_code: bytes, frames: int = 1 << 15) -> None:
        self._frames = frames
        self._current = 0
        super().__init__(interface, filter_code)

    def _ring_request(self) -> tuple[bytes, int]:
        size = self._FRAME * self._frames
        return struct.pack("=4I", self._BLOCK, size // self._BLOCK, self._FRAME, self._frames), size

    def has_packets(self) -> bool:
        """Return whether feed() would have any for a collector."""
        return bool(octets.load_status(self._view, self._current * self._FRAME) & STATUS_USER)

    def feed(self, collector: ResponseCollector, on_failure: Callable[[], None]) -> None:
        """Give the collector the packets that are ready, at most once around the ring."""
        limit = min(self._frames, _DRAIN_LIMIT)
        self._current = feed_frames(self._view, self._FRAME, self._current, collector, limit, on_failure)
