"""Which connections the engine mirrors, how often, and within which limits."""

from __future__ import annotations

import itertools

import pytest

from copytool.mirror import remembered
from copytool.wire.segment import ACK, PSH, RST, SYN

from .playbook import Scene


def test_midstream_is_skipped_and_counted_once() -> None:
    """A connection that was open before is counted with its first bytes, and left alone."""
    scene = Scene()
    scene.client().segment(ACK, 100).segment(ACK | PSH, 100, b"abc").segment(ACK | PSH, 103, b"def")
    assert scene.outcomes() == {"midstream_skipped": 1}
    assert scene.engine.counters.ignored["midstream"] == 6
    assert scene.sent() == []


def test_a_new_connection_on_midstream_ports_is_mirrored() -> None:
    """A SYN starts afresh, whatever was skipped on the same ports."""
    scene = Scene()
    scene.client().segment(ACK | PSH, 100, b"abc")
    scene.client(isn=77).opens()
    assert scene.outcomes() == {"midstream_skipped": 1, "active": 1}


def test_no_feedback_means_no_mirroring() -> None:
    """Without an intercept link no session is opened at the target."""
    scene = Scene(feedback=False)
    scene.client().opens().says(b"abc")
    assert scene.outcomes() == {"no_feedback": 1}
    assert scene.engine.counters.ignored["no_session"] == 3
    assert scene.sent() == []


def test_losing_feedback_ends_waiting_sessions_as_no_feedback() -> None:
    """When the link goes away the target is not blamed for its silence."""
    scene = Scene()
    client, _ = scene.opened()
    client.says(b"abc")
    scene.engine.set_feedback(False, scene.now)
    scene.passes(600)
    assert scene.outcomes() == {"no_feedback": 1}


def test_feedback_that_returns_speeds_retransmission_up() -> None:
    """After an outage waiting sessions ask again at once instead of sitting out their back-off."""
    scene = Scene()
    client, target = scene.opened()
    client.says(b"abc")
    scene.engine.set_feedback(False, scene.now)
    scene.passes(20)
    scene.sent()
    scene.engine.set_feedback(True, scene.now)
    scene.passes(0.001)
    assert scene.data() == b"abc"
    target.acks(3)
    assert scene.outcomes() == {"active": 1}


def test_port_reuse_starts_a_second_session() -> None:
    """A new SYN on the ports of a finished connection is a new session."""
    scene = Scene()
    client, target = scene.opened()
    client.says(b"one").fin()
    target.fin(acked=4)
    scene.client(isn=77_000).opens().says(b"two")
    scene.sent()
    scene.target().accepts()
    assert scene.data() == b"two"
    assert scene.outcomes() == {"mirrored": 1, "active": 1}


def test_port_reuse_while_the_old_session_drains() -> None:
    """The old session keeps its address and ends well; the new one gets other ports."""
    scene = Scene()
    client, first = scene.opened()
    client.says(b"one").fin()
    scene.client(isn=77_000).opens().says(b"two")
    second = scene.target()
    assert second.mirror != first.mirror and second.mirror[0] == first.mirror[0]
    first.fin(acked=4)
    scene.sent()
    second.accepts()
    assert scene.data() == b"two"
    assert scene.outcomes() == {"mirrored": 1, "active": 1}


def test_port_reuse_with_a_hole_is_a_capture_gap() -> None:
    """A connection whose bytes are missing when its ports are reused was not mirrored."""
    scene = Scene()
    client, _ = scene.opened()
    client.segment(ACK, 3, b"def")
    scene.client(isn=77_000).opens()
    assert scene.outcomes() == {"capture_gap": 1, "active": 1}


def test_syn_retransmission_is_the_same_session() -> None:
    """A SYN captured twice opens one session."""
    scene = Scene()
    scene.client().syn().syn().confirms().syn()
    assert scene.outcomes() == {"active": 1}
    assert [packet.flags for packet in scene.sent()] == [SYN]


def test_late_syn_of_an_ended_session_is_not_counted_again() -> None:
    """A duplicate SYN after the end opens nothing."""
    scene = Scene()
    client = scene.client().opens()
    scene.target().refuses()
    client.syn().says(b"abc")
    assert scene.outcomes() == {"target_refused": 1}
    assert scene.engine.counters.ignored["no_session"] == 3


