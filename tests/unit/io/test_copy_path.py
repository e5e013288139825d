"""What copy does first when there is more to do than time."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from copytool.io.copy_path import CopyPath
from copytool.io.remote_sockets import RemoteSockets
from copytool.io.ring import BlockRing
from copytool.io.session_log import SessionLog
from copytool.mirror.config import MirrorConfig
from copytool.mirror.engine import Engine
from copytool.mirror.mapping import ClientNetwork
from copytool.wire.build import build_segment
from copytool.wire.flow import FlowKey, flow_key
from copytool.wire.segment import ACK, PSH, SYN

from ..mirror.playbook import PORT, Scene

CLIENT, ONLINE, TARGET = bytes((10, 9, 0, 1)), bytes((192, 168, 50, 10)), bytes((10, 0, 0, 1))
FLOW = flow_key(CLIENT, 40000, ONLINE, 80)
OPENED = flow_key(CLIENT, 40000, ONLINE, PORT)
"""The connection that a Scene opens."""


class Ring(BlockRing):
    """A ring in which `waiting` blocks wait; it is filling up while more than `many` do."""

    def __init__(self, waiting: int, many: int) -> None:
        self.waiting, self.many, self.fed = waiting, many, 0
        self.recovered = self.losing = False

    def has_packets(self) -> bool:
        return self.waiting > 0

    def is_filling_up(self) -> bool:
        return self.waiting > self.many

    def feed(self, _engine: Engine, _now: float, _on_failure: Callable[[], None], _ahead_s: float) -> None:
        self.waiting -= 1
        self.fed += 1

    def recover(self) -> None:
        self.recovered = True


def path(*rings: Ring, sockets: RemoteSockets | None = None, engine: Engine | None = None) -> CopyPath:
    """Return the way through copy with these rings."""
    if engine is None:
        engine = Engine({(None, 80): (TARGET, 80)}, ClientNetwork([(b"\xc0\xa8\x3c\x01", 10)]), MirrorConfig())
        engine.set_feedback(True, 0.0)
    hops: Any = SimpleNamespace(hops={}, expedite=lambda _now: None)
    return CopyPath(engine, list(rings), hops, SessionLog(), lambda: None, 0.0, None, sockets)


@pytest.mark.parametrize(
    ("waiting", "many", "fed"),
    [(3, 64, 3), (40, 64, 16), (100, 64, 48), (5000, 64, 512)],
    ids=["all", "then others", "until it is no longer filling up", "but not for ever"],
)
def test_a_ring_that_fills_up_comes_before_everything_else(waiting: int, many: int, fed: int) -> None:
    """Blocks are taken in by sixteen; what would be lost soon is taken in before anything is sent."""
    ring = Ring(waiting, many)
    way = path(ring)
    way.receive_packets(ring, 0.0)
    assert ring.fed == fed
    assert not ring.recovered
    way.shut_down(0.0)


def test_a_ring_that_is_ready_without_packets_is_recovered() -> None:
    """Its interface has gone down."""
    ring = Ring(0, 64)
    way = path(ring)
    way.receive_packets(ring, 0.0)
    assert ring.recovered
    way.shut_down(0.0)


def test_pace() -> None:
    """It rests when it had much to do, and looks again at once when a ring has more."""
    ring = Ring(0, 64)
    way = path(ring)
    assert way.pace() == 0.0
    for _ in range(10):
        way._engine.receive_segment(b"", 0.0)
    assert way.pace() == 0.001
    for _ in range(10):
        way._engine.receive_segment(b"", 0.0)
    ring.waiting = 1
    assert way.pace() == 0.0
    way.shut_down(0.0)


def test_it_looks_more_rarely_when_it_has_to_save_time() -> None:
    """However little comes, but not while packets wait to be taken in or sent."""
    ring = Ring(0, 64)
    way = path(ring)
    assert way.pace() == 0.0
    way.save_time(0.01)
    assert way.pace() == 0.01
    ring.waiting = 1
    assert way.pace() == 0.0
    ring.waiting = 0
    way.save_time(0.0)
    assert way.pace() == 0.0
    way.shut_down(0.0)


# -- what comes from other hosts ---------------------------------------------------------------------------------------


def segment(flags: int, seq: int, payload: bytes = b"", port: int = 40000) -> bytes:
    """Return a packet of a client, as it is in a PACKETS frame's body, just captured."""
    packet = build_segment(CLIENT, ONLINE, port, 80, seq, 7 if flags & ACK else 0, flags, 1000, b"", payload)
    return len(packet).to_bytes(4, "big") + bytes(4) + packet


