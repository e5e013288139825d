"""Bursts: several TCP segments in one packet, which the kernel or split_burst() cuts (TCP segmentation offload).

A burst is a packet whose payload is longer than a segment may be.
"""

from __future__ import annotations

from .build import build_packet
from .segment import FIN, PSH, Segment, parse_segment

__all__ = ["MAX_BURST_BYTES", "split_burst"]

MAX_BURST_BYTES = 64_000
"""Largest payload of a burst; with its headers it must fit into the length field of an IP header."""


def split_burst(packet: bytes | bytearray, segment_bytes: int) -> list[bytearray]:
    """Return the packets with at most `segment_bytes` of payload each that the burst stands for.

    Only the last has FIN and PSH. The burst must have neither IP nor TCP options. Checksums stay unfinished (build.py).
    """
    segment = Segment()
    parse_segment(segment, packet)
    octets = bytes(packet[segment.payload_start :])
    packets = []
    for start in range(0, len(octets), segment_bytes):
        end = start + segment_bytes
        flags = segment.flags if end >= len(octets) else segment.flags & ~(FIN | PSH)
        seq = (segment.seq + start) & 0xFFFFFFFF
        packets.append(build_packet(segment.key, seq, segment.ack, flags, segment.window, b"", octets[start:end], 0))
    return packets
