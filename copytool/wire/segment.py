"""TCP segments in IPv4 and IPv6 packets: parse a captured one, build one to send.

Addresses are packed bytes, 4 or 16 long. A packet starts at its IP header; there is no link-layer header.
"""

from __future__ import annotations

import struct

from .checksum import internet_checksum, ones_sum

__all__ = [
    "ACK",
    "DROP_REASONS",
    "FIN",
    "PSH",
    "RST",
    "SYN",
    "URG",
    "Segment",
    "are_checksums_valid",
    "build_options",
    "build_segment",
    "parse_segment",
]

FIN = 0x01
SYN = 0x02
RST = 0x04
PSH = 0x08
ACK = 0x10
URG = 0x20

_TCP = 6
_MAX_PACKET = 0xFFFF
_OPTION_END = 0
_OPTION_NOP = 1
_OPTION_MSS = 2
_OPTION_WINDOW_SCALE = 3
_MAX_WINDOW_SCALE = 14  # RFC 7323, section 2.3

# parse_segment() returns 0 or an index into this tuple.
DROP_REASONS = ("ok", "truncated", "not_ip", "fragment", "not_tcp", "bad_header")
_OK, _TRUNCATED, _NOT_IP, _FRAGMENT, _NOT_TCP, _BAD_HEADER = range(6)

_IPV6_SKIPPED = frozenset((0, 43, 60))  # hop-by-hop, routing, destination options: length-prefixed alike
_IPV6_FRAGMENT = 44


class Segment:
    """One parsed TCP segment. Reused from packet to packet, so that parsing allocates little.

    `payload_start`/`payload_len` index the parsed buffer; `payload_len` is what the IP header promises and
    `captured_len` how much of it the buffer holds. `mss` is 0 and `window_scale` -1 where the option is absent.
    `urgent` is the urgent pointer, 0 without URG: the urgent octet is the one before `seq` + `urgent`. A pointer of 0
    means the octet at `seq`, as one of 1 does, to Linux. `tcp_start` is where the TCP header begins.
    """

    __slots__ = (
        "ack",
        "captured_len",
        "dst",
        "dst_port",
        "flags",
        "mss",
        "payload_len",
        "payload_start",
        "seq",
        "src",
        "src_port",
        "tcp_start",
        "urgent",
        "window",
        "window_scale",
    )

    def __init__(self) -> None:
        self.src = b""
        self.dst = b""
        self.src_port = 0
        self.dst_port = 0
        self.seq = 0
        self.ack = 0
        self.flags = 0
        self.window = 0
        self.urgent = 0
        self.tcp_start = 0
        self.payload_start = 0
        self.payload_len = 0
        self.captured_len = 0
        self.mss = 0
        self.window_scale = -1


def parse_segment(segment: Segment, packet: memoryview) -> int:
    """Fill `segment` from `packet`; return 0, or the index in DROP_REASONS that says why not.

    Options are read from SYN segments only. The buffer may be cut short (a snapshot length) inside the payload.
    """
    size = len(packet)
    if size < 20:
        return _TRUNCATED
    version = packet[0] >> 4
    if version == 4:
        return _parse_ipv4(segment, packet, size)
    if version == 6:
        return _parse_ipv6(segment, packet, size)
    return _NOT_IP


def _parse_ipv4(segment: Segment, packet: memoryview, size: int) -> int:
    header_len = (packet[0] & 0x0F) << 2
    if packet[9] != _TCP:
        return _NOT_TCP
    if header_len < 20:
        return _BAD_HEADER
    if packet[6] & 0x3F or packet[7]:  # more fragments, or an offset
        return _FRAGMENT
    total_len = packet[2] << 8 | packet[3]
    if total_len == 0:  # a GSO packet above 64 KiB (BIG TCP) leaves the field empty
        if size <= _MAX_PACKET:
            return _BAD_HEADER
        total_len = size
    segment.src = bytes(packet[12:16])
    segment.dst = bytes(packet[16:20])
    return _parse_tcp(segment, packet, header_len, total_len, size)


def _parse_ipv6(segment: Segment, packet: memoryview, size: int) -> int:
    if size < 40:
        return _TRUNCATED
    total_len = 40 + (packet[4] << 8 | packet[5])
    if total_len == 40:  # a jumbogram: the kernel hands it over whole
        if size <= _MAX_PACKET:
            return _BAD_HEADER
        total_len = size
    next_header = packet[6]
    offset = 40
    while next_header in _IPV6_SKIPPED:
        if offset + 8 > size:
            return _TRUNCATED
        next_header = packet[offset]
        offset += (packet[offset + 1] + 1) << 3
    if next_header == _IPV6_FRAGMENT:
        return _FRAGMENT
    if next_header != _TCP:
        return _NOT_TCP
    segment.src = bytes(packet[8:24])
    segment.dst = bytes(packet[24:40])
    return _parse_tcp(segment, packet, offset, total_len, size)


