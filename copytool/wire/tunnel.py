"""The packets inside of packets that switches and clouds make of mirrored traffic: VXLAN, GRE and ERSPAN.

VXLAN is RFC 7348, GRE RFC 2784 and RFC 2890 (key, sequence number), with an IP packet or, as of RFC 7637, an Ethernet
frame in it. ERSPAN is described in draft-foschiano-erspan-03: a frame in GRE, with a header of its own in types II and
III. Whoever mirrors does not say that a connection is meant for the host that takes it in, so nothing here looks at the
outer addresses.
"""

from __future__ import annotations

from . import octets

__all__ = ["inner_offset"]

_SHORTEST = 28  # an IPv4 header, and behind it GRE's and some of a packet, or UDP's
_UDP = 17
_GRE = 47
_MORE_OR_LATER_FRAGMENT = 0x3FFF
_VXLAN_HAS_ID = 0x08

_GRE_CHECKSUM, _GRE_ROUTING, _GRE_KEY, _GRE_SEQUENCE = 0x8000, 0x4000, 0x2000, 0x1000
_GRE_VERSION = 0x0007
_ETHERNET = 0x6558
_ERSPAN_1_OR_2 = 0x88BE
_ERSPAN_3 = 0x22EB
_ERSPAN_IP = 2

_IPV4, _IPV6 = 0x0800, 0x86DD
_VLAN_TAG, _SERVICE_TAG = 0x8100, 0x88A8
_MAX_TAGS = 2


def inner_offset(buffer: octets.Buffer, start: int, size: int, vxlan_port: int) -> int:
    """Return how far behind `start` the IP packet begins that the one of `size` octets carries; 0 if there is none.

    vxlan_port: UDP port of VXLAN. A packet that is cut off may still have its inner one's beginning.
    """
    end = min(start + size, len(buffer))
    if end - start < _SHORTEST:
        return 0
    if buffer[start] >> 4 == 4:
        protocol = buffer[start + 9]
        at = start + (buffer[start] & 0x0F) * 4
        if at < start + 20 or octets.get16(buffer, start + 6) & _MORE_OR_LATER_FRAGMENT:
            return 0
    elif buffer[start] >> 4 == 6:
        protocol = buffer[start + 6]
        at = start + 40
    else:
        return 0
    if protocol == _GRE:
        at = _in_gre(buffer, at, end)
    elif protocol == _UDP and at + 16 <= end and octets.get16(buffer, at + 2) == vxlan_port:
        at = _in_ethernet(buffer, at + 16, end) if buffer[at + 8] & _VXLAN_HAS_ID else 0
    else:
        return 0
    return at - start if 0 < at < end else 0


def _in_gre(buffer: octets.Buffer, at: int, end: int) -> int:
    """Return where the IP packet begins in what GRE's header at `at` precedes, 0 if nowhere."""
    if at + 4 > end:
        return 0
    flags = octets.get16(buffer, at)
    kind = octets.get16(buffer, at + 2)
    if flags & (_GRE_VERSION | _GRE_ROUTING):
        return 0
    at += 4
    if flags & _GRE_CHECKSUM:
        at += 4
    if flags & _GRE_KEY:
        at += 4
    if flags & _GRE_SEQUENCE:
        at += 4
    if kind in (_IPV4, _IPV6):
        return at
    if kind == _ETHERNET:
        return _in_ethernet(buffer, at, end)
    if kind == _ERSPAN_1_OR_2:
        return _in_ethernet(buffer, at + 8 if flags & _GRE_SEQUENCE else at, end)
    return _in_erspan_3(buffer, at, end) if kind == _ERSPAN_3 else 0


def _in_erspan_3(buffer: octets.Buffer, at: int, end: int) -> int:
    """Return where the IP packet begins behind an ERSPAN header of type III, 0 if nowhere."""
    if at + 12 > end:
        return 0
    frame_type = buffer[at + 10] >> 2 & 0x1F
    has_subheader = buffer[at + 11] & 1
    at += 20 if has_subheader else 12
    if frame_type == _ERSPAN_IP:
        return at
    return 0 if frame_type else _in_ethernet(buffer, at, end)


def _in_ethernet(buffer: octets.Buffer, at: int, end: int) -> int:
    """Return where the IP packet begins in an Ethernet frame, 0 if it has something else."""
    at += 12
    for _ in range(_MAX_TAGS + 1):
        if at + 2 > end:
            return 0
        kind = octets.get16(buffer, at)
        if kind in (_IPV4, _IPV6):
            return at + 2
        if kind not in (_VLAN_TAG, _SERVICE_TAG):
            return 0
        at += 4
    return 0
