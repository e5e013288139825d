"""Sends finished IP packets to the targets. An error is counted and reported, never raised: TCP retransmits."""

from __future__ import annotations

import errno
import logging
import os
import socket
import struct
from collections import Counter

from ..errors import HostError
from ..mirror.emitter import Outgoing
from ..wire import octets
from ..wire.address import format_address
from ..wire.build import finish_checksum
from ..wire.burst import split_burst
from . import sending
from .nexthop import NextHop, NextHopTable

__all__ = ["PacketOutput"]

_log = logging.getLogger(__name__)

_SOL_PACKET = 263
_PACKET_VNET_HDR = 15
_OFFLOAD = struct.Struct("=BBHHHH")  # struct virtio_net_hdr: flags, kind, header and segment bytes, checksum place
_NEEDS_CHECKSUM = 1
_GSO_TCPV4 = 1
_GSO_TCPV6 = 4
_CHECKSUM_OFFSET = 16  # of the field in a TCP header
_NO_BURSTS = (errno.EINVAL, errno.EMSGSIZE, errno.EOPNOTSUPP)
_MAX_PREFIXES = 1024


_Message = tuple[bytes, bytearray, int, NextHop]
"""(what precedes the packet on a packet socket, packet, payload bytes per segment if it is a burst, next hop)"""


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
        self._prefixes: dict[tuple[bytes, int], bytes] = {}

    def send(self, packets: list[Outgoing], now: float) -> None:
        """Send each packet towards the destination in its IP header."""
        hops = self._next_hops.hops
        messages: list[_Message] = []
        target, plain, interface = b"", b"", ""
        hop: NextHop | None = None
        for packet, segment_bytes in packets:
            destination = octets.part_of(packet, 16, 20) if packet[0] >> 4 == 4 else octets.part_of(packet, 24, 40)
            if destination != target:
                target, hop = destination, hops.get(destination)
                if messages and (hop is None or hop.interface != interface):
                    self._send_messages(messages, now)
                    messages = []
                if hop is not None:
                    interface = hop.interface
                    plain = self._prefix(hop, len(target), 0)
            if hop is None:
                self.errors["no_next_hop"] += 1
                self._next_hops.expedite(now)
            elif not hop.header:
                self._send_raw(packet, segment_bytes, target, hop, now)
            elif not segment_bytes:
                messages.append((plain, packet, 0, hop))
            elif interface in self._without_bursts:
                messages += self._split(packet, segment_bytes, hop)
            else:
                messages.append((self._prefix(hop, len(target), segment_bytes), packet, segment_bytes, hop))
        if messages:
            self._send_messages(messages, now)

    def _prefix(self, hop: NextHop, address_bytes: int, segment_bytes: int) -> bytes:
        """Return what precedes a packet: how it is to be finished, and where it goes."""
        prefix = self._prefixes.get((hop.header, segment_bytes))
        if prefix is None:
            if len(self._prefixes) >= _MAX_PREFIXES:
                self._prefixes.clear()
            start = len(hop.header) + (20 if address_bytes == 4 else 40)
            kind = 0
            if segment_bytes:
                kind = _GSO_TCPV4 if address_bytes == 4 else _GSO_TCPV6
            header_bytes = start + 20 if segment_bytes else 0
            offload = _OFFLOAD.pack(_NEEDS_CHECKSUM, kind, header_bytes, segment_bytes, start, _CHECKSUM_OFFSET)
            prefix = self._prefixes[hop.header, segment_bytes] = offload + hop.header
        return prefix

    def _split(self, packet: bytearray, segment_bytes: int, hop: NextHop) -> list[_Message]:
        """Return the messages that a burst stands for."""
        prefix = self._prefix(hop, 4 if packet[0] >> 4 == 4 else 16, 0)
        return [(prefix, part, 0, hop) for part in split_burst(packet, segment_bytes)]

    def _send_messages(self, messages: list[_Message], now: float) -> None:
        """Send what goes to one interface."""
        sent = 0
        while sent < len(messages):
            hop = messages[sent][3]
            try:
                done = sending.send_many(self._packet_socket(hop.interface).fileno(), messages, sent)
            except OSError as error:
                done = -(error.errno or errno.EIO)
            if done > 0:
                sent += done
                continue
            _, packet, segment_bytes, _ = messages[sent]
            sent += 1
            if segment_bytes and -done in _NO_BURSTS:
                _log.info("%s takes no bursts (%s); cutting them into segments here", hop.interface, os.strerror(-done))
                self._without_bursts.add(hop.interface)
                self._send_messages(self._split(packet, segment_bytes, hop), now)
            else:
                self._note_error(-done, hop, now)

    def _send_raw(self, packet: bytearray, segment_bytes: int, target: bytes, hop: NextHop, now: float) -> None:
        """Send through the kernel's IP layer, which neither cuts packets nor finishes checksums."""
        for part in split_burst(packet, segment_bytes) if segment_bytes else (packet,):
            finish_checksum(part)
            try:
                self._raw_socket(len(target)).sendto(part, (format_address(target), 0))
            except OSError as error:
                self._note_error(error.errno or errno.EIO, hop, now)

    def _packet_socket(self, interface: str) -> socket.socket:
        sock = self._by_interface.get(interface)
        if sock is None:
            sock = self._by_interface[interface] = _open_packet_socket(interface)
        return sock

    def _raw_socket(self, size: int) -> socket.socket:
        if size not in self._raw:
            self._raw[size] = _open_raw_socket(size)
        return self._raw[size]

    def _note_error(self, code: int, hop: NextHop, now: float) -> None:
        name = errno.errorcode.get(code, "unknown")
        if not self.errors[name]:
            _log.warning("sending on %s failed: %s; counting further ones", hop.interface, os.strerror(code))
        self.errors[name] += 1
        if code in (errno.ENXIO, errno.ENODEV, errno.ENETDOWN):
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
