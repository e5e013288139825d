"""Packet sockets that capture: opened idle, so that a filter can be attached before the first packet comes."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct

from ..errors import HostError

__all__ = ["bind_capture", "open_capture", "reassemble", "take_all"]

_ETH_P_ALL = 3
_SOL_PACKET = 263
_PACKET_ADD_MEMBERSHIP = 1
_PACKET_MR_PROMISC = 1
_PACKET_FANOUT = 18
_FANOUT_UNIQUE_ID = 0x2000
_FANOUT_DEFRAG = 0x8000


def open_capture() -> socket.socket:
    """Return a socket whose packets begin at the IP header; it sees none until it is bound."""
    try:
        return socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0)
    except PermissionError:
        raise HostError("capturing needs CAP_NET_RAW; run as root or use the systemd unit") from None


def bind_capture(sock: socket.socket, interface: str) -> None:
    """Start to capture; the socket module cannot express "all interfaces", which is interface index 0."""
    try:
        index = socket.if_nametoindex(interface) if interface else 0
    except OSError:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV)) from None
    address = struct.pack("=HHiHBB8s", socket.AF_PACKET, socket.htons(_ETH_P_ALL), index, 0, 0, 0, b"")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.bind(sock.fileno(), address, len(address)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def take_all(sock: socket.socket, interface: str) -> None:
    """Have the interface take in what is addressed to others as well, for as long as the socket is open.

    The kernel counts who asks for that and forgets it with the socket; an interface that came back has to be asked
    again. A second membership of the same socket only counts twice.
    """
    membership = struct.pack("=iHH8s", socket.if_nametoindex(interface), _PACKET_MR_PROMISC, 0, b"")
    sock.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, membership)


def reassemble(sock: socket.socket) -> None:
    """Have a bound socket see IPv4 packets whole that arrive as fragments; raises OSError.

    The kernel does that for groups of sockets only, so this one becomes a group by itself. It then sees also what this
    host sends, and cannot be bound again.
    """
    flags = _FANOUT_UNIQUE_ID | _FANOUT_DEFRAG
    sock.setsockopt(_SOL_PACKET, _PACKET_FANOUT, struct.pack("=I", flags << 16))
