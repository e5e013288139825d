"""Flow keys: a connection's addresses and ports in one direction, as octets, which are cheap to look up.

A key is the source address, the destination address, the source port and the destination port, as they stand in a
packet: 12 octets for IPv4, 36 for IPv6.
"""

from __future__ import annotations

from . import octets

__all__ = ["FlowEnds", "FlowKey", "flow_ends", "flow_key"]

FlowKey = bytes

FlowEnds = tuple[bytes, int, bytes, int]
"""(source address, source port, destination address, destination port)"""


def flow_key(src: bytes, src_port: int, dst: bytes, dst_port: int) -> FlowKey:
    """Return the key of these ends; both addresses are 4 or both 16 octets long."""
    return octets.join_ends(src, src_port, dst, dst_port)


def flow_ends(key: FlowKey) -> FlowEnds:
    """Return the ends of a key."""
    end = len(key) - 4
    half = end >> 1
    return key[:half], key[end] << 8 | key[end + 1], key[half:end], key[end + 2] << 8 | key[end + 3]
