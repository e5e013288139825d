"""Where a copy's captured packets come from, as far as this host's interfaces bring them (`--feed`)."""

from __future__ import annotations

from typing import Protocol

from .capture_filter import CaptureFilter, TunnelFilter
from .feeding import OWN, SPAN, TUNNELS
from .ring import BlockRing
from .settings import CopySettings

__all__ = ["BLOCK_BYTES", "Filter", "make_filter", "open_rings"]

# A GRO super-segment of 64 KiB and its headers must fit. Not larger: the kernel closes a block after a millisecond,
# however little is in it, so their number is how many milliseconds copy may be kept from running.
BLOCK_BYTES = 1 << 17
"""Size of a block of the capture ring."""

_INTAKE = {"own": OWN, "span": SPAN, "tunnel": TUNNELS}


class Filter(Protocol):
    """Programs for the rings. widest: passes at least what any of them does."""

    widest: bytes

    def code(self, ratio_percent: float) -> bytes:
        """Return the program that shows the data of a share of the connections."""
        ...


def make_filter(settings: CopySettings) -> Filter:
    """Return what the kernel is to keep from coming up."""
    if settings.feed.kind == "tunnel":
        return TunnelFilter(settings.feed.vxlan_port)
    return CaptureFilter(settings.targets, settings.clients, settings.worker, settings.workers)


def open_rings(settings: CopySettings, code: bytes) -> list[BlockRing]:
    """Open the capture rings, none where packets come through links; raises HostError."""
    feed = settings.feed
    if feed.kind == "forward":
        return []
    blocks = settings.ring_bytes // BLOCK_BYTES
    intake = _INTAKE[feed.kind]
    return [BlockRing(name, code, BLOCK_BYTES, blocks, intake, feed.vxlan_port) for name in settings.interfaces]
