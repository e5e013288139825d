"""forward between a ring in memory and a real copy's end: what is sent, what is dropped, and what is said of it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from copytool import __version__
from copytool.cli.status import format_status
from copytool.errors import HostError
from copytool.flavour import flavour
from copytool.io import forward_daemon
from copytool.io.capture_filter import CaptureFilter
from copytool.io.control import ask_daemon
from copytool.io.feed_server import FeedServer
from copytool.io.feeding import forward_block
from copytool.io.forward_daemon import ForwardDaemon, format_service
from copytool.io.loop import EventLoop
from copytool.io.ring import BlockRing
from copytool.io.settings import Feed, ForwardSettings
from copytool.io.sources import BLOCK_BYTES
from copytool.link.frames import QUESTIONS, encode_frame
from copytool.mirror.targets import Service
from copytool.wire.flow import FlowKey, flow_key

from .links import run_until
from .test_feeding import CHECKSUM_VALID, HOST, OTHERHOST, block, request, split

MIB = 1 << 20
LOOPBACK = bytes((127, 0, 0, 1))
Start = Callable[[ForwardSettings], ForwardDaemon]


class Ring(BlockRing):
    """A ring in memory: blocks are put in, and its descriptor is readable as long as there are some."""

    def __init__(self, interface: str, filter_code: bytes, block_bytes: int, blocks: int) -> None:
        self.interface, self.filter_code, self.size = interface, filter_code, block_bytes * blocks
        self.packets = self.drops = 0
        self.losing = False
        self.problem = ""
        self.waiting: list[memoryview] = []
        self.new_drops = self.recovered = 0
        self._signal, self._readable = socket.socketpair()

    def fileno(self) -> int:
        return self._readable.fileno()

    def put(self, *packets: bytes, others: int = 0) -> None:
        """Have the kernel fill a block; others: packets in it that are not for this host."""
        made = [(packet, HOST, CHECKSUM_VALID) for packet in packets]
        self.waiting.append(block(*made, *[(request(), OTHERHOST, 0)] * others))
        self.packets += len(made) + others
        self._signal.send(b"x")

    def has_packets(self) -> bool:
        return bool(self.waiting)

    def _next(self) -> memoryview:
        self._readable.recv(1)
        return self.waiting.pop(0)

    def forward(self, frame: bytearray, wall_clock: float) -> int:
        return forward_block(self._next(), 0, frame, wall_clock)

    def skip(self) -> int:
        return int.from_bytes(self._next()[12:16], "little")

    def is_down(self) -> None:
        """Have it readable without packets, as a ring is whose interface goes down."""
        self._signal.send(b"x")

    def recover(self) -> None:
        self.recovered += 1
        if not self.waiting:
            self._readable.setblocking(False)
            with suppress(BlockingIOError):
                self._readable.recv(1)

    def update_statistics(self) -> None:
        self.drops += self.new_drops
        self.new_drops = 0
        self.losing = False

    def close(self) -> None:
        self._signal.close()
        self._readable.close()


class Copy:
    """The copy that is sent to: what came in, and how often it heard of a loss."""

    def __init__(self, loop: EventLoop, port: int = 0) -> None:
        self.bodies: list[bytes] = []
        self.states: list[tuple[FlowKey, str]] = []
        feed = Feed("forward", listen=("127.0.0.1", port))
        self.server = FeedServer(loop, feed, self.bodies.extend, self.states.extend, lambda: None, None)

    @property
    def address(self) -> tuple[str, int]:
        address, port = self.server._server._socket.getsockname()
        return address, port

    def packets(self) -> list[bytes]:
        """Return the packets that came, without what was lost."""
        return [packet for body in self.bodies for _, _, packet in split(body) if packet]

    def lost(self) -> list[int]:
        """Return what was said to be lost."""
        return [age for body in self.bodies for _, age, packet in split(body) if not packet]


@pytest.fixture
def copy(loop: EventLoop) -> Iterator[Copy]:
    made = Copy(loop)
    yield made
    made.server.close()


@pytest.fixture
def settings(copy: Copy, tmp_path: Path) -> ForwardSettings:
    return ForwardSettings([(None, 1025)], copy.address, tmp_path / "control.sock", ring_bytes=MIB)


@pytest.fixture
def start(loop: EventLoop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts forwards, which end with the test."""
    monkeypatch.setattr(forward_daemon, "BlockRing", Ring)
    started: list[ForwardDaemon] = []

    def make(settings: ForwardSettings) -> ForwardDaemon:
        started.append(ForwardDaemon(settings, loop))
        return started[-1]

    yield make
    for daemon in started:
        daemon.shut_down()


def ring_of(daemon: ForwardDaemon) -> Ring:
    (ring,) = daemon._rings
    assert isinstance(ring, Ring)
    return ring


def link_state(daemon: ForwardDaemon) -> str:
    return str(daemon.status()["link"][0]["state"])


