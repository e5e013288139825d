"""Sockets that take in tunnels' packets and drop them, so that the kernel sends nobody ICMP that nobody wants them.

What is in the packets is read from the capture ring. Where the kernel ends the tunnels itself, in a device of that
kind, it answers for them already.
"""

from __future__ import annotations

import logging
import socket
from contextlib import suppress

from .bpf import attach_filter
from .filter_logic import RETURN, assemble

__all__ = ["TunnelSink"]

_log = logging.getLogger(__name__)

_NOTHING = assemble([(RETURN, 0, 0, 0)])
_FAMILIES = (socket.AF_INET, socket.AF_INET6)


class TunnelSink:
    """One socket for each kind of tunnel and version of IP."""

    def __init__(self, vxlan_port: int) -> None:
        self._sockets: list[socket.socket] = []
        for family in _FAMILIES:
            self._open(family, socket.SOCK_RAW, socket.IPPROTO_GRE, 0)
            self._open(family, socket.SOCK_DGRAM, socket.IPPROTO_UDP, vxlan_port)

    def _open(self, family: int, kind: int, protocol: int, port: int) -> None:
        sock: socket.socket | None = None
        try:
            sock = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
            attach_filter(sock, _NOTHING)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if port:
                sock.bind(("", port))
        except OSError as error:  # a device of the kernel has the port, or the host has no IPv6
            _log.debug("no socket that drops tunnels' packets (family %d, port %d): %s", family, port, error)
            with suppress(AttributeError):
                sock.close()  # type: ignore[union-attr]
        else:
            self._sockets.append(sock)

    def close(self) -> None:
        """Close them."""
        for sock in self._sockets:
            sock.close()
