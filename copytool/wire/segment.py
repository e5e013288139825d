"""TCP segments in captured IPv4 and IPv6 packets.

A packet starts at its IP header; there is no link-layer header.
"""

from __future__ import annotations

from . import octets
from .flow import FlowKey, flow_ends

__all__ = [
    "ACK",
    "DROP_REASONS",
    "FIN",
    "MAX_WINDOW_SCALE",
    "PSH",
    "RST",
    "SYN",
    "URG",
    "Segment",
    "are_checksums_valid",
    "parse_segment",
]

FIN = 0x01
SYN = 0x02
RST = 0x04
PSH = 0x08
ACK = 0x10
URG = 0x20

MAX_WINDOW_SCALE = 14  # RFC 7323, section 2.3

# parse_segment() returns 0 or an index into this tuple.
DROP_REASONS = (
    "ok",
    "truncated",
    "not_ip",
    "fragment",
    "not_tcp",
    "bad_header",
    "bad_options",
    "bad_extensions",
    "land",
)
_OK = 0
_TRUNCATED = 1
_NOT_IP = 2
_FRAGMENT = 3
_NOT_TCP = 4
_BAD_HEADER = 5
_BAD_OPTIONS = 6
_BAD_EXTENSIONS = 7
_LAND = 8

_FLAG_SYN = SYN
_FLAG_URG = URG
_TCP = 6
_MAX_PACKET = 0xFFFF
_OPTION_END = 0
_OPTION_NOP = 1
_OPTION_MSS = 2
_OPTION_WINDOW_SCALE = 3
_MAX_WINDOW_SCALE = MAX_WINDOW_SCALE

_IPV6_HOP_BY_HOP = 0
_IPV6_ROUTING = 43
_IPV6_DESTINATION = 60
_IPV6_FRAGMENT = 44
_MAX_EXTENSIONS = 8  # RFC 8200, section 4.1: each header once, destination options twice; a long chain is an attack


class Segment:
    """One parsed TCP segment. Reused from packet to packet, so that parsing allocates little.

    `key` has its addresses and ports. `payload_start`/`payload_len` index the parsed buffer; `payload_len` is what the
    IP header promises and `captured_len` how much of it the buffer holds. `mss` is 0 and `window_scale` -1 where the
    option is absent. `urgent` is the urgent pointer, 0 without URG: the urgent octet is the one before `seq` +
    `urgent`. A pointer of 0 means the octet at `seq`, as one of 1 does, to Linux. `ip_start` and `tcp_start` are where
    these headers begin.
    """

    __slots__ = (
        "ack",
        "captured_at",
        "captured_len",
        "flags",
        "ip_start",
        "key",
        "mss",
        "payload_len",
        "payload_start",
        "seq",
        "tcp_start",
        "urgent",
        "window",
        "window_scale",
    )

    def __init__(self) -> None:
        self.key: FlowKey = b""
        self.seq = 0
        self.ack = 0
        self.flags = 0
        self.window = 0
        self.urgent = 0
        self.ip_start = 0
        self.tcp_start = 0
        self.payload_start = 0
        self.payload_len = 0
        self.captured_len = 0
        self.captured_at = 0.0
        self.mss = 0
        self.window_scale = -1

    @property
    def src(self) -> bytes:
        """The packed source address."""
        return flow_ends(self.key)[0]

    @property
    def dst(self) -> bytes:
        """The packed destination address."""
        return flow_ends(self.key)[2]

    @property
    def src_port(self) -> int:
        """The source port."""
        return flow_ends(self.key)[1]

    @property
    def dst_port(self) -> int:
        """The destination port."""
        return flow_ends(self.key)[3]


def parse_segment(segment: Segment, buffer: octets.Buffer, start: int = 0, size: int = -1) -> int:
    """Fill `segment` from the packet of `size` octets (-1: all) that begins at `start`.

    Return 0, or the index in DROP_REASONS that says why not; `segment` then means nothing. Options are read from SYN
    segments only. The packet may be cut short (a snapshot length) inside the payload.
    """
    held = len(buffer) - start
    if size < 0 or size > held:
        size = held
    if size < 20 or start < 0:
        return _TRUNCATED
    segment.ip_start = start
    version = buffer[start] >> 4
    if version == 4:
        return _parse_ipv4(segment, buffer, start, size)
    if version == 6:
        return _parse_ipv6(segment, buffer, start, size)
    return _NOT_IP


def _parse_ipv4(segment: Segment, buffer: octets.Buffer, start: int, size: int) -> int:
    header_len = (buffer[start] & 0x0F) << 2
    if buffer[start + 9] != _TCP:
        return _NOT_TCP
    if header_len < 20:
        return _BAD_HEADER
    if octets.get16(buffer, start + 6) & 0x3FFF:  # more fragments, or an offset
        return _FRAGMENT
    total_len = octets.get16(buffer, start + 2)
    if total_len == 0:  # a GSO packet above 64 KiB (BIG TCP) leaves the field empty
        if size <= _MAX_PACKET:
            return _BAD_HEADER
        total_len = size
    return _parse_tcp(segment, buffer, start + 12, 8, start + header_len, start + total_len, start + size)


