"""Making IP packets with a TCP segment in them.

What leaves for a target carries an unfinished checksum, as for the kernel's checksum offload: the network card, or the
kernel in its stead, sums the octets up (linux/virtio_net.h, VIRTIO_NET_HDR_F_NEEDS_CSUM).
"""

from __future__ import annotations

from . import octets
from .flow import FlowKey, flow_key

__all__ = ["build_options", "build_packet", "build_segment", "finish_checksum"]

_OPTION_NOP = 1
_OPTION_MSS = 2
_OPTION_WINDOW_SCALE = 3
_TCP = 6
_MSS_AND_SCALE = bytes((_OPTION_MSS, 4, 0, 0, _OPTION_NOP, _OPTION_WINDOW_SCALE, 3, 0))

# IP and TCP headers with everything that never differs. RFC 6864: with DF set the identification carries no meaning and
# may be constant.
_IPV4 = bytearray(bytes((0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, _TCP)) + bytes(30))
_IPV6 = bytearray(bytes((0x60, 0, 0, 0, 0, 0, _TCP, 64)) + bytes(52))
_IPV4_SUM = 0x4500 + 0x4000 + (64 << 8 | _TCP)


def build_options(mss: int, window_scale: int) -> bytes:
    """Return SYN options: MSS, and window scale unless `window_scale` is negative; a multiple of 4 long."""
    options = bytearray(_MSS_AND_SCALE)
    octets.put16(options, 2, mss)
    if window_scale < 0:
        return bytes(options[:4])
    options[7] = window_scale
    return bytes(options)


def build_packet(
    key: FlowKey, seq: int, ack: int, flags: int, window: int, options: bytes, payload: bytes, urgent: int
) -> bytearray:
    """Return a whole IP packet whose TCP checksum is that of the pseudo-header only, not complemented.

    `urgent` is the urgent pointer, which means something if `flags` has URG.
    """
    address_bytes = len(key) - 4
    is_ipv4 = address_bytes == 8
    header = _IPV4 if is_ipv4 else _IPV6
    packet = header + options + payload if options else header + payload
    start = 20 if is_ipv4 else 40
    size = len(packet)
    tcp_len = size - start
    address_sum = octets.ones_sum_of(key, address_bytes)
    if is_ipv4:
        octets.put16(packet, 2, size)
        octets.put(packet, 12, key)  # up to the ports
        octets.put16(packet, 10, _folded(_IPV4_SUM + size + address_sum) ^ 0xFFFF)
    else:
        octets.put16(packet, 4, tcp_len)
        octets.put(packet, 8, key)
    octets.put32(packet, start + 4, seq)
    octets.put32(packet, start + 8, ack)
    octets.put16(packet, start + 12, (20 + len(options)) << 10 | flags)
    octets.put16(packet, start + 14, window)
    octets.put16(packet, start + 16, _folded(address_sum + _TCP + tcp_len))
    octets.put16(packet, start + 18, urgent)
    return packet


def _folded(total: int) -> int:
    """Return the one's complement sum of the 16-bit digits of `total`, which has at most 32 bits."""
    total = (total & 0xFFFF) + (total >> 16)
    return (total & 0xFFFF) + (total >> 16)


def finish_checksum(packet: bytearray) -> None:
    """Complete the TCP checksum that build_packet() has begun."""
    start = 20 if packet[0] >> 4 == 4 else 40
    octets.put16(packet, start + 16, octets.ones_sum(packet, start, len(packet)) ^ 0xFFFF)


def build_segment(
    src: bytes,
    dst: bytes,
    src_port: int,
    dst_port: int,
    seq: int,
    ack: int,
    flags: int,
    window: int,
    options: bytes = b"",
    payload: bytes | bytearray | memoryview = b"",
    urgent: int = 0,
) -> bytes:
    """Return a whole IP packet with both checksums set; `src` and `dst` are both 4 or both 16 bytes long."""
    key = flow_key(src, src_port, dst, dst_port)
    packet = build_packet(key, seq, ack, flags, window, options, bytes(payload), urgent)
    finish_checksum(packet)
    return bytes(packet)