@pytest.fixture
def forward(loop: EventLoop, settings: ForwardSettings, start: Start) -> ForwardDaemon:
    """A forward whose link is established."""
    daemon = start(settings)
    run_until(loop, lambda: link_state(daemon) == "established")
    return daemon


def test_what_clients_send_reaches_copy(loop: EventLoop, forward: ForwardDaemon, copy: Copy) -> None:
    """Each block's packets for this host, however many blocks wait."""
    for _ in range(40):
        ring_of(forward).put(request(), request(damaged=True), others=1)
    run_until(loop, lambda: len(copy.packets()) == 80)
    assert copy.packets() == [request(), request(damaged=True)] * 40
    assert copy.lost() == []
    status = forward.status()
    assert status["forwarded"] == {
        "packets": 80, "dropped": {"no_link": 0, "slow_link": 0}, "waiting_bytes": 0, "buffer_bytes": 16 * MIB
    }  # fmt: skip
    assert status["capture"]["packets"] == 120


def test_what_it_says_of_itself(forward: ForwardDaemon, copy: Copy) -> None:
    """As the other daemons do; and copy knows what is captured here."""
    status = forward.status()
    assert (status["role"], status["version"], status["flavour"]) == ("forward", __version__, flavour())
    assert (status["certificate"], status["internal_errors"]) == (None, 0)
    assert copy.server.status()["links"][0]["services"] == ["1025"]
    assert forward.capabilities == ()


