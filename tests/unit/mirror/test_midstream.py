"""Connections that were open before copy started: joined where a request begins, or not at all."""

from __future__ import annotations

import pytest

from copytool.mirror import midstream
from copytool.wire.segment import ACK, FIN, PSH, RST, SYN

from .playbook import Client, Scene


def joining(**config: float) -> tuple[Scene, Client]:
    """Return an engine that joins, and a client of whom no SYN was captured."""
    scene = Scene(join_midstream=True, **config)
    client = scene.client()
    client.position = 1000
    return scene, client


def test_joined_where_a_request_begins() -> None:
    """After a request, its answer and a pause the next request opens a session that begins with it."""
    scene, client = joining()
    client.says(b"GET 1", seen=0)
    assert scene.outcomes() == {"midstream_skipped": 1}
    scene.passes(0.002)
    client.segment(ACK, client.position, seen=400)
    scene.passes(0.05)
    client.says(b"GET 2", seen=400)
    assert scene.outcomes() == {"active": 1}
    scene.target().accepts()
    client.says(b" and more", seen=400)
    assert scene.data() == b"GET 2 and more"
    assert scene.engine.counters.joined == 1
    (target,) = scene.targets()
    target.answers(100, acked=14)
    client.says(b"GET 3", seen=500)
    assert scene.data() == b"GET 3", "responses count from where the session was joined"
    client.fin(seen=500)
    target.fin(acked=20)
    assert scene.outcomes() == {"mirrored": 1}
    client.says(b"late", seen=500)
    assert scene.outcomes() == {"mirrored": 1}


def test_joined_at_the_first_request_that_is_captured_after_an_answer() -> None:
    """A connection that is first seen when it acknowledges an answer is never counted as skipped."""
    scene, client = joining(copies=2)
    client.segment(ACK, client.position, seen=100)
    client.segment(ACK, client.position, seen=400)
    scene.passes(0.05)
    client.says(b"GET", seen=400)
    assert scene.outcomes() == {"active": 2}
    assert [packet.flags for packet in scene.sent()] == [SYN, SYN]


def test_off_unless_asked_for() -> None:
    """Without the option the same connection is skipped."""
    scene = Scene()
    client = scene.client()
    client.segment(ACK, 0, seen=100).segment(ACK, 0, seen=400)
    scene.passes(0.05)
    client.says(b"GET", seen=400)
    assert scene.outcomes() == {"midstream_skipped": 1}


@pytest.mark.parametrize(
    ("pause_s", "seen", "skip"),
    [(0.001, 400, 0), (0.05, 0, 0), (0.05, 400, 5), (0.05, 400, -5)],
    ids=["no pause", "no answer", "octets missing", "octets repeated"],
)
def test_not_joined_elsewhere(pause_s: float, seen: int, skip: int) -> None:
    """Without a pause, a new answer, or the octets before it, a segment does not show that a request begins."""
    scene, client = joining()
    client.says(b"GET 1", seen=0)
    scene.passes(pause_s)
    client.segment(ACK | PSH, client.position + skip, b"GET 2", seen)
    assert scene.outcomes() == {"midstream_skipped": 1}
    assert scene.sent() == []


def test_a_client_that_streams_while_it_reads_is_not_joined() -> None:
    """Each piece that it sends sets the mark for the next one."""
    scene, client = joining()
    for step in range(20):
        client.says(b"data", seen=step * 100)
        scene.passes(0.005)
    assert scene.outcomes() == {"midstream_skipped": 1}


@pytest.mark.parametrize("flags", [FIN | ACK, RST])
def test_a_connection_that_ends_is_forgotten(flags: int) -> None:
    """What follows the end of a connection is no request of it."""
    scene, client = joining()
    client.says(b"GET 1", seen=0)
    client.segment(flags, client.position, seen=400)
    scene.passes(0.05)
    client.says(b"GET 2", seen=400)
    assert scene.outcomes() == {"midstream_skipped": 1}


def test_a_new_connection_on_the_same_ports_is_an_ordinary_one() -> None:
    """Its handshake opens the session, whatever was watched before."""
    scene, client = joining()
    client.says(b"GET 1", seen=0)
    scene.client(isn=77).opens()
    assert scene.outcomes() == {"active": 1, "midstream_skipped": 1}
    assert scene.engine.counters.joined == 0


def test_sampling_and_feedback_hold_for_joined_connections() -> None:
    """A connection that would not be mirrored if it began now is not joined."""
    scene, client = joining(ratio_percent=1e-9)
    client.segment(ACK, 1000, seen=100).segment(ACK, 1000, seen=400)
    scene.passes(0.05)
    client.says(b"GET", seen=400)
    assert scene.outcomes() == {}
    assert scene.sent() == []


def test_watched_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit the one that was seen first is not joined."""
    monkeypatch.setattr(midstream, "MAX_WATCHED", 10)
    scene, _ = joining()
    clients = [scene.client(port=40000 + index) for index in range(11)]
    for client in clients:
        client.segment(ACK, 0, seen=1)
    for client in clients[1:]:
        client.segment(ACK, 0, seen=400)
    scene.passes(0.05)
    for client in clients[1:]:
        client.says(b"GET", seen=400)
    clients[0].says(b"GET", seen=400)
    assert scene.outcomes() == {"active": 10, "midstream_skipped": 1}


def test_an_old_segment_does_not_move_the_mark_back() -> None:
    """A retransmission of the last request changes nothing in where the next one begins."""
    scene, client = joining()
    client.says(b"GET 1", seen=0)
    client.segment(ACK | PSH, 1000, b"GET 1", 0)
    client.segment(ACK, 1000, seen=400)
    scene.passes(0.05)
    client.says(b"GET 2", seen=400)
    assert scene.outcomes() == {"active": 1}