def _parse_ipv6(segment: Segment, buffer: octets.Buffer, start: int, size: int) -> int:
    if size < 40:
        return _TRUNCATED
    total_len = 40 + octets.get16(buffer, start + 4)
    if total_len == 40:  # a jumbogram: the kernel hands it over whole
        if size <= _MAX_PACKET:
            return _BAD_HEADER
        total_len = size
    next_header = buffer[start + 6]
    offset = 40
    extensions = 0
    while next_header in (_IPV6_HOP_BY_HOP, _IPV6_ROUTING, _IPV6_DESTINATION):  # length-prefixed alike
        if offset + 8 > size:
            return _TRUNCATED
        extensions += 1
        if extensions > _MAX_EXTENSIONS or (next_header == _IPV6_HOP_BY_HOP and extensions > 1):
            return _BAD_EXTENSIONS
        if next_header == _IPV6_ROUTING and buffer[start + offset + 3]:  # segments left: it is for another host
            return _BAD_EXTENSIONS
        next_header = buffer[start + offset]
        offset += (buffer[start + offset + 1] + 1) << 3
    if next_header == _IPV6_FRAGMENT:
        return _FRAGMENT
    if next_header != _TCP:
        return _NOT_TCP
    return _parse_tcp(segment, buffer, start + 8, 32, start + offset, start + total_len, start + size)


def _parse_tcp(
    segment: Segment, buffer: octets.Buffer, addresses: int, address_bytes: int, start: int, end: int, held_end: int
) -> int:
    """Parse the TCP header at `start`; the packet should reach to `end`, and is held up to `held_end`."""
    if start + 20 > held_end:
        return _TRUNCATED
    header_len = (buffer[start + 12] >> 4) << 2
    payload_start = start + header_len
    if header_len < 20 or payload_start > end:
        return _BAD_HEADER
    if payload_start > held_end:
        return _TRUNCATED
    if octets.get16(buffer, start) == octets.get16(buffer, start + 2) and octets.are_same(
        buffer, addresses, addresses + (address_bytes >> 1), address_bytes >> 1
    ):
        return _LAND  # from itself to itself, which no connection is
    flags = buffer[start + 13]
    segment.key = octets.join_slices(buffer, addresses, address_bytes, start, 4)
    segment.seq = octets.get32(buffer, start + 4)
    segment.ack = octets.get32(buffer, start + 8)
    segment.flags = flags
    segment.window = octets.get16(buffer, start + 14)
    segment.urgent = (octets.get16(buffer, start + 18) or 1) if flags & _FLAG_URG else 0
    segment.tcp_start = start
    segment.payload_start = payload_start
    segment.payload_len = end - payload_start
    segment.captured_len = (end if end < held_end else held_end) - payload_start
    segment.mss = 0
    segment.window_scale = -1
    if flags & _FLAG_SYN and header_len > 20:
        return _parse_syn_options(segment, buffer, start + 20, payload_start)
    return _OK


def are_checksums_valid(segment: Segment, buffer: octets.Buffer) -> bool:
    """Return whether the receiver takes the packet that `segment` was parsed from; True if it was cut short."""
    if segment.captured_len < segment.payload_len:
        return True
    end = segment.payload_start + segment.payload_len
    tcp_len = end - segment.tcp_start
    if tcp_len > _MAX_PACKET:
        return False  # only the kernel itself makes such packets, and says that it has checked them
    address_bytes = len(segment.key) - 4
    pseudo = octets.ones_sum_of(segment.key, address_bytes) + _TCP + tcp_len
    if not _is_zero(pseudo + octets.ones_sum(buffer, segment.tcp_start, end)):
        return False
    return address_bytes == 32 or _is_zero(octets.ones_sum(buffer, segment.ip_start, segment.tcp_start))


def _is_zero(total: int) -> bool:
    """Return whether a one's complement sum is (negative) zero, as it is over what has the right checksum."""
    return total != 0 and total % 0xFFFF == 0


def _parse_syn_options(segment: Segment, buffer: octets.Buffer, offset: int, end: int) -> int:
    """Read MSS and window scale. What the sender meant by a malformed list nobody knows, so it is not mirrored."""
    while offset < end:
        kind = buffer[offset]
        if kind == _OPTION_END:
            break
        if kind == _OPTION_NOP:
            offset += 1
            continue
        if offset + 1 >= end:
            return _BAD_OPTIONS
        length = buffer[offset + 1]
        if length < 2 or offset + length > end:
            return _BAD_OPTIONS
        if kind == _OPTION_MSS and length == 4:
            segment.mss = buffer[offset + 2] << 8 | buffer[offset + 3]
        elif kind == _OPTION_WINDOW_SCALE and length == 3:
            segment.window_scale = min(buffer[offset + 2], _MAX_WINDOW_SCALE)
        offset += length
    return _OK
