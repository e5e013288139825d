"""Connections of this host are found in the kernel, and are believed gone only where they could be found."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest

from copytool.io.sockdiag import GONE, OPEN, UNKNOWN, SocketLookup
from copytool.wire.flow import FlowEnds

LOOPBACK = bytes((127, 0, 0, 1))
NO_PORT = 1  # nothing connects from it


@pytest.fixture
def lookup() -> Iterator[SocketLookup]:
    """Return a lookup that knows no service."""
    lookup = SocketLookup()
    yield lookup
    lookup.close()


@pytest.fixture(params=[(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::")], ids=["IPv4", "IPv6 for IPv4 clients"])
def service(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    """Return a listening socket that IPv4 clients reach."""
    family, address = request.param
    with socket.create_server((address, 0), family=family, dualstack_ipv6=family == socket.AF_INET6) as listener:
        yield listener


def key_of(service: socket.socket, client_port: int) -> FlowEnds:
    """Return the key of a connection from this port."""
    return LOOPBACK, client_port, LOOPBACK, service.getsockname()[1]


def connect(service: socket.socket) -> tuple[socket.socket, FlowEnds]:
    """Return a client's socket and its connection's key."""
    client = socket.create_connection(("127.0.0.1", service.getsockname()[1]))
    return client, key_of(service, client.getsockname()[1])


def test_an_open_connection_and_one_that_is_gone(lookup: SocketLookup, service: socket.socket) -> None:
    """Once a connection of the service was found, one that is not found is gone."""
    client, key = connect(service)
    with client:
        assert not lookup.knows(key)
        assert lookup.find(key) == OPEN
        assert lookup.knows(key)
    gone = key_of(service, NO_PORT)
    assert lookup.find(gone) == GONE
    service.close()
    assert lookup.find(gone) == GONE


def test_a_listening_socket_does_not_show_where_connections_are(lookup: SocketLookup, service: socket.socket) -> None:
    """Docker's proxy listens on the host, while the connections are forwarded to the container."""
    assert lookup.find(key_of(service, NO_PORT)) == UNKNOWN


def test_nothing_is_known_of_what_is_not_here(lookup: SocketLookup) -> None:
    """A service without any socket here may be in another network namespace."""
    assert lookup.find((LOOPBACK, NO_PORT, bytes((192, 0, 2, 1)), 80)) == UNKNOWN


def test_a_closed_lookup_knows_nothing(service: socket.socket) -> None:
    """So does one that the kernel has refused a socket."""
    lookup = SocketLookup()
    lookup.close()
    assert lookup.find(key_of(service, NO_PORT)) == UNKNOWN


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (b"", UNKNOWN),
        (bytes(19), UNKNOWN),
        (struct.pack("=IHHIIBB2x", 20, 20, 0, 1, 0, 2, 1), OPEN),
        (struct.pack("=IHHIIi", 20, 2, 0, 1, 0, -2), UNKNOWN),
        (struct.pack("=IHHIIi", 20, 2, 0, 1, 0, -(1 << 31)), UNKNOWN),
        (struct.pack("=IHHIIBB2x", 20, 20, 0, 99, 0, 2, 1), UNKNOWN),
    ],
    ids=["empty", "short", "open", "no such connection", "an error that is none", "an answer to another question"],
)
def test_odd_answers(answer: bytes, state: str) -> None:
    """Whatever netlink says costs no more than the answer."""
    lookup = SocketLookup()
    lookup.close()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.setblocking(False)
    lookup._socket = ours
    with theirs:
        theirs.send(answer)
        assert lookup.find((LOOPBACK, NO_PORT, bytes((192, 0, 2, 1)), 80)) == state
    lookup.close()
