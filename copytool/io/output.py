"""Sends finished IP packets to the targets. An error is counted and reported, never raised: TCP retransmits."""

from __future__ import annotations

import errno
import logging
import socket
import struct
from collections import Counter

from ..errors import HostError
from ..mirror.emitter import Outgoing
from ..wire.address import format_address
from ..wire.burst import split_burst
from .nexthop import NextHop, NextHopTable

__all__ = ["PacketOutput"]

_log = logging.getLogger(__name__)

_SOL_PACKET = 263
_PACKET_VNET_HDR = 15
_OFFLOAD = struct.Struct("=BBHHHH")  # struct virtio_net_hdr: flags, kind, header and segment bytes, checksum place
_NO_OFFLOAD = bytes(_OFFLOAD.size)
_NEEDS_CHECKSUM = 1
_GSO_TCPV4 = 1
_GSO_TCPV6 = 4
_CHECKSUM_OFFSET = 16  # of the field in a TCP header


class PacketOutput:
    """Packet sockets, one per outgoing interface, and a raw IP socket where there is no link layer.

    errors: failed sends by errno name, plus `no_next_hop`. These packets were not sent.
    """

    def __init__(self, next_hops: NextHopTable) -> None:
        self.errors: Counter[str] = Counter()
        self._next_hops = next_hops
        self._by_interface: dict[str, socket.socket] = {}
        self._raw: dict[int, socket.socket] = {}
        self._without_bursts: set[str] = set()

    def send(self, packets: list[Outgoing], now: float) -> None:
        """Send each packet towards the destination in its IP header."""
        hops = self._next_hops.hops
        for packet, segment_bytes in packets:
            target = packet[16:20] if packet[0] >> 4 == 4 else packet[24:40]
            hop = hops.get(target)
            if hop is None:
                self.errors["no_next_hop"] += 1
                self._next_hops.expedite(now)
                continue
            try:
                if segment_bytes:
                    self._send_burst(packet, segment_bytes, target, hop)
                else:
                    self._send_one(packet, target, hop)
            except OSError as error:
                self._note_error(error, hop, now)

    def _send_one(self, packet: bytes, target: bytes, hop: NextHop) -> None:
        if hop.header:
            self._packet_socket(hop.interface).send(_NO_OFFLOAD + hop.header + packet)
        else:
            self._raw_socket(len(target)).sendto(packet, (format_address(target), 0))

    def _send_burst(self, packet: bytes, segment_bytes: int, target: bytes, hop: NextHop) -> None:
        """Let the kernel, or the network card, cut a burst into segments; do it here if they cannot."""
        if hop.header and hop.interface not in self._without_bursts:
            is_ipv4 = len(target) == 4
            link_bytes = len(hop.header)
            start = link_bytes + (20 if is_ipv4 else 40)
            kind = _GSO_TCPV4 if is_ipv4 else _GSO_TCPV6
            offload = _OFFLOAD.pack(_NEEDS_CHECKSUM, kind, start + 20, segment_bytes, start, _CHECKSUM_OFFSET)
            try:
                self._packet_socket(hop.interface).sendmsg([offload, hop.header, packet])
                return
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.EMSGSIZE, errno.EOPNOTSUPP):
                    raise
                _log.info("%s takes no bursts (%s); cutting them into segments here", hop.interface, error.strerror)
                self._without_bursts.add(hop.interface)
        for part in split_burst(packet, segment_bytes):
            self._send_one(part, target, hop)

    def _packet_socket(self, interface: str) -> socket.socket:
        sock = self._by_interface.get(interface)
        if sock is None:
            sock = self._by_interface[interface] = _open_packet_socket(interface)
        return sock

    def _raw_socket(self, size: int) -> socket.socket:
        if size not in self._raw:
            self._raw[size] = _open_raw_socket(size)
        return self._raw[size]

    def _note_error(self, error: OSError, hop: NextHop, now: float) -> None:
        name = errno.errorcode.get(error.errno or 0, "unknown")
        if not self.errors[name]:
            _log.warning("sending on %s failed: %s; counting further ones", hop.interface, error.strerror)
        self.errors[name] += 1
        if error.errno in (errno.ENXIO, errno.ENODEV, errno.ENETDOWN):
            stale = self._by_interface.pop(hop.interface, None)  # the interface may come back with another index
            if stale is not None:
                stale.close()
            self._next_hops.expedite(now)

    def close(self) -> None:
        """Close the sockets."""
        for sock in (*self._by_interface.values(), *self._raw.values()):
            sock.close()


def _open_packet_socket(interface: str) -> socket.socket:
    try:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    except PermissionError:
        raise HostError("sending needs CAP_NET_RAW; run as root or use the systemd unit") from None
    sock.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)  # each packet is preceded by how to cut it
    sock.bind((interface, 0))  # protocol 0: nothing is received
    return sock


def _open_raw_socket(size: int) -> socket.socket:
    family = socket.AF_INET if size == 4 else socket.AF_INET6
    try:
        return socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_RAW)
    except PermissionError:
        raise HostError("sending needs CAP_NET_RAW; run as root or use the systemd unit") from None