def test_its_rings(settings: ForwardSettings, start: Start) -> None:
    """One on each interface, of the size and with the filter that the settings ask for."""
    clients = [ip_network("10.9.0.0/16")]
    daemon = start(replace(settings, interfaces=["a", "b"], ratio_percent=50.0, clients=clients))
    code = CaptureFilter([(None, 1025)], clients).code(50.0)
    assert [(ring.interface, ring.filter_code, ring.size) for ring in daemon._rings] == [
        ("a", code, MIB // BLOCK_BYTES * BLOCK_BYTES), ("b", code, MIB // BLOCK_BYTES * BLOCK_BYTES)
    ]  # fmt: skip


def test_without_a_link_packets_are_dropped_and_counted(
    loop: EventLoop, settings: ForwardSettings, copy: Copy, start: Start
) -> None:
    """By the time there is one they would be late; copy knows that it has missed some."""
    copy.server.close()
    daemon = start(settings)
    ring_of(daemon).put(request(), request())
    run_until(loop, lambda: daemon.status()["forwarded"]["dropped"]["no_link"] == 2)
    later = Copy(loop, settings.copy[1])
    run_until(loop, lambda: link_state(daemon) == "established")
    ring_of(daemon).put(request())
    run_until(loop, lambda: later.packets() == [request()])
    assert later.lost() == []
    later.server.close()


def test_counters_outlive_a_link(loop: EventLoop, forward: ForwardDaemon, copy: Copy) -> None:
    """forward connects again by itself."""
    ring_of(forward).put(request())
    run_until(loop, lambda: len(copy.packets()) == 1)
    _address, port = copy.address
    copy.server.close()
    run_until(loop, lambda: link_state(forward) == "closed")
    assert forward.status()["forwarded"]["packets"] == 1
    later = Copy(loop, port)
    run_until(loop, lambda: link_state(forward) == "established")
    ring_of(forward).put(request())
    run_until(loop, lambda: len(later.packets()) == 1)
    assert forward.status()["forwarded"]["packets"] == 2
    later.server.close()


def test_a_link_that_does_not_keep_up(loop: EventLoop, settings: ForwardSettings, copy: Copy, start: Start) -> None:
    """No more waits than may; what does not fit is dropped and counted, and copy is told with what comes next."""
    daemon = start(replace(settings, buffer_bytes=100_000))
    run_until(loop, lambda: link_state(daemon) == "established")
    peer: Any = copy.server._server.peers[0]
    loop.unwatch(peer.channel.socket)  # copy reads no more
    large = request() + bytes(60_000)
    sent = 0
    while not daemon.status()["forwarded"]["dropped"]["slow_link"]:
        ring_of(daemon).put(large)
        sent += 1
        run_until(loop, lambda: not ring_of(daemon).waiting)
        assert daemon.status()["forwarded"]["waiting_bytes"] < 200_000
    ring_of(daemon).put(large)
    run_until(loop, lambda: not ring_of(daemon).waiting)
    assert daemon.status()["forwarded"]["dropped"] == {"no_link": 0, "slow_link": 2}
    loop.watch(peer.channel.socket, 1, peer.on_ready)
    run_until(loop, lambda: len(copy.packets()) == sent - 1)
    assert copy.lost() == []
    ring_of(daemon).put(large)
    run_until(loop, lambda: len(copy.packets()) == sent)
    assert copy.lost() == [2]


def test_what_waits_is_forgotten_with_the_link(
    loop: EventLoop, settings: ForwardSettings, copy: Copy, start: Start
) -> None:
    """It does not count as waiting any more, nor take memory; nor is the next copy told of what this one lost."""
    daemon = start(replace(settings, buffer_bytes=100_000))
    run_until(loop, lambda: link_state(daemon) == "established")
    peer: Any = copy.server._server.peers[0]
    loop.unwatch(peer.channel.socket)
    while not daemon.status()["forwarded"]["dropped"]["slow_link"]:
        ring_of(daemon).put(request() + bytes(60_000))
        run_until(loop, lambda: not ring_of(daemon).waiting)
    forwarded = daemon.status()["forwarded"]
    assert forwarded["waiting_bytes"] > 0
    copy.server.close()
    run_until(loop, lambda: link_state(daemon) == "closed")
    assert daemon.status()["forwarded"] == {**forwarded, "waiting_bytes": 0}
    ring_of(daemon).put(request())
    run_until(loop, lambda: daemon.status()["forwarded"]["dropped"]["no_link"] == 1)
    later = Copy(loop, settings.copy[1])
    run_until(loop, lambda: link_state(daemon) == "established")
    ring_of(daemon).put(request())
    run_until(loop, lambda: later.packets() == [request()])
    assert later.lost() == []
    later.server.close()


def test_what_the_kernel_drops_is_told(loop: EventLoop, forward: ForwardDaemon, copy: Copy) -> None:
    """With the next packets where it says so itself, and without any after a while."""
    ring = ring_of(forward)
    ring.new_drops, ring.losing = 7, True
    ring.put(request())
    run_until(loop, lambda: not ring.losing)
    ring.put(request())
    run_until(loop, lambda: copy.lost() == [7])
    ring.new_drops = 9
    run_until(loop, lambda: copy.lost() == [7, 9])
    assert len(copy.packets()) == 2
    assert forward.status()["capture"]["drops"] == 16


def test_a_ring_that_is_readable_without_packets(loop: EventLoop, forward: ForwardDaemon) -> None:
    """Its interface has gone down; it is taken up again."""
    ring = ring_of(forward)
    before = ring.recovered
    ring.is_down()
    run_until(loop, lambda: ring.recovered > before)


def test_questions_are_answered(loop: EventLoop, forward: ForwardDaemon, copy: Copy) -> None:
    """With what this host's kernel says: of a connection that there is, one that has gone, and one it cannot know."""
    with socket.create_server(("127.0.0.1", 0)) as service:
        port = service.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            flows = {
                "open": flow_key(LOOPBACK, client.getsockname()[1], LOOPBACK, port),
                "gone": flow_key(LOOPBACK, 1, LOOPBACK, port),
                "unknown": flow_key(LOOPBACK, 1, bytes((192, 0, 2, 1)), 80),
            }
            for state, flow in flows.items():
                copy.server.ask(flow)
                run_until(loop, lambda: bool(copy.states))
                assert copy.states == [(flow, state)]
                copy.states.clear()


def test_a_flood_of_questions_holds_up_nothing(loop: EventLoop, forward: ForwardDaemon, copy: Copy) -> None:
    """Of what comes at once a part is answered; copy asks again what it wants to know."""
    end: Any = copy.server._server.peers[0].end
    body = (bytes((12,)) + bytes(12)) * 64
    end.data_to_send().extend(encode_frame(QUESTIONS, body) * 300)
    copy.server._server.peers[0].after_io()
    run_until(loop, lambda: len(copy.states) >= 64 * 64)
    ring_of(forward).put(request())
    run_until(loop, lambda: copy.packets() == [request()])
    assert link_state(forward) == "established"


def test_the_control_socket(loop: EventLoop, settings: ForwardSettings, forward: ForwardDaemon) -> None:
    """It answers as the other daemons do, has no sessions to show, and says who has."""
    answers: list[dict[str, Any]] = []

    def ask() -> None:
        answers.append(ask_daemon(settings.control_socket, "status"))
        with pytest.raises(HostError, match="ask the copy that it sends to"):
            ask_daemon(settings.control_socket, "sessions")
        answers.append({})

    thread = threading.Thread(target=ask)
    thread.start()
    run_until(loop, lambda: len(answers) == 2)
    thread.join()
    assert answers[0]["role"] == "forward" and "\n".join(format_status(answers[0]))


def test_what_cannot_be_opened_is_said(settings: ForwardSettings, loop: EventLoop) -> None:
    """An interface that is not there, or no right to capture: one line."""
    with pytest.raises(HostError, match=r"cannot capture|CAP_NET_RAW"):
        ForwardDaemon(replace(settings, interfaces=["no-such-if"]), loop)


@pytest.mark.parametrize(
    ("service", "text"),
    [
        ((None, 1025), "1025"),
        ((bytes((192, 168, 50, 10)), 80), "192.168.50.10:80"),
        ((bytes(15) + b"\1", 443), "[::1]:443"),
    ],
)
def test_services_are_said_as_they_are_given(service: Service, text: str) -> None:
    """So that they can be compared with -x."""
    assert format_service(service) == text
