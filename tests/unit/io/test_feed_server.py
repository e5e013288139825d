"""copy's end of forward's link on the loopback interface: what comes in, what is told, and who stays out."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.authority import TestAuthority

from copytool.errors import HostError
from copytool.io.feed_server import FeedServer
from copytool.io.link_client import LinkClient
from copytool.io.loop import EventLoop
from copytool.io.settings import Feed, TlsFiles
from copytool.io.tls import TlsIdentity
from copytool.link.forwarding import ForwardEnd, decode_questions
from copytool.link.frames import encode_frame
from copytool.wire.flow import FlowKey, flow_key

from .links import greet, is_closed, run_until

FLOW = flow_key(bytes((10, 9, 0, 1)), 40000, bytes((192, 168, 50, 10)), 1025)
BODY = (6).to_bytes(4, "big") + bytes(4) + b"packet"


class Copy:
    """The listening end, and what it was told. With TLS if there is an authority."""

    def __init__(self, loop: EventLoop, forwarders: list[str] | None = None, files: TlsFiles | None = None) -> None:
        self.bodies: list[bytes] = []
        self.states: list[tuple[FlowKey, str]] = []
        self.losses = 0
        self._loop = loop
        self._clients: list[LinkClient] = []
        identity = TlsIdentity(files, is_server=True) if files else None
        feed = Feed("forward", listen=("127.0.0.1", 0), forwarders=forwarders)
        self.server = FeedServer(loop, feed, self.bodies.extend, self.states.extend, self._note_loss, identity)

    def _note_loss(self) -> None:
        self.losses += 1

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server._server._socket.getsockname()[1])

    def forward(
        self,
        files: TlsFiles | None = None,
        answer: Callable[[LinkClient, list[bytes]], None] = lambda _client, _bodies: None,
    ) -> LinkClient:
        """Have a forward connect, and go on doing so."""
        identity = TlsIdentity(files, is_server=False) if files else None
        made: list[LinkClient] = []
        client = LinkClient(
            self._loop, ("127.0.0.1", self.port), "copy",
            lambda now: ForwardEnd(["1025", "[fd50::10]:80"], "1.2", now, 1 << 20),
            lambda bodies: answer(made[0], bodies), lambda: None, identity,
        )  # fmt: skip
        made.append(client)
        self._loop.services.append(client)
        self._clients.append(client)
        return client

    def close(self) -> None:
        """Close all ends."""
        for client in self._clients:
            client.close()
        self.server.close()


@pytest.fixture
def copy(loop: EventLoop) -> Iterator[Copy]:
    made = Copy(loop)
    yield made
    made.close()


def established(client: LinkClient) -> bool:
    return client.state == "established"


def send(client: LinkClient, loop: EventLoop, body: bytes = BODY) -> None:
    """Send a frame of packets."""
    end: Any = client.end
    frame = end.begin()
    frame += body
    end.finish(frame, 1)
    client.send_pending(loop.now())


def test_packets_come_in(copy: Copy, loop: EventLoop) -> None:
    """In order, as they are; the status says from whom, and what is captured there."""
    client = copy.forward()
    run_until(loop, partial(established, client))
    assert copy.losses == 1, "what was sent before it came is missing"
    bodies = [bytes((0, 0, 200, 0)) + bytes(4) + bytes((number,)) * 200 * 256 for number in range(20)]
    for body in bodies:
        send(client, loop, body)
    run_until(loop, lambda: len(copy.bodies) == 20)
    assert copy.bodies == bodies
    ((status,), refused) = copy.server.status()["links"], copy.server.status()["refused_links"]
    assert (status["state"], status["version"], status["encrypted"]) == ("established", "1.2", False)
    assert status["services"] == ["1025", "[fd50::10]:80"]
    assert refused == 0


def test_a_loss_is_told_when_a_forward_comes_or_goes(copy: Copy, loop: EventLoop) -> None:
    """And not when somebody goes who never was welcome."""
    client = copy.forward()
    run_until(loop, partial(established, client))
    with socket.create_connection(("127.0.0.1", copy.port)) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        run_until(loop, lambda: copy.server.status()["refused_links"] == 1)
    assert copy.losses == 1
    client.close()
    loop.services.remove(client)
    run_until(loop, lambda: not copy.server.status()["links"])
    assert copy.losses == 2


def test_forwards_are_asked_for_connections(copy: Copy, loop: EventLoop) -> None:
    """All that there are; each answers, and packets are none of that."""

    def answer(state: str, client: LinkClient, bodies: list[bytes]) -> None:
        end: Any = client.end
        for body in bodies:
            end.answer([(flow, state) for flow in decode_questions(body)])

    clients = [copy.forward(answer=partial(answer, state)) for state in ("open", "unknown")]
    copy.server.ask(FLOW)
    run_until(loop, lambda: all(map(established, clients)))
    assert copy.states == []
    for _ in range(2):
        copy.server.ask(FLOW)
        run_until(loop, lambda: len(copy.states) == 2)
        assert sorted(copy.states) == [(FLOW, "open"), (FLOW, "unknown")]
        copy.states.clear()
    assert copy.bodies == []


def test_asking_one_that_has_gone(copy: Copy, loop: EventLoop) -> None:
    """It is dropped, and the others are asked."""
    clients = [copy.forward() for _ in range(3)]
    run_until(loop, lambda: all(map(established, clients)))
    for peer in copy.server._server.peers[:2]:
        peer.end.close("gone")
    copy.server.ask(FLOW)
    assert len(copy.server.status()["links"]) == 1
    assert copy.losses == 5


def test_a_copy_is_no_forward(copy: Copy, loop: EventLoop) -> None:
    """Its -s names intercepts; here it is told so."""
    client = LinkClient(loop, ("127.0.0.1", copy.port), "intercept", greet, lambda _: None, lambda: None)
    loop.services.append(client)
    run_until(loop, lambda: "no `copytool forward`" in client.reason)
    assert client.reason.startswith("refused: protocol error: ")
    client.close()


@pytest.mark.parametrize(("kind", "body"), [(7, b"\0\0\0\1"), (9, bytes(14)), (4, b""), (8, b"")])
def test_rude_forwards_are_closed(copy: Copy, loop: EventLoop, kind: int, body: bytes) -> None:
    """Nothing of it is taken in, and another forward does not notice."""
    client, rude = copy.forward(), copy.forward()
    run_until(loop, lambda: established(client) and established(rude))
    end: Any = rude.end
    end.data_to_send().extend(encode_frame(kind, body))
    rude.send_pending(loop.now())
    run_until(loop, lambda: rude.reason.startswith("refused: protocol error"))
    assert established(client) and copy.bodies == [] and copy.states == []


def test_a_port_that_is_taken(loop: EventLoop, copy: Copy) -> None:
    """The reason names the option."""
    feed = Feed("forward", listen=("127.0.0.1", copy.port))
    with pytest.raises(HostError, match=r"cannot listen on 127\.0\.0\.1:\d+ \(--feed-listen\): Address already in use"):
        FeedServer(loop, feed, lambda _: None, lambda _: None, lambda: None, None)


@pytest.mark.parametrize(
    ("forwarders", "refused"), [(None, []), (["online"], ["stranger"]), ([], ["online", "stranger"])]
)
def test_only_named_forwarders_are_let_in(
    loop: EventLoop, tmp_path: Path, forwarders: list[str] | None, refused: list[str]
) -> None:
    """By their certificates; without names everybody with one of the authority's."""
    authority = TestAuthority(tmp_path / "ca")
    copy = Copy(loop, forwarders, authority.issue("assistant", "server"))
    clients = {name: copy.forward(authority.issue(name, "client")) for name in ("online", "stranger")}
    run_until(loop, lambda: all(client.reason != "not tried yet" for client in clients.values()))
    for name, client in clients.items():
        if name in refused:
            assert client.reason == f"refused: the certificate of '{name}' is none of --forwarders"
        else:
            assert established(client)
    names = [status["certificate"] for status in copy.server.status()["links"]]
    assert sorted(names) == sorted(set(clients) - set(refused))
    assert copy.losses == len(names)
    copy.close()


def test_closing(loop: EventLoop, caplog: pytest.LogCaptureFixture) -> None:
    """Links end, and nobody listens any more; the log says which daemon it was."""
    copy = Copy(loop)
    client = copy.forward()
    run_until(loop, partial(established, client))
    port = copy.port
    with socket.create_connection(("127.0.0.1", port)) as waiting:
        run_until(loop, lambda: len(copy.server.status()["links"]) == 2)
        copy.server.close()
        assert is_closed(waiting)
    assert [record.message.partition(" ended: ")[2] for record in caplog.records] == ["copy stopped"] * 2
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    run_until(loop, lambda: client.state == "closed")
    client.close()
