"""Sends finished IP packets to the targets. An error is counted and reported, never raised: TCP retransmits."""

from __future__ import annotations

import errno
import logging
import socket
from collections import Counter

from ..errors import HostError
from ..wire.address import format_address
from .nexthop import NextHop, NextHopTable

__all__ = ["PacketOutput"]

_log = logging.getLogger(__name__)


class PacketOutput:
    """Packet sockets, one per outgoing interface, and a raw IP socket where there is no link layer.

    errors: failed sends by errno name, plus `no_next_hop`. These packets were not sent.
    """

    def __init__(self, next_hops: NextHopTable) -> None:
        self.errors: Counter[str] = Counter()
        self._next_hops = next_hops
        self._by_interface: dict[str, socket.socket] = {}
        self._raw: dict[int, socket.socket] = {}

    def send(self, packets: list[bytes], now: float) -> None:
        """Send each packet towards the destination in its IP header."""
        hops = self._next_hops.hops
        for packet in packets:
            target = packet[16:20] if packet[0] >> 4 == 4 else packet[24:40]
            hop = hops.get(target)
            if hop is None:
                self.errors["no_next_hop"] += 1
                self._next_hops.expedite(now)
                continue
            try:
                self._send_one(packet, target, hop)
            except OSError as error:
                self._note_error(error, hop, now)

    def _send_one(self, packet: bytes, target: bytes, hop: NextHop) -> None:
        if hop.header:
            sock = self._by_interface.get(hop.interface)
            if sock is None:
                sock = self._by_interface[hop.interface] = _open_packet_socket(hop.interface)
            sock.send(hop.header + packet)
        else:
            self._raw_socket(len(target)).sendto(packet, (format_address(target), 0))

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
    sock.bind((interface, 0))  # protocol 0: nothing is received
    return sock


def _open_raw_socket(size: int) -> socket.socket:
    family = socket.AF_INET if size == 4 else socket.AF_INET6
    try:
        return socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_RAW)
    except PermissionError:
        raise HostError("sending needs CAP_NET_RAW; run as root or use the systemd unit") from None