def _parse_tcp(segment: Segment, packet: memoryview, start: int, total_len: int, size: int) -> int:
    if start + 20 > size:
        return _TRUNCATED
    header_len = (packet[start + 12] >> 4) << 2
    payload_start = start + header_len
    if header_len < 20 or payload_start > total_len:
        return _BAD_HEADER
    if payload_start > size:
        return _TRUNCATED
    ports_seq_ack = int.from_bytes(packet[start : start + 12], "big")
    segment.src_port = ports_seq_ack >> 80
    segment.dst_port = ports_seq_ack >> 64 & 0xFFFF
    segment.seq = ports_seq_ack >> 32 & 0xFFFFFFFF
    segment.ack = ports_seq_ack & 0xFFFFFFFF
    segment.flags = packet[start + 13]
    segment.window = packet[start + 14] << 8 | packet[start + 15]
    segment.urgent = (packet[start + 18] << 8 | packet[start + 19] or 1) if segment.flags & URG else 0
    segment.tcp_start = start
    segment.payload_start = payload_start
    segment.payload_len = total_len - payload_start
    held = size - payload_start
    segment.captured_len = held if held < segment.payload_len else segment.payload_len
    segment.mss = 0
    segment.window_scale = -1
    if segment.flags & SYN and header_len > 20:
        _parse_syn_options(segment, packet, start + 20, payload_start)
    return _OK


def are_checksums_valid(segment: Segment, packet: memoryview) -> bool:
    """Return whether the receiver takes `packet`, which `segment` was parsed from; True if it was cut short."""
    if segment.captured_len < segment.payload_len:
        return True
    tcp = packet[segment.tcp_start : segment.payload_start + segment.payload_len]
    if len(tcp) > _MAX_PACKET:
        return False  # only the kernel itself makes such packets, and says that it has checked them
    if len(segment.src) == 4:
        pseudo = _pack_pseudo4(segment.src, segment.dst, _TCP, len(tcp))
        header = packet[: segment.tcp_start]
    else:
        pseudo = _pack_pseudo6(segment.src, segment.dst, len(tcp), _TCP)
        header = packet[:0]
    return internet_checksum(pseudo, tcp) == 0 and (not header or internet_checksum(header) == 0)


def _parse_syn_options(segment: Segment, packet: memoryview, offset: int, end: int) -> None:
    """Read MSS and window scale; stop at the first malformed option, as receivers do."""
    while offset < end:
        kind = packet[offset]
        if kind == _OPTION_END:
            return
        if kind == _OPTION_NOP:
            offset += 1
            continue
        if offset + 1 >= end:
            return
        length = packet[offset + 1]
        if length < 2 or offset + length > end:
            return
        if kind == _OPTION_MSS and length == 4:
            segment.mss = packet[offset + 2] << 8 | packet[offset + 3]
        elif kind == _OPTION_WINDOW_SCALE and length == 3:
            segment.window_scale = min(packet[offset + 2], _MAX_WINDOW_SCALE)
        offset += length


_pack_ipv4 = struct.Struct("!BBHHHBBH4s4s").pack
_pack_ipv6 = struct.Struct("!IHBB16s16s").pack
_pack_tcp = struct.Struct("!HHIIBBHHH").pack
_pack_pseudo4 = struct.Struct("!4s4sHH").pack
_pack_pseudo6 = struct.Struct("!16s16sII").pack

_DONT_FRAGMENT = 0x4000
_TTL = 64


def build_options(mss: int, window_scale: int) -> bytes:
    """Return SYN options: MSS, and window scale unless `window_scale` is negative; a multiple of 4 long."""
    options = struct.pack("!BBH", _OPTION_MSS, 4, mss)
    if window_scale >= 0:
        options += struct.pack("!BBBB", _OPTION_NOP, _OPTION_WINDOW_SCALE, 3, window_scale)
    return options


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
    *,
    is_burst: bool = False,
) -> bytes:
    """Return a whole IP packet with both checksums set; `src` and `dst` are both 4 or both 16 bytes long.

    `urgent` is the urgent pointer, which means something if `flags` has URG. A burst (see burst.py) gets the checksum
    of the pseudo-header only.
    """
    header_len = 20 + len(options)
    tcp_len = header_len + len(payload)
    offset = header_len << 2
    tcp = _pack_tcp(src_port, dst_port, seq, ack, offset, flags, window, 0, urgent)
    if len(src) == 4:
        pseudo = _pack_pseudo4(src, dst, _TCP, tcp_len)
        # RFC 6864: with DF set the identification carries no meaning and may be constant.
        ip = _pack_ipv4(0x45, 0, 20 + tcp_len, 0, _DONT_FRAGMENT, _TTL, _TCP, 0, src, dst)
        ip = b"%b%b%b" % (ip[:10], internet_checksum(ip).to_bytes(2, "big"), ip[12:])
    else:
        pseudo = _pack_pseudo6(src, dst, tcp_len, _TCP)
        ip = _pack_ipv6(0x60000000, tcp_len, _TCP, _TTL, src, dst)
    checksum = ones_sum(pseudo) if is_burst else internet_checksum(pseudo, tcp, options, payload)
    return b"".join((ip, tcp[:16], checksum.to_bytes(2, "big"), tcp[18:], options, payload))
