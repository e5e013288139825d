"""Who sends tunnels' packets here is not told that nobody wants them."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from copytool.io.tunnel_sink import TunnelSink

FAMILIES = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]


def free_port() -> int:
    """Return a UDP port that nobody has, of either version of IP."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.bind(("::", 0))
        return int(sock.getsockname()[1])


@pytest.fixture(params=FAMILIES, ids=["IPv4", "IPv6"])
def sender(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    """A socket that is told what comes back, connected to a free port."""
    family, address = request.param
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.connect((address, free_port()))
        yield sock


def is_wanted(sender: socket.socket) -> bool:
    """Return whether nothing comes back; on this host the answer is there when send() returns."""
    sender.send(b"packet")
    return sender.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


def test_vxlan_is_taken_in_and_dropped(sender: socket.socket) -> None:
    """As long as it is open; nothing of it stays in memory."""
    assert not is_wanted(sender)
    sink = TunnelSink(sender.getpeername()[1])
    assert is_wanted(sender)
    for sock in sink._sockets:
        with pytest.raises(BlockingIOError):
            sock.recv(100)
    sink.close()
    assert not is_wanted(sender)


def test_a_port_that_a_device_of_the_kernel_has(sender: socket.socket) -> None:
    """It takes the packets then, and the sink does without."""
    with socket.socket(sender.family, socket.SOCK_DGRAM) as device:
        device.bind(sender.getpeername()[:2])
        sink = TunnelSink(sender.getpeername()[1])
        assert is_wanted(sender)
        assert device.recv(100) == b"packet"
        assert sender.family not in [sock.family for sock in sink._sockets if sock.type == socket.SOCK_DGRAM]
        sink.close()


def test_a_host_that_lets_nothing_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """No right to a raw socket, or no IPv6, is no reason not to mirror."""

    def refuse(*_arguments: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(socket, "socket", refuse)
    sink = TunnelSink(4789)
    assert sink._sockets == []
    sink.close()
