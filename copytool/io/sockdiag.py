"""Asks the kernel whether a TCP connection of this host still exists (sock_diag, linux/inet_diag.h).

copy sees what clients send and nothing that the service does. So a reset by the service, and the end of a connection
whose last packets the capture lost, show here only.
"""

from __future__ import annotations

import errno
import logging
import socket
import struct

from ..wire.flow import FlowEnds

__all__ = ["GONE", "OPEN", "UNKNOWN", "SocketLookup"]

_log = logging.getLogger(__name__)

OPEN, GONE, UNKNOWN = "open", "gone", "unknown"

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_NLMSG_ERROR = 2
_TCP_TIME_WAIT = 6
_TCP_CLOSE = 7
_TCP_LISTEN = 10
_GONE_STATES = (_TCP_TIME_WAIT, _TCP_CLOSE, _TCP_LISTEN)
_NO_COOKIE = 0xFFFFFFFF
_REQUEST = struct.Struct("=IHHII BBBBI 4s16s16s III")
_PORTS = struct.Struct("!HH")
_MAX_SERVICES = 4096
_SHORTEST = 20  # a header, and behind it an error's code or family, state and timer


class SocketLookup:
    """Looks single connections up. A connection that no lookup can find may live in another network namespace, as those
    of containers do: that it is gone is believed only where this namespace is known to hold the service's connections.
    A listening socket shows nothing: Docker's proxy has one on each port whose connections the host only forwards.
    """

    def __init__(self) -> None:
        self._services: set[tuple[bytes, int]] = set()
        self._serial = 0
        self._socket: socket.socket | None = None
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _NETLINK_SOCK_DIAG)
            self._socket.connect((0, 0))
        except OSError as error:
            self.close()
            _log.warning("cannot ask the kernel for connections (%s): resets by the service will not be seen", error)

    def knows(self, key: FlowEnds) -> bool:
        """Return whether connections of this service are known to be in this network namespace."""
        return key[2:] in self._services

    def find(self, key: FlowEnds) -> str:
        """Return OPEN, GONE, or UNKNOWN if the kernel does not tell."""
        if self._socket is None:
            return UNKNOWN
        client, client_port, online, online_port = key
        try:
            state = self._ask(self._socket, client, client_port, online, online_port)
        except OSError:
            return UNKNOWN
        if state == 0 or state in _GONE_STATES:
            return GONE if self.knows(key) else UNKNOWN
        if len(self._services) < _MAX_SERVICES:
            self._services.add((online, online_port))
        return OPEN

    def _ask(self, sock: socket.socket, client: bytes, client_port: int, online: bytes, online_port: int) -> int:
        """Return the state of the socket that a segment from the client would reach, 0 if there is none.

        Where the connection does not exist that is the service's listening socket.
        """
        self._serial = (self._serial + 1) & 0xFFFFFFFF
        family = socket.AF_INET if len(online) == 4 else socket.AF_INET6
        ports = _PORTS.pack(online_port, client_port)
        header = (_REQUEST.size, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, self._serial, 0)
        what = (family, socket.IPPROTO_TCP, 0, 0, _NO_COOKIE)
        sock.send(_REQUEST.pack(*header, *what, ports, online, client, 0, _NO_COOKIE, _NO_COOKIE))
        while True:
            answer = sock.recv(4096)  # the kernel has answered when send() returns
            if len(answer) < _SHORTEST:
                continue
            _, kind, _, serial, _ = struct.unpack_from("=IHHII", answer)
            if serial != self._serial:
                continue
            if kind == _NLMSG_ERROR:
                code = -struct.unpack_from("=i", answer, 16)[0]
                if code != errno.ENOENT:
                    raise OSError(code, "netlink")
                return 0
            return answer[17]

    def close(self) -> None:
        """Close the netlink socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