def test_full_session_table_sheds_whole_connections() -> None:
    """Beyond max_sessions a connection is shed and counted; the ones inside go on."""
    scene = Scene(max_sessions=2)
    for port in range(40000, 40005):
        scene.client(port=port).opens().says(b"abc")
    assert scene.outcomes() == {"active": 2, "shed_budget": 3}
    assert scene.engine.counters.ignored["no_session"] == 9


def test_session_over_its_buffer_limit_is_shed() -> None:
    """A session whose target does not keep up ends as shed_memory instead of growing."""
    scene = Scene(session_buffer_bytes=10_000)
    client, _ = scene.opened()
    for _ in range(30):
        client.says(b"x" * 1000)
    assert scene.outcomes() == {"shed_memory": 1}
    assert sum(scene.engine.counters.undelivered.values()) > 0
    assert any(packet.flags & RST for packet in scene.sent())


def test_octets_behind_a_hole_count_for_the_buffer_limit() -> None:
    """A client cannot make copy hold more than the limit behind a hole."""
    scene = Scene(session_buffer_bytes=10_000)
    client, _ = scene.opened()
    for index in range(30):
        client.segment(ACK, 10 + index * 1000, b"x" * 1000)
    held, buffered = scene.engine.gauges()
    assert held + buffered <= 12_000
    assert scene.outcomes() == {"capture_gap": 1}


def test_octets_behind_holes_count_for_the_total_limit() -> None:
    """After a burst of capture drops many connections hold bytes; together they stay within the total limit."""
    scene = Scene(total_buffer_bytes=10_000)
    for port in range(40000, 40010):
        scene.client(port=port).opens().segment(ACK, 10, b"x" * 2000)
    held, buffered = scene.engine.gauges()
    assert held + buffered <= 12_000
    assert scene.outcomes()["shed_memory"] >= 4


def test_all_sessions_together_have_a_limit() -> None:
    """Over the total limit whoever adds bytes is shed."""
    scene = Scene(total_buffer_bytes=10_000)
    for port in range(40000, 40010):
        scene.client(port=port).opens().says(b"x" * 2000).says(b"y" * 100)
    assert scene.outcomes()["shed_memory"] >= 4
    assert scene.engine.gauges()[1] <= 12_200


def test_no_address_left() -> None:
    """When no port of the client network is free, a connection is counted as such and left alone."""
    scene = Scene(addresses=1)
    for host in range(600):
        scene.client(address=bytes((10, 1, host >> 8, host & 255))).opens().says(b"abc")
    refused = scene.outcomes()["no_address"]
    assert 0 < refused == 600 - scene.outcomes()["active"]
    assert scene.engine.counters.ignored["no_session"] == 3 * refused


def test_copies_are_sessions_of_their_own() -> None:
    """With -n 2 each connection is mirrored twice, from different addresses, each at its own pace."""
    scene = Scene(copies=2)
    client = scene.client().opens().says(b"abc")
    first, second = scene.target(0), scene.target(1)
    assert first.mirror != second.mirror
    first.accepts().fin(acked=3)
    assert scene.data().count(b"abc") == 1
    second.accepts()
    assert scene.data().count(b"abc") == 1
    client.fin()
    first.acks(4)
    second.fin(acked=4)
    assert scene.outcomes() == {"mirrored": 2}
    counters = scene.engine.counters
    assert (counters.seen, counters.accepted, counters.queued, counters.delivered) == (2, 3, 6, 6)


def test_one_copy_may_fail_alone() -> None:
    """A refused copy does not disturb its twin."""
    scene = Scene(copies=2)
    client = scene.client().opens().says(b"abc").fin()
    scene.target(0).refuses()
    scene.target(1).accepts().fin(acked=4)
    assert scene.outcomes() == {"target_refused": 1, "mirrored": 1}
    client.says(b"late")
    scene.outcomes()


