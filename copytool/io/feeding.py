"""From the memory of a capture ring into an engine, packet by packet, without a copy or an object for each."""

from __future__ import annotations

from collections.abc import Callable

from ..link.collector import ResponseCollector
from ..mirror.engine import Engine
from ..wire import octets

__all__ = ["STATUS_KERNEL", "STATUS_USER", "feed_block", "feed_frames"]

STATUS_KERNEL = 0
"""Status of a block or frame that the kernel may fill (linux/if_packet.h)."""

STATUS_USER = 1
"""Bit of the status of a block or frame that was filled."""

_STATUS_KERNEL = STATUS_KERNEL
_STATUS_USER = STATUS_USER
_STATUS_CHECKED = 1 << 3 | 1 << 7  # checksums not there yet, as of local senders, or found valid
_OLDEST_S = 60.0
_PACKET_HOST = 0  # type of what is addressed to this host


def feed_block(
    view: memoryview,
    base: int,
    engine: Engine,
    now: float,
    on_failure: Callable[[], None],
    wall_clock_ahead_s: float = 0.0,
) -> None:
    """Give the engine the packets of the TPACKET_V3 block at offset `base` that are addressed to this host.

    wall_clock_ahead_s: what the kernel's timestamps show more than `now`'s clock. on_failure is called in an exception
    handler: a bug may cost a packet, not the rest of the block.
    """
    count = octets.native32(view, base + 12)
    offset = base + octets.native32(view, base + 16)
    while count:
        count -= 1
        if view[offset + 58] == _PACKET_HOST:  # sockaddr_ll.sll_pkttype
            captured = octets.native32(view, offset + 12)
            is_checked = octets.native32(view, offset + 20) & _STATUS_CHECKED != 0
            start = offset + octets.native16(view, offset + 26)  # tp_net
            captured_at = octets.native32(view, offset + 4) + octets.native32(view, offset + 8) * 1e-9
            captured_at -= wall_clock_ahead_s
            if captured_at < now - _OLDEST_S:  # the wall clock was set
                captured_at = now
            try:
                engine.receive_segment(view, now, is_checked, start, captured, captured_at)
            except Exception:
                on_failure()
        offset += octets.native32(view, offset)


def feed_frames(
    view: memoryview,
    frame_bytes: int,
    current: int,
    collector: ResponseCollector,
    limit: int,
    on_failure: Callable[[], None],
) -> int:
    """Give the collector the packets of up to `limit` filled TPACKET_V2 frames, and the frames back to the kernel.

    current: number of the first frame. Return the number of the frame to go on with. on_failure: as above.
    """
    frames = len(view) // frame_bytes
    while limit:
        limit -= 1
        offset = current * frame_bytes
        status = octets.load_status(view, offset)
        if not status & _STATUS_USER:
            break
        captured = octets.native32(view, offset + 8)
        start = offset + octets.native16(view, offset + 14)  # tp_net
        try:
            collector.receive_packet(view, status & _STATUS_CHECKED != 0, start, captured)
        except Exception:
            on_failure()
        octets.store_status(view, offset, _STATUS_KERNEL)
        current = current + 1 if current + 1 < frames else 0
    return current