def lost(packets: int) -> bytes:
    """Return what says in such a body that packets were lost."""
    return bytes(4) + packets.to_bytes(4, "big")


def opening(port: int) -> bytes:
    """Return a client's part of a handshake."""
    return segment(SYN, 1, port=port) + segment(ACK, 2, port=port)


def active(way: CopyPath) -> int:
    """Return how many sessions are open."""
    return int(way._engine.status()["sessions"]["outcomes"]["active"])


def test_forwarded_packets_are_taken_in() -> None:
    """In the order of their frames; what was lost on the way counts, and the engine knows of it."""
    way = path()
    way.receive_forwarded([opening(40000), segment(ACK | PSH, 2, b"abc")], 10.0)
    assert (active(way), way._engine.counters.accepted, way.lost) == (1, 3, 0)
    assert not way._engine.saw_drops_since(0.0)
    way.receive_forwarded([lost(5) + segment(ACK | PSH, 5, b"def"), lost(1 << 31)], 11.0)
    assert (way._engine.counters.accepted, way.lost) == (6, 5 + (1 << 31))
    assert way._engine.saw_drops_since(11.0) and not way._engine.saw_drops_since(11.1)
    way.shut_down(11.0)


def open_way() -> tuple[Scene, CopyPath, list[FlowKey]]:
    """Return a way with one session, whose client has been silent for 10 s; and the questions it asks."""
    scene = Scene()
    asked: list[FlowKey] = []
    sockets = RemoteSockets(asked.append)
    scene.opened()
    way = path(sockets=sockets, engine=scene.engine)
    way.handle_timer(scene.now)
    assert asked == [OPENED], "a new connection shows whether the kernel knows its service"
    sockets.answered(OPENED, "open")
    way.receive_states([(OPENED, "open")], scene.now)
    asked.clear()
    scene.now = 10.0
    way.handle_timer(scene.now)
    assert asked == [OPENED]
    asked.clear()
    return scene, way, asked


@pytest.mark.parametrize(("lost_packets", "outcome"), [(0, "mirrored"), (1, "capture_gap")])
def test_a_connection_that_another_hosts_kernel_has_no_more(lost_packets: int, outcome: str) -> None:
    """It is gone when it is twice, with nothing captured in between; whether that is a loss depends on forward's."""
    scene, way, asked = open_way()
    way.receive_forwarded([lost(lost_packets)], 10.0)
    way.receive_states([(OPENED, "gone")], 10.0)
    assert scene.outcomes() == {"active": 1}
    way.handle_timer(15.0)
    assert asked == [OPENED]
    way.receive_states([(OPENED, "gone")], 15.0)
    assert scene.outcomes() == {outcome: 1}
    way.shut_down(15.0)


@pytest.mark.parametrize("state", ["open", "unknown"])
def test_a_connection_that_another_hosts_kernel_may_have(state: str) -> None:
    """Its session stays, however often that is said; and what is said of others does not matter."""
    scene, way, _asked = open_way()
    for now in (10.0, 15.0, 20.0):
        way.receive_states([(OPENED, state), (FLOW, "gone"), (OPENED[::-1], "gone")], now)
        way.handle_timer(now)
    assert scene.outcomes() == {"active": 1}
    way.shut_down(20.0)


def test_connections_are_asked_about_as_they_come() -> None:
    """They may be short; and not each, once the kernel has shown that it knows the service."""
    asked: list[FlowKey] = []
    sockets = RemoteSockets(asked.append)
    way = path(sockets=sockets)
    way.receive_forwarded([opening(40000)], 0.0)
    assert asked == [FLOW]
    sockets.answered(FLOW, "open")
    way.receive_forwarded([opening(40001)], 0.0)
    assert (active(way), asked) == (2, [FLOW])
    way.shut_down(0.0)
