"""Link sockets on the loopback interface: reconnecting, and peers that are silent, rude or too many."""

from __future__ import annotations

import os
import resource
import socket

import pytest

from copytool.io import link_server
from copytool.io import loop as loop_module
from copytool.io.loop import EventLoop
from copytool.link import connection
from copytool.link.frames import HELLO, encode_frame, encode_json

from .links import SHARE, fill, is_closed, make_client, make_server, port_of, run_until


def test_client_connects_and_reconnects(loop: EventLoop) -> None:
    """The link is established, lost with the server, and comes back with its successor."""
    server = make_server(loop)
    port = port_of(server)
    client = make_client(loop, port)
    run_until(loop, lambda: client.state == "established")
    assert server.peers[0].status()["client_networks"] == ["192.168.60.0/24"]
    server.close()
    run_until(loop, lambda: client.state == "closed")
    server = make_server(loop, port)
    run_until(loop, lambda: client.state == "established")
    assert client.connects == 2
    client.close()
    server.close()


def test_client_says_why_it_cannot_connect(loop: EventLoop) -> None:
    """With nobody listening the reason is in the status, and the client goes on trying."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        client = make_client(loop, unused.getsockname()[1])
        run_until(loop, lambda: client.reason == "Connection refused")
    client.close()


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\xff" * 100,
        encode_frame(HELLO, b"[]"),
        encode_frame(HELLO, b"\xff\xfe"),
        encode_json(HELLO, {"protocol": 99}),
        encode_json(HELLO, {"protocol": 1, "client_networks": ["x"], "targets": [["c0a83265", 1025]]}),
        encode_json(HELLO, {"protocol": 1, "client_networks": ["192.168.60.0/24"], "targets": [["zz", 1]]}),
    ],
)
def test_garbage_ends_only_its_own_connection(loop: EventLoop, data: bytes) -> None:
    """A peer that speaks something else is closed; an established peer does not notice."""
    server = make_server(loop)
    client = make_client(loop, port_of(server))
    run_until(loop, lambda: client.state == "established")
    with socket.create_connection(("127.0.0.1", port_of(server))) as rude:
        rude.sendall(data)
        run_until(loop, lambda: len(server.peers) == 2 or is_closed(rude))
        run_until(loop, lambda: len(server.peers) == 1)
    assert client.state == "established"
    assert server.refused == 1
    client.close()
    server.close()


def test_a_reason_to_refuse_is_logged_once(loop: EventLoop, caplog: pytest.LogCaptureFixture) -> None:
    """Both sides count each refusal, and log it when it is new; the next attempt follows soon."""
    caplog.set_level("INFO")
    server = make_server(loop)
    server.decide = lambda peer, now: peer.end.refuse("no")
    client = make_client(loop, port_of(server))
    run_until(loop, lambda: server.refused == 2)
    run_until(loop, lambda: client.state == "closed")
    assert [record.message.partition(": ")[2] for record in caplog.records] == ["no", "refused: no; retrying"]
    server.decide = lambda peer, now: peer.end.welcome("test", now)
    run_until(loop, lambda: client.state == "established")
    client.close()
    server.close()


def test_half_a_frame_and_silence(loop: EventLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that connects and says nothing more is closed after the time limit."""
    monkeypatch.setattr(connection, "DEAD_AFTER_S", 0.2)
    server = make_server(loop)
    with socket.create_connection(("127.0.0.1", port_of(server))) as silent:
        silent.sendall(b"\x00\x00")
        run_until(loop, lambda: server.peers)
        run_until(loop, lambda: not server.peers)
        assert silent.recv(10) == b""
    server.close()


def test_too_many_peers(loop: EventLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the limit a newcomer replaces the one that has waited longest for a greeting, which is counted."""
    monkeypatch.setattr(link_server, "MAX_PEERS", 3)
    server = make_server(loop)
    crowd = [socket.create_connection(("127.0.0.1", port_of(server))) for _ in range(5)]
    run_until(loop, lambda: server.refused == 2)
    assert len(server.peers) == 3
    assert is_closed(crowd[0]) and not is_closed(crowd[-1])
    client = make_client(loop, port_of(server))
    run_until(loop, lambda: client.state == "established")
    client.close()
    for sock in crowd:
        sock.close()
    run_until(loop, lambda: not server.peers)
    server.close()


def test_no_descriptor_left(loop: EventLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that cannot be accepted is no busy loop, and is accepted once that is possible."""
    monkeypatch.setattr(loop_module, "ACCEPT_REST_S", 0.1)
    server = make_server(loop)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.create_connection(("127.0.0.1", port_of(server))):
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        try:
            started = loop.now()
            run_until(loop, lambda: loop.starved == 2)
            assert loop.now() - started >= 0.1
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        run_until(loop, lambda: server.peers)
    run_until(loop, lambda: not server.peers)
    server.close()


def test_copies_are_not_pushed_aside(loop: EventLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """When copies alone fill the limit, it is the newcomer that is closed."""
    monkeypatch.setattr(link_server, "MAX_PEERS", 1)
    server = make_server(loop)
    client = make_client(loop, port_of(server))
    run_until(loop, lambda: client.state == "established")
    with socket.create_connection(("127.0.0.1", port_of(server))) as newcomer:
        run_until(loop, lambda: server.refused == 1 and is_closed(newcomer))
    assert client.state == "established"
    client.close()
    server.close()


def test_a_peer_that_does_not_read_blocks_nobody(loop: EventLoop) -> None:
    """Once its socket is full a slow peer is marked blocked, and what waits for it stays queued."""
    server = make_server(loop)
    with socket.create_connection(("127.0.0.1", port_of(server))) as slow:
        slow.sendall(encode_json(HELLO, {"protocol": 1, "version": "x"} | SHARE.to_json()))
        run_until(loop, lambda: server.peers and server.peers[0].end.established)
        peer = server.peers[0]
        fill(peer, loop)
        assert 0 < len(peer.end.data_to_send()) <= 56_005
    run_until(loop, lambda: not server.peers)
    server.close()
