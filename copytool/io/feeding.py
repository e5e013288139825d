"""From the memory of a capture ring into an engine, packet by packet, without a copy or an object for each.

And from there into a frame for a copy on another host, and from that into its engine.
"""

from __future__ import annotations

from collections.abc import Callable

from ..link import forwarding
from ..link.collector import ResponseCollector
from ..mirror.engine import Engine
from ..wire import octets, tunnel

__all__ = [
    "OWN",
    "SPAN",
    "STATUS_KERNEL",
    "STATUS_USER",
    "TUNNELS",
    "feed_block",
    "feed_frames",
    "feed_packets",
    "forward_block",
]

OWN, SPAN, TUNNELS = range(3)
"""Which packets of a ring count: what is addressed to this host; all; what is inside of those for this host."""

STATUS_KERNEL = 0
"""Status of a block or frame that the kernel may fill (linux/if_packet.h)."""

STATUS_USER = 1
"""Bit of the status of a block or frame that was filled."""

_STATUS_KERNEL = STATUS_KERNEL
_STATUS_USER = STATUS_USER
_STATUS_NOT_READY = 1 << 3
_STATUS_CHECKED = _STATUS_NOT_READY | 1 << 7  # checksums not there yet, as of local senders, or found valid
_OLDEST_S = 60.0
_PACKET_HOST = 0  # type of what is addressed to this host
_OWN, _SPAN, _TUNNELS = OWN, SPAN, TUNNELS
_HEAD_BYTES = forwarding.HEAD_BYTES
_CHECKED = forwarding.CHECKED
_LENGTH = _CHECKED - 1


def feed_block(
    view: memoryview,
    base: int,
    engine: Engine,
    now: float,
    on_failure: Callable[[], None],
    wall_clock_ahead_s: float = 0.0,
    intake: int = _OWN,
    vxlan_port: int = 0,
) -> int:
    """Give the engine the packets of the TPACKET_V3 block at offset `base` that count.

    wall_clock_ahead_s: what the kernel's timestamps show more than `now`'s clock. on_failure is called in an exception
    handler: a bug may cost a packet, not the rest of the block. intake: see above. Return how many packets of TUNNELS
    had nothing inside.
    """
    count = octets.native32(view, base + 12)
    offset = base + octets.native32(view, base + 16)
    empty = 0
    inner = 0
    while count:
        count -= 1
        if view[offset + 58] == _PACKET_HOST or intake == _SPAN:  # sockaddr_ll.sll_pkttype
            captured = octets.native32(view, offset + 12)
            is_checked = octets.native32(view, offset + 20) & _STATUS_CHECKED != 0
            start = offset + octets.native16(view, offset + 26)  # tp_net
            captured_at = octets.native32(view, offset + 4) + octets.native32(view, offset + 8) * 1e-9
            captured_at -= wall_clock_ahead_s
            if captured_at < now - _OLDEST_S:  # the wall clock was set
                captured_at = now
            if intake == _TUNNELS:
                inner = tunnel.inner_offset(view, start, captured, vxlan_port)
                # Of checksums the kernel says something about the outer packet, except that a virtual machine's or
                # container's packet has none yet: there is one such place in a packet, and that is the innermost.
                is_checked = octets.native32(view, offset + 20) & _STATUS_NOT_READY != 0
            if intake == _TUNNELS and not inner:
                empty += 1
            else:
                try:
                    engine.receive_segment(view, now, is_checked, start + inner, captured - inner, captured_at)
                except Exception:
                    on_failure()
        offset += octets.native32(view, offset)
    return empty


def forward_block(view: memoryview, base: int, frame: bytearray, wall_clock: float) -> int:
    """Append the packets of a block that are addressed to this host to a PACKETS frame; return how many.

    wall_clock: the time now by the clock of the kernel's timestamps.
    """
    count = octets.native32(view, base + 12)
    offset = base + octets.native32(view, base + 16)
    packets = 0
    while count:
        count -= 1
        captured = octets.native32(view, offset + 12)
        start = offset + octets.native16(view, offset + 26)
        if captured > len(view) - start:
            captured = len(view) - start
        if view[offset + 58] == _PACKET_HOST and captured:  # one of no octets would mean that others were lost
            packets += 1
            captured_at = octets.native32(view, offset + 4) + octets.native32(view, offset + 8) * 1e-9
            age_s = wall_clock - captured_at
            if not 0.0 <= age_s < _OLDEST_S:
                age_s = 0.0
            is_checked = octets.native32(view, offset + 20) & _STATUS_CHECKED != 0
            octets.append32(frame, captured | _CHECKED if is_checked else captured)
            octets.append32(frame, int(age_s * 1e6))
            octets.append(frame, view, start, start + captured)
        offset += octets.native32(view, offset)
    return packets


def feed_packets(body: octets.Buffer, engine: Engine, now: float, on_failure: Callable[[], None]) -> int:
    """Give the engine the packets in a PACKETS frame's body, which check_packets() has passed.

    on_failure: as above. Return how many packets forward says were lost.
    """
    at = 0
    size = len(body)
    lost = 0
    while at < size:
        word = octets.get32(body, at)
        age = octets.get32(body, at + 4)
        captured = word & _LENGTH
        at += _HEAD_BYTES
        if captured:
            try:
                engine.receive_segment(body, now, word & _CHECKED != 0, at, captured, now - age * 1e-6)
            except Exception:
                on_failure()
        else:
            lost += age
        at += captured
    return lost


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