def test_packets_for_other_ports_and_from_the_client_network_are_left_alone() -> None:
    """Only mapped ports are mirrored, and never the mirror's own sessions."""
    scene = Scene()
    scene.client(address=bytes((192, 168, 60, 5))).opens().says(b"loop")
    assert scene.engine.counters.ignored["from_client_network"] == 4
    assert scene.outcomes() == {}
    assert scene.sent() == []


def test_busy_sessions_leave_no_timers_behind() -> None:
    """Neither the requests of a long session nor ended sessions pile up in the timer queue."""
    scene = Scene()
    client, target = scene.opened()
    for turn in range(2000):
        client.says(b"x", seen=10 * turn)
        target.answers(10, acked=turn + 1)
        scene.passes(0.05)
    for port in range(41000, 41500):
        other = scene.client(port=port).opens()
        peer = scene.target().accepts()
        scene.passes(1.5)
        other.fin()
        peer.fin(acked=1)
    assert scene.outcomes() == {"active": 1, "mirrored": 500}
    assert len(scene.engine._timers) < 200


def test_memory_of_single_octets_counts() -> None:
    """A client that sends one octet after each answer takes more memory than its octets, and is shed for it."""
    scene = Scene(session_buffer_bytes=100_000)
    client, _ = scene.opened()
    for step in range(1000):
        client.says(b"x", seen=step)
    assert scene.outcomes() == {"shed_memory": 1}
    assert scene.events()[0].reason == "the session buffer is full"
    assert scene.engine.counters.pieces == 0


def test_octets_of_one_turn_are_kept_together() -> None:
    """A client that sends a request octet by octet takes little more memory than the octets."""
    scene = Scene(session_buffer_bytes=100_000)
    client = scene.client().opens()
    for _ in range(10_000):
        client.says(b"x")
    assert scene.outcomes() == {"active": 1}
    assert scene.engine.counters.pieces < 10


def test_the_end_of_a_session_says_why() -> None:
    """The event has what people ask: how much each way, how much is missing, and a reason where one is due."""
    scene = Scene(gap_timeout_s=5)
    client, target = scene.opened()
    client.says(b"abc")
    target.answers(20, acked=3)
    client.segment(ACK, 10, b"k", seen=20)
    scene.passes(6)
    (event,) = scene.events()
    assert (event.outcome, event.reason) == ("capture_gap", "7 octets of the client's stream were not captured")
    assert (event.client_bytes, event.delivered_bytes, event.undelivered_bytes) == (3, 3, 0)
    assert (event.response_bytes, event.turns) == (20, 1)


def test_port_reuse_after_a_reset_that_was_not_captured() -> None:
    """A new handshake on the ports of an open connection shows that the old one is over."""
    scene = Scene()
    client, first = scene.opened()
    client.says(b"abc")
    scene.client(isn=2**31).opens().says(b"new")
    second = scene.target().accepts()
    first.acks(3)
    assert scene.outcomes() == {"active": 1, "mirrored": 1}
    second.acks(3)
    assert scene.outcomes() == {"active": 1, "mirrored": 1}


def test_remembered_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is forgotten, and counted again if it still speaks."""
    monkeypatch.setattr(remembered, "MAX_REMEMBERED", 3)
    scene = Scene()
    for port in (1, 2, 3, 4, 1):
        scene.client(port=port).says(b"abc")
    assert scene.outcomes() == {"midstream_skipped": 5}


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))), ids=str)
def test_copies_end_one_by_one(order: tuple[int, ...]) -> None:
    """Whichever ends, the others go on with what the client sends."""
    scene = Scene(copies=4)
    client = scene.client().opens()
    targets = scene.targets()
    for target in targets:
        target.accepts()
    scene.sent()
    left = set(range(4))
    for index in order:
        client.says(b"a")
        sent = scene.sent()
        assert sorted(packet.mirror for packet in sent) == sorted(targets[index].mirror for index in left)
        assert all(packet.payload == b"a" for packet in sent)
        for each in left:
            targets[each].acks(client.position)
        left.discard(index)
        targets[index].rst()
        scene.passes(5)
        scene.sent()
        assert scene.outcomes().get("active", 0) == len(left) == len(list(scene.engine.sessions()))
    assert client.says(b"a") and scene.sent() == []
    assert scene.outcomes() == {"target_reset": 4}
