"""Whether an interface is there, up, and has a carrier."""

from __future__ import annotations

import fcntl
import socket
import struct

__all__ = ["IFF_RUNNING", "IFF_UP", "interface_flags", "is_up"]

IFF_UP = 0x1
IFF_RUNNING = 0x40

_SIOCGIFFLAGS = 0x8913


def interface_flags(name: str) -> int | None:
    """Return an interface's flags; None if there is no interface of that name."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            answer = fcntl.ioctl(sock, _SIOCGIFFLAGS, struct.pack("=16s24x", name.encode()))
        except OSError:
            return None
    return int(struct.unpack_from("=H", answer, 16)[0])


def is_up(name: str) -> bool:
    """Return whether there is an interface of that name which is up."""
    flags = interface_flags(name)
    return flags is not None and bool(flags & IFF_UP)
