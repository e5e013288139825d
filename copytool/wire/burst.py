"""Bursts: several TCP segments in one packet, which the kernel or split_burst() cuts (TCP segmentation offload).

A burst is a packet whose payload is longer than a segment may be. Its TCP checksum field holds the sum of the
pseudo-header only, as the kernel wants it (linux/virtio_net.h, VIRTIO_NET_HDR_F_NEEDS_CSUM).
"""

from __future__ import annotations

from .segment import FIN, PSH, Segment, build_segment, parse_segment

__all__ = ["MAX_BURST_BYTES", "split_burst"]

MAX_BURST_BYTES = 64_000
"""Largest payload of a burst; with its headers it must fit into the length field of an IP header."""


def split_burst(packet: bytes, segment_bytes: int) -> list[bytes]:
    """Return the packets with at most `segment_bytes` of payload each that the burst stands for.

    Only the last has FIN and PSH. The burst must have neither IP nor TCP options.
    """
    segment = Segment()
    parse_segment(segment, memoryview(packet))
    octets = packet[segment.payload_start :]
    packets = []
    for start in range(0, len(octets), segment_bytes):
        end = start + segment_bytes
        flags = segment.flags if end >= len(octets) else segment.flags & ~(FIN | PSH)
        packets.append(
            build_segment(
                segment.src,
                segment.dst,
                segment.src_port,
                segment.dst_port,
                (segment.seq + start) & 0xFFFFFFFF,
                segment.ack,
                flags,
                segment.window,
                b"",
                octets[start:end],
            )
        )
    return packets
