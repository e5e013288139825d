"""Both ends of the link on the loopback interface, in one event loop."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from support.authority import TestAuthority

from copytool.io.link_client import LinkClient
from copytool.io.link_server import CopyConnection, LinkServer
from copytool.io.loop import EventLoop
from copytool.io.settings import TlsFiles
from copytool.io.tls import TlsIdentity
from copytool.link.connection import CopyEnd
from copytool.link.share import Share

SHARE = Share([ip_network("192.168.60.0/24")], [(bytes([192, 168, 50, 101]), 1025)])
greet = partial(CopyEnd, SHARE, "test")


class _Until:
    """Stops the loop once a condition holds, or fails after a while."""

    def __init__(self, loop: EventLoop, condition: Callable[[], Any], timeout_s: float) -> None:
        self._loop = loop
        self._condition = condition
        self._deadline = loop.now() + timeout_s
        self._look_at = loop.now()

    def next_timer(self) -> float:
        return self._look_at

    def handle_timer(self, now: float) -> None:
        self._look_at = now + 0.01
        holds = True  # an exception is run_until()'s to raise, not the loop's to survive
        with suppress(Exception):
            holds = self._condition()
        if holds or now > self._deadline:
            self._loop.stop()


def run_until(loop: EventLoop, condition: Callable[[], Any], timeout_s: float = 10.0) -> None:
    """Run the loop until the condition holds."""
    watcher = _Until(loop, condition, timeout_s)
    loop.services.append(watcher)
    loop.run()
    loop.services.remove(watcher)
    assert condition()


def make_server(loop: EventLoop, port: int = 0, identity: TlsIdentity | None = None) -> LinkServer[CopyConnection]:
    """Listen on loopback and welcome everybody."""

    def decide(peer: CopyConnection, now: float) -> None:
        peer.end.welcome("test", now)

    return LinkServer(loop, "127.0.0.1", port, CopyConnection, decide, lambda peer: None, lambda peer: None, identity)


def port_of(server: LinkServer) -> int:
    """Return the port that the kernel chose."""
    return int(server._socket.getsockname()[1])


def make_client(loop: EventLoop, port: int, identity: TlsIdentity | None = None) -> LinkClient:
    """Connect to loopback."""
    address = ("127.0.0.1", port)
    client = LinkClient(loop, address, "intercept", greet, lambda records: None, lambda: None, identity)
    loop.services.append(client)
    return client


def fill(peer: CopyConnection, loop: EventLoop) -> None:
    """Send records until the peer's socket takes no more."""
    frames = 0
    while not peer.blocked and frames < 1000:
        peer.end.send_records(bytes(56 * 1000))
        peer.after_io()
        frames += 1
    assert peer.blocked


def is_closed(sock: socket.socket) -> bool:
    """Return whether the other end has closed."""
    sock.setblocking(False)
    try:
        return sock.recv(1000) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


class TlsLink:
    """An authority, an intercept that listens, and copies that connect to it."""

    def __init__(self, directory: Path, loop: EventLoop) -> None:
        self.directory = directory
        self.authority = TestAuthority(directory / "ca")
        self.server_files = self.authority.issue("assistant", "server")
        self.client_files = self.authority.issue("online", "client")
        self._loop = loop
        self.server = make_server(loop, 0, TlsIdentity(self.server_files, is_server=True))
        self._clients: list[LinkClient] = []

    def connect(self, files: TlsFiles | None) -> LinkClient:
        """Have a copy connect, and go on doing so."""
        identity = TlsIdentity(files, is_server=False) if files else None
        client = make_client(self._loop, port_of(self.server), identity)
        self._clients.append(client)
        return client

    def establish(self) -> LinkClient:
        """Return a copy whose link is established."""
        client = self.connect(self.client_files)
        run_until(self._loop, lambda: client.state == "established")
        return client

    def close(self) -> None:
        """Close both ends."""
        for client in self._clients:
            client.close()
        self.server.close()

    def expired(self) -> TlsFiles:
        """Return a copy's certificate of the same authority whose time is over."""
        past = datetime.now(UTC) - timedelta(days=60)
        return TestAuthority(self.directory / "ca", past, days=30).issue("late", "client")
