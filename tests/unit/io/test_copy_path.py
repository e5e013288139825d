"""What copy does first when there is more to do than time."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from copytool.io.copy_path import CopyPath
from copytool.io.ring import BlockRing
from copytool.io.session_log import SessionLog
from copytool.mirror.config import MirrorConfig
from copytool.mirror.engine import Engine
from copytool.mirror.mapping import ClientNetwork


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


def path(*rings: Ring) -> CopyPath:
    """Return the way through copy with these rings."""
    engine = Engine({(None, 80): (b"\x0a\0\0\x01", 80)}, ClientNetwork([(b"\xc0\xa8\x3c\x01", 10)]), MirrorConfig())
    hops: Any = SimpleNamespace(hops={})
    return CopyPath(engine, list(rings), hops, SessionLog(), lambda: None, 0.0)


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
