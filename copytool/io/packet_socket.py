"""Packet sockets that capture: opened idle, so that a filter can be attached before the first packet comes."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct

from ..errors import HostError

__all__ = ["bind_capture", "open_capture"]

_ETH_P_ALL = 3


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
