"""What the bytes of a link pass through: a socket as it is, or TLS on it. Nothing here ever waits."""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import Any, Protocol

from ..link.connection import LinkEnd
from .tls import TlsIdentity

__all__ = ["Channel", "PlainChannel", "TlsChannel", "format_endpoint", "open_channel"]

_RECEIVE_BYTES = 1 << 16  # a buffer of this size is made for each call
_ENCRYPT_BYTES = 1 << 16


def format_endpoint(address: tuple[Any, ...]) -> str:
    """Return a socket address as host:port, IPv6 in brackets, IPv4-mapped IPv6 as IPv4."""
    host, port = address[0].removeprefix("::ffff:"), address[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Channel(Protocol):
    """A connected, non-blocking socket, and how bytes are read from it and written to it.

    peer_name: the common name of the certificate that the peer has shown; "" before that, and without TLS.
    """

    socket: socket.socket
    is_encrypted: bool
    peer_name: str

    def receive(self) -> bytes | None:
        """Return received bytes, b"" at the end of the stream, None if there is nothing now; OSError."""
        ...

    def send_pending(self, end: LinkEnd) -> bool:
        """Send what `end` has queued; return whether some of it has to stay; OSError."""
        ...

    def close(self) -> None:
        """Close the socket."""
        ...


def open_channel(sock: socket.socket, identity: TlsIdentity | None, server_name: str | None = None) -> Channel:
    """Return the channel for a connected socket: with TLS if there is an identity.

    server_name: address, or name, that the other end's certificate must have; None: the other end is the client.
    """
    return PlainChannel(sock) if identity is None else TlsChannel(sock, identity, server_name)


class PlainChannel:
    """A socket as it is."""

    __slots__ = ("is_encrypted", "peer_name", "socket")

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.is_encrypted = False
        self.peer_name = ""

    def receive(self) -> bytes | None:
        """Return received bytes, b"" at the end of the stream, None if there is nothing now; OSError."""
        try:
            return self.socket.recv(_RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError):
            return None

    def send_pending(self, end: LinkEnd) -> bool:
        """Send what `end` has queued; return whether some of it has to stay; OSError."""
        while data := end.data_to_send():
            if _send(self.socket, data):
                return True
        return False

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()


class TlsChannel:
    """TLS on a socket. Bytes are encrypted only when the socket has taken all that was encrypted before.

    So a peer that does not read holds up what is queued, as without TLS. What one that has shown no certificate makes
    us keep is at most a handshake message, which OpenSSL bounds.
    """

    __slots__ = ("_encrypted", "_incoming", "_is_server", "_outgoing", "_tls", "is_encrypted", "peer_name", "socket")

    def __init__(self, sock: socket.socket, identity: TlsIdentity, server_name: str | None) -> None:
        self.socket = sock
        self.is_encrypted = False
        self.peer_name = ""
        self._is_server = server_name is None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = identity.context().wrap_bio(
            self._incoming, self._outgoing, server_side=self._is_server, server_hostname=server_name
        )
        self._encrypted = bytearray()
        if not self._is_server:
            self._shake_hands()

    def receive(self) -> bytes | None:
        """Return received bytes, b"" at the end of the stream, None if there is nothing now; OSError."""
        try:
            data = self.socket.recv(_RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError):
            return None
        if not data:
            return b""
        self._incoming.write(data)
        if not self.is_encrypted:
            self._shake_hands()
        return self._decrypt() if self.is_encrypted else None

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return
        self.is_encrypted = True
        certificate: dict[str, Any] = self._tls.getpeercert() or {}
        for relative_name in certificate.get("subject", ()):
            self.peer_name = str(dict(relative_name).get("commonName", self.peer_name))

    def _decrypt(self) -> bytes | None:
        received = bytearray()
        try:
            while data := self._tls.read(_RECEIVE_BYTES):
                received += data
        except ssl.SSLWantReadError:
            return bytes(received) if received else None
        return bytes(received)  # the peer has said that no more comes; b"" once all of it is read

    def send_pending(self, end: LinkEnd) -> bool:
        """Send what `end` has queued; return whether some of it has to stay; OSError."""
        while True:
            self._encrypted += self._outgoing.read()
            if _send(self.socket, self._encrypted):
                return True
            data = end.data_to_send()
            if not data or not self.is_encrypted:
                return False
            del data[: self._tls.write(bytes(data[:_ENCRYPT_BYTES]))]

    def close(self) -> None:
        """Close the socket; before that, tell the peer why if TLS has something to say."""
        with contextlib.suppress(OSError):
            self._encrypted += self._outgoing.read()
            _send(self.socket, self._encrypted)
        self.socket.close()


def _send(sock: socket.socket, data: bytearray) -> bool:
    """Send from the front of `data` and delete what is sent; return whether some of it has to stay."""
    while data:
        try:
            sent = sock.send(data)
        except BlockingIOError:
            return True
        del data[:sent]
    return False
