"""Silent clients: the online host's kernel is asked whether their connections still exist."""

from __future__ import annotations

import itertools

from copytool.mirror import engine as engine_module
from copytool.mirror.client import ClientConnection
from copytool.wire.flow import flow_key

from .playbook import ACK, ONLINE, PORT, RST, Scene


def asked(scene: Scene) -> list[ClientConnection]:
    """Return the connections the engine asks about."""
    connections = []
    while (connection := scene.engine.next_check()) is not None:
        connections.append(connection)
    return connections


def answer(scene: Scene, seconds: float, is_open: bool, saw_drops: bool = False) -> list[float]:
    """Let time pass, answer every question alike; return when it was asked, but for connections that are new."""
    times = []
    asked(scene)
    end = scene.now + seconds
    while scene.now < end:
        scene.passes(0.1)
        for connection in asked(scene):
            times.append(round(scene.now, 1))
            connection.checked(is_open, saw_drops, scene.now)
            scene.collect()
    return times


def test_a_client_that_speaks_is_not_asked_about() -> None:
    """Questions come after five seconds of silence only."""
    scene = Scene()
    client, _ = scene.opened()
    for _ in range(30):
        client.says(b"x")
        assert answer(scene, 1.0, True) == []


def test_a_new_connection_is_offered_at_once() -> None:
    """While it is surely open it shows whether the kernel knows its service's connections; it is not believed gone."""
    scene = Scene()
    scene.opened()
    (connection,) = asked(scene)
    for _ in range(3):
        connection.checked(False, False, scene.now)
    assert scene.outcomes() == {"active": 1}


def test_a_connection_is_found_by_its_flow() -> None:
    """As long as it is mirrored: what another host's kernel says of it comes later than the question."""
    scene = Scene()
    client, target = scene.opened()
    flow = flow_key(client.address, client.port, ONLINE, PORT)
    (connection,) = asked(scene)
    assert scene.engine.find_connection(flow) is connection
    assert scene.engine.find_connection(flow_key(client.address, client.port + 1, ONLINE, PORT)) is None
    client.rst()
    target.rst()
    scene.passes(100)
    assert scene.engine.find_connection(flow) is None


def test_connections_are_asked_about_together() -> None:
    """A thousand that opened in a second need few wake-ups."""
    scene = Scene()
    for number in range(1000):
        scene.client(port=30_000 + number).opens()
        scene.target().accepts()
    asked(scene)
    times = []
    while len(times) < 1000:
        scene.now = scene.engine.next_timer()
        scene.engine.handle_timer(scene.now)
        times += [scene.now] * len(asked(scene))
        scene.collect()
    assert times[0] >= 5.0 and times[-1] < 6.01
    assert 100 < len(set(times)) < 150


def test_an_idle_connection_is_asked_about_less_and_less_often() -> None:
    """Five seconds, ten, twenty … up to a minute: ten thousand idle clients cost next to nothing."""
    scene = Scene()
    scene.opened()
    times = answer(scene, 600.0, True)
    gaps = [round(after - before) for before, after in itertools.pairwise(times)]
    assert round(times[0]) == 5
    assert gaps[:4] == [5, 10, 20, 40]
    assert set(gaps[4:]) == {60}
    assert scene.outcomes() == {"active": 1}


def test_a_connection_that_the_service_reset_is_reset_at_the_target() -> None:
    """It ends like one that the client has reset, after its bytes, and not before it was gone twice."""
    scene = Scene()
    client, target = scene.opened()
    client.says(b"abc")
    scene.passes(0.01)
    target.acks(3)
    times = answer(scene, 8.0, False)
    assert len(times) == 2 and 0.9 < times[1] - times[0] < 1.2
    assert scene.outcomes() == {"mirrored": 1}
    assert scene.sent()[-1].flags & RST


def test_resets_at_both_hosts_are_mirrored() -> None:
    """When the target resets a session that was delivered, the kernel says whether online has done so, too."""
    for is_open, outcome in ((False, "mirrored"), (True, "target_reset")):
        scene = Scene()
        client, target = scene.opened()
        client.says(b"abc")
        target.answers(10, acked=3)
        client.segment(ACK, 3, seen=10)
        target.rst()
        assert scene.outcomes() == {"active": 1}
        answer(scene, 4.0, is_open)
        assert scene.outcomes() == {outcome: 1}


def test_a_client_that_goes_on_shows_that_only_the_target_reset() -> None:
    """Nobody is asked any more."""
    scene = Scene()
    client, target = scene.opened()
    client.says(b"abc")
    target.answers(10, acked=3).rst()
    client.says(b"more", seen=10)
    assert scene.outcomes() == {"target_reset": 1}


