"""The mirror's TCP endpoint and what the target says: acknowledgements, responses, resets."""

from __future__ import annotations

import pytest

from copytool.link.records import ResponseRecord
from copytool.wire.segment import ACK, RST, SYN

from .playbook import CLIENT_ISN, Scene


def test_stale_connection_at_the_target_is_reset_first() -> None:
    """A target that acknowledges something else has an older connection: reset it, then open (RFC 9293, 3.10.7.3)."""
    scene = Scene()
    scene.client().opens()
    target = scene.target()
    scene.sent()
    target.client_isn += 777_777
    target.sends(target.segment(ACK))
    (reset,) = scene.sent()
    assert (reset.flags, reset.seq) == (RST, CLIENT_ISN + 777_777 + 1)
    scene.passes(0.02)
    assert [packet.flags for packet in scene.sent()] == [SYN]


def test_acknowledgements_of_responses() -> None:
    """One response segment is acknowledged a little later, two at once, a FIN at once."""
    scene = Scene(delayed_ack_s=0.01)
    _, target = scene.opened()
    target.answers(100)
    assert scene.sent() == []
    scene.passes(0.011)
    assert [packet.seen for packet in scene.sent()] == [100]
    target.sends(target.segment(ACK, 100), target.segment(ACK, 100, position=200))
    target.answered = 300
    assert [packet.seen for packet in scene.sent()] == [300]
    target.fin()
    assert [packet.seen for packet in scene.sent()] == [301]


def test_acknowledgement_rides_on_the_next_request() -> None:
    """A request that follows the response soon saves the acknowledgement."""
    scene = Scene()
    client, target = scene.opened()
    client.says(b"one")
    target.answers(100, acked=3)
    client.says(b"two", seen=100)
    scene.passes(0.1)
    packets = scene.sent()
    assert [packet.payload for packet in packets] == [b"one", b"two"]
    assert packets[-1].seen == 100


def test_lost_response_packets_do_not_matter() -> None:
    """Of responses only the newest end counts: intercept may have missed what came before."""
    scene = Scene()
    _, target = scene.opened()
    target.answered = 9000
    target.answers(1000)
    scene.passes(0.02)
    assert scene.sent()[-1].seen == 10_000


def test_retransmitted_response_is_acknowledged_again() -> None:
    """A target that repeats itself has not got our acknowledgement."""
    scene = Scene()
    _, target = scene.opened()
    target.answers(100)
    scene.passes(0.02)
    scene.sent()
    target.answered = 0
    target.answers(100)
    assert [packet.seen for packet in scene.sent()] == [100]


def test_keep_alive_probe_is_answered() -> None:
    """A target that asks whether we are there is told so."""
    scene = Scene()
    _, target = scene.opened()
    target.sends(target.segment(ACK, position=-1))
    assert [packet.flags for packet in scene.sent()] == [ACK]


@pytest.mark.parametrize("acked", [4, 70_000, -1])
def test_acknowledgement_of_what_was_not_sent_is_ignored(acked: int) -> None:
    """Numbers outside what is in flight change nothing."""
    scene = Scene()
    client, target = scene.opened()
    client.says(b"abc")
    target.acks(acked)
    (session,) = scene.engine.sessions()
    assert session.wake().sender.delivered == 0
    target.acks(3)
    assert session.wake().sender.delivered == 3
    assert scene.outcomes() == {"active": 1}


@pytest.mark.parametrize("offset", [1, 100, 60_000])
def test_reset_off_the_mark_is_challenged(offset: int) -> None:
    """RFC 5961: an RST inside the window, but not at its edge, gets an ACK that lets a true peer correct itself."""
    scene = Scene()
    _, target = scene.opened()
    target.rst(offset)
    assert scene.outcomes() == {"active": 1}
    assert scene.engine.counters.sender.unacceptable == 1
    assert [packet.flags for packet in scene.sent()] == [ACK]


def test_a_syn_ack_of_another_connection_is_challenged() -> None:
    """RFC 5961, section 4.2: it says nothing of this one, whatever its number; the true one may come again."""
    scene = Scene()
    client, target = scene.opened()
    target.sends(target.segment(SYN | ACK, position=-1))
    assert scene.engine.counters.sender.unacceptable == 0
    scene.sent()
    target.sends(target.segment(SYN | ACK, position=100_000_000))
    assert scene.engine.counters.sender.unacceptable == 1
    assert [(packet.flags, packet.seen) for packet in scene.sent()] == [(ACK, 0)]
    client.says(b"abc")
    target.answers(10, acked=3)
    assert next(scene.engine.sessions()).wake().sender.responses.received == 10


@pytest.mark.parametrize("offset", [-1, -1000, (1 << 30) + 1])
def test_reset_outside_the_window_is_dropped(offset: int) -> None:
    """An RST outside the window gets no answer."""
    scene = Scene()
    _, target = scene.opened()
    target.rst(offset)
    assert scene.outcomes() == {"active": 1}
    assert scene.engine.counters.sender.unacceptable == 1
    assert scene.sent() == []


def test_reset_behind_response_data_in_one_flush() -> None:
    """A record that merges a response and the RST behind it closes the session."""
    scene = Scene()
    _, target = scene.opened()
    target.sends(target.segment(ACK, 100), target.segment(RST, position=100))
    scene.passes(3)
    assert scene.outcomes() == {"target_reset": 1}


def test_reset_at_the_number_we_acknowledged_although_newer_data_came() -> None:
    """A peer that lost our newest acknowledgement resets where our last one was."""
    scene = Scene()
    _, target = scene.opened()
    target.answers(100)
    scene.passes(0.02)
    target.rst()
    scene.passes(3)
    assert scene.outcomes() == {"target_reset": 1}


def test_abort_resets_where_the_target_expects_it() -> None:
    """A session that ends by itself leaves an RST that a target at rest accepts."""
    scene = Scene()
    client, target = scene.opened()
    client.says(b"abc")
    target.acks(3)
    scene.sent()
    scene.engine.shut_down(scene.now)
    (packet,) = scene.sent()
    assert (packet.flags & RST, packet.position) == (RST, 3)


def test_impossible_responses_change_nothing() -> None:
    """A number beyond any window, and a segment without acknowledgement, are counted or ignored."""
    scene = Scene()
    client, target = scene.opened()
    client.says(b"abc")
    target.sends(target.segment(ACK, position=2**30 + 10))
    target.sends(target.segment(0))
    assert scene.engine.counters.sender.unacceptable == 1
    target.answers(10, acked=3)
    assert scene.engine.counters.delivered == 3


def test_a_reset_that_acknowledges_too_much_delivers_nothing() -> None:
    """Its acknowledgement is not believed."""
    scene = Scene()
    client, target = scene.opened()
    client.says(b"abc")
    target.acked = 100
    target.sends(target.segment(RST | ACK))
    assert scene.outcomes() == {"target_reset": 1}
    assert scene.engine.counters.delivered == 0


def test_what_comes_with_a_reset_in_one_batch_is_ignored() -> None:
    """Records that follow the one that closed the session change nothing."""
    scene = Scene()
    client, target = scene.opened()
    client.says(b"abc")
    scene.sent()
    for segment in (target.segment(RST), target.segment(ACK, 10)):
        scene.engine.receive_response(ResponseRecord.of(segment), scene.now)
    scene.collect()
    assert scene.outcomes() == {"target_reset": 1}
    assert scene.events()[0].response_bytes == 0