def test_a_segment_in_between_shows_that_it_was_not_gone() -> None:
    """What the kernel has forgotten may still lie in the capture ring."""
    scene = Scene()
    client, _ = scene.opened()
    answer(scene, 5.5, False)
    client.says(b"abc")
    assert answer(scene, 3.0, False) == []
    assert scene.outcomes() == {"active": 1}


def test_gone_and_then_open_is_open() -> None:
    """The second answer counts."""
    scene = Scene()
    scene.opened()
    answer(scene, 5.5, False)
    answer(scene, 60.0, True)
    assert scene.outcomes() == {"active": 1}


def test_gone_after_drops_is_a_capture_gap() -> None:
    """When the kernel has lost packets, nobody knows what the client sent last."""
    scene = Scene()
    client, target = scene.opened()
    client.says(b"abc")
    target.acks(3)
    answer(scene, 8.0, False, saw_drops=True)
    assert scene.outcomes() == {"capture_gap": 1}
    assert scene.sent()[-1].flags & RST
    assert "not captured" in scene.events()[0].reason


def test_gone_with_a_hole_is_a_capture_gap() -> None:
    """A hole that the client cannot fill any more needs no further waiting."""
    scene = Scene()
    client, _ = scene.opened()
    client.segment(0x10, 5, b"later")
    answer(scene, 8.0, False)
    assert scene.outcomes() == {"capture_gap": 1}


def test_a_closed_client_whose_connection_is_gone_waits_for_the_target() -> None:
    """Online has answered it; the target may still do so, until the close time-out."""
    scene = Scene()
    scene.half_closed()
    answer(scene, 59.0, False)
    assert scene.outcomes() == {"active": 1}
    answer(scene, 2.0, False)
    assert scene.outcomes() == {"mirrored": 1}


def test_a_half_closed_connection_lasts_as_long_as_online() -> None:
    """While online has not closed either, it may be at work on its answer, and so may the target."""
    scene = Scene()
    scene.half_closed()
    answer(scene, 300.0, True)
    assert scene.outcomes() == {"active": 1}
    answer(scene, 121.0, False)
    assert scene.outcomes() == {"mirrored": 1}


def test_a_half_closed_connection_is_asked_about_in_time() -> None:
    """Before the close time-out, be it short, and the loop late."""
    for close_timeout_s in (12.0, 60.0):
        scene = Scene(close_timeout_s=close_timeout_s)
        scene.half_closed()
        while scene.now < 600 and scene.outcomes() == {"active": 1}:
            scene.now = max(scene.now, scene.engine.next_timer()) + 0.005
            scene.engine.handle_timer(scene.now)
            for connection in asked(scene):
                connection.checked(True, False, scene.now)
        assert scene.outcomes() == {"active": 1}


def test_reused_ports_say_nothing_of_the_old_connection() -> None:
    """The kernel answers for the new one; the old one's session ends with the close time-out."""
    scene = Scene(close_timeout_s=130)
    scene.half_closed()
    scene.passes(1)
    scene.client(isn=5000).opens()
    scene.target().accepts()
    answer(scene, 1000.0, True)
    assert scene.outcomes() == {"active": 1, "mirrored": 1}


def test_drops_after_a_captured_reset_are_no_gap() -> None:
    """The connection is over, whatever is lost later; the session may still have something to deliver."""
    scene = Scene()
    client, target = scene.opened()
    client.says(b"abc").rst()
    target.acks(0, window=0)
    assert answer(scene, 20.0, False, saw_drops=True) == []
    target.acks(3)
    assert scene.outcomes() == {"mirrored": 1}


def test_gone_after_its_fin_changes_nothing() -> None:
    """An answer that comes when the FIN was captured meanwhile is late."""
    scene = Scene()
    client, _ = scene.opened()
    asked(scene)
    scene.passes(5.1)
    (connection,) = asked(scene)
    client.fin()
    for saw_drops in (False, False, True, True):
        scene.passes(2)
        connection.checked(False, saw_drops, scene.now)
    assert scene.outcomes() == {"active": 1}


def test_drops_count_from_their_time() -> None:
    """A connection that began after the drops is not concerned."""
    scene = Scene()
    assert not scene.engine.saw_drops_since(0.0)
    scene.passes(10)
    scene.engine.note_drops(scene.now)
    assert scene.engine.saw_drops_since(9.0)
    assert not scene.engine.saw_drops_since(10.5)


def test_questions_are_bounded(monkeypatch: object) -> None:
    """A caller that never asks makes nothing grow, and the questions come again."""
    monkeypatch.setattr(engine_module, "MAX_CHECKS", 3)  # type: ignore[attr-defined]
    scene = Scene()
    for port in range(40000, 40005):
        scene.client(port=port).opens()
    for target in scene.targets():
        target.accepts()
    assert len(asked(scene)) == 3
    scene.passes(6)
    assert len(asked(scene)) == 3
    scene.passes(60)
    assert len(asked(scene)) == 3
