"""The engine, scene by scene: each session gets one outcome, and everything adds up."""

from __future__ import annotations

import pytest

from copytool.link.records import ResponseRecord, encode_record
from copytool.mirror.engine import Engine
from copytool.mirror.outcome import OUTCOMES
from copytool.mirror.sender import Sender
from copytool.mirror.stream import MAX_HELD_PIECES, ClientStream
from copytool.mirror.timers import NEVER
from copytool.wire.segment import ACK, FIN, PSH, RST

from .playbook import CLIENT, Scene


def test_a_session_from_open_to_close() -> None:
    """SYN, request, response, FIN both ways: mirrored, with every number in place."""
    scene = Scene()
    client = scene.client().opens().says(b"request")
    target = scene.target().accepts()
    assert scene.data() == b"request"
    target.answers(100, acked=7)
    client.fin(seen=100)
    assert scene.sent()[-1].flags & FIN
    target.fin(acked=8)
    assert scene.outcomes() == {"mirrored": 1}
    (event,) = scene.events()
    assert event.client == (CLIENT, 40000)
    assert (event.outcome, event.delivered_bytes, event.response_bytes) == ("mirrored", 7, 100)
    assert scene.engine.counters.captured == scene.engine.counters.accepted == 7


def test_the_target_never_gets_a_reset_after_a_clean_close() -> None:
    """Both FINs acknowledged: the session leaves without an RST."""
    scene = Scene()
    client, target = scene.opened()
    client.says(b"x").fin()
    target.fin(acked=2)
    assert not any(packet.flags & RST for packet in scene.sent())
    assert scene.sent() == []


def test_half_close() -> None:
    """A client that closes first still waits for the target's answer and FIN."""
    scene = Scene()
    client, target = scene.opened()
    client.says(b"question").fin()
    target.acks(9)
    assert scene.outcomes() == {"active": 1}
    target.answers(5000).fin()
    assert scene.outcomes() == {"mirrored": 1}


def test_client_fin_waits_for_the_answer_it_had_seen() -> None:
    """A FIN sent after the response is released after the target's response, like data."""
    scene = Scene()
    client, target = scene.opened()
    client.says(b"question").fin(seen=500)
    assert not any(packet.flags & FIN for packet in scene.sent())
    target.answers(500, acked=8)
    assert any(packet.flags & FIN for packet in scene.sent())


def test_client_reset_is_passed_on_after_its_bytes() -> None:
    """A client's RST reaches the target once everything before it was acknowledged, at the right number."""
    scene = Scene()
    client, target = scene.opened()
    client.says(b"abc").rst()
    assert not any(packet.flags & RST for packet in scene.sent())
    target.acks(3)
    (reset,) = [packet for packet in scene.sent() if packet.flags & RST]
    assert reset.position == 3
    assert scene.outcomes() == {"mirrored": 1}


def test_client_reset_before_the_target_accepts() -> None:
    """A client that connects and resets at once is seen so by the target, too."""
    scene = Scene()
    scene.client().opens().rst()
    scene.sent()
    scene.target().accepts()
    assert scene.sent()[-1].flags & RST
    assert scene.outcomes() == {"mirrored": 1}


def test_client_reset_after_its_fin() -> None:
    """An RST behind the FIN, as a client sends that got data after it closed, is no gap in the capture."""
    scene = Scene()
    client, target = scene.opened()
    client.says(b"abc").fin().rst(position=4)
    target.acks(4)
    assert scene.outcomes() == {"mirrored": 1}


def test_client_reset_waits_for_the_answer_it_had_seen() -> None:
    """A client that reads the response and then resets does so at the target: not before the answer."""
    scene = Scene()
    client, target = scene.opened()
    client.says(b"abc").rst(seen=100)
    target.acks(3)
    assert not any(packet.flags & RST for packet in scene.sent())
    assert scene.outcomes() == {"active": 1}
    target.answers(100)
    assert any(packet.flags & RST for packet in scene.sent())
    assert scene.outcomes() == {"mirrored": 1}


@pytest.mark.parametrize("offset", [-1, 1 << 30])
def test_a_reset_outside_the_window_is_ignored(offset: int) -> None:
    """The online host would ignore it (RFC 5961), so it says nothing."""
    scene = Scene()
    client, _ = scene.opened()
    client.says(b"abc").rst(position=3 + offset)
    assert scene.outcomes() == {"active": 1}


@pytest.mark.pure_only(reason="a bug cannot be put into a compiled class")
def test_a_bug_in_one_packet_or_session_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an exception left half done is not mirrored further, and is counted."""
    scene = Scene()
    clients = [scene.client(port=port).opens() for port in (40000, 40001, 40002)]
    for target in scene.targets():
        target.accepts()
    scene.sent()
    other = clients.pop()
    for client, owner, name in zip(clients, (ClientStream, Sender), ("receive", "transmit"), strict=True):
        with monkeypatch.context() as broken:
            broken.setattr(owner, name, lambda *_: 1 // 0)
            with pytest.raises(ZeroDivisionError):
                client.says(b"abc")
        other.says(b"abc")
        assert [packet.payload for packet in scene.sent() if not packet.flags & RST] == [b"abc"]
    outcomes = scene.engine.counters.outcomes
    assert (outcomes["aborted"], outcomes["active"]) == (2, 1)
    assert {event.reason.split(":")[0] for event in scene.events()} == {"internal error"}


def test_hole_becomes_a_capture_gap() -> None:
    """Bytes that nobody captures end the session after the gap time-out; nothing behind them is sent."""
    scene = Scene(gap_timeout_s=30)
    client, target = scene.opened()
    client.says(b"abc").segment(ACK, 10, b"later")
    target.acks(3)
    scene.sent()
    scene.passes(29)
    assert scene.outcomes() == {"active": 1}
    scene.passes(2)
    assert scene.outcomes() == {"capture_gap": 1}
    assert b"later" not in scene.data()
    assert scene.engine.counters.discarded == 5


def test_hole_that_is_filled_is_no_gap() -> None:
    """The client's own retransmission closes a hole in time."""
    scene = Scene(gap_timeout_s=30)
    client, _ = scene.opened()
    client.segment(ACK, 3, b"def")
    scene.passes(20)
    client.segment(ACK, 0, b"abc")
    scene.passes(0)
    assert scene.data() == b"abcdef"
    target = scene.target().acks(6)
    scene.passes(100)
    assert scene.outcomes() == {"active": 1}
    client.segment(ACK | FIN, 6)
    target.fin(acked=7)
    assert scene.outcomes() == {"mirrored": 1}


def test_octets_behind_the_fin_reach_nobody() -> None:
    """What a broken client sends after its FIN is never read online, and never sent to the target."""
    scene = Scene()
    client, target = scene.opened()
    client.says(b"abc").fin()
    client.segment(ACK | PSH, 3, b"xyz").segment(ACK | PSH, 4, b"uvw")
    assert scene.data() == b"abc"
    target.fin(acked=4)
    assert scene.outcomes() == {"mirrored": 1}


def test_every_outcome_word_has_a_meaning() -> None:
    """The words the engine can use are exactly the documented ones."""
    scene = Scene()
    assert set(scene.engine.counters.outcomes) == set(OUTCOMES)


def test_turns_are_requests() -> None:
    """A session of three requests has three turns; its FIN is none."""
    scene = Scene()
    client, target = scene.opened()
    for turn in range(3):
        client.says(b"abc", seen=100 * turn)
        target.answers(100, acked=3 * turn + 3)
    client.fin(seen=300)
    target.fin(acked=10)
    (event,) = scene.events()
    assert event.turns == 3


def test_too_many_pieces_behind_a_hole_are_a_gap() -> None:
    """A client that sends only every second octet makes nothing grow."""
    scene = Scene()
    client, _ = scene.opened()
    for index in range(MAX_HELD_PIECES + 1):
        client.segment(ACK, 1 + index * 2, b"x")
    assert scene.outcomes() == {"capture_gap": 1}
    assert "too many pieces" in scene.events()[0].reason
    assert scene.engine.counters.pieces == 0


def test_what_is_no_tcp_is_counted_and_dropped() -> None:
    """Each packet that is no whole TCP segment has its reason."""
    scene = Scene()
    scene.engine.receive_segment(memoryview(b"\x45" + bytes(10)), 0.0)
    assert scene.engine.counters.dropped["truncated"] == 1
    assert not scene.engine.is_busy()


def test_status_has_the_counters() -> None:
    """What `copytool status --json` shows adds up by itself."""
    scene = Scene()
    client, target = scene.opened()
    client.says(b"abc").segment(ACK, 5, b"f")
    target.acks(2)
    status = scene.engine.status()
    size = status["bytes"]
    assert status["sessions"]["seen"] == sum(status["sessions"]["outcomes"].values()) == 1
    assert size["captured"] == size["accepted"] + size["duplicate"] + size["discarded"] + size["held"] == 4
    assert size["queued"] == size["delivered"] + size["buffered"] == 3
    assert scene.engine.is_busy() is False


def test_an_ended_session_takes_no_further_part() -> None:
    """Whoever still holds it can do no harm."""
    scene = Scene()
    client, target = scene.opened()
    session = next(scene.engine.sessions())
    client.says(b"abc")
    target.rst()
    assert scene.outcomes() == {"target_reset": 1}
    session.advance(scene.now)
    session.handle_timer(scene.now)
    session.end("mirrored", scene.now)
    assert session.next_timer() == NEVER
    assert scene.outcomes() == {"target_reset": 1}


def test_a_hole_that_the_kernel_made_is_not_waited_for() -> None:
    """After drops the client will not send again what is missing; a moment is left for what is only late."""
    scene = Scene()
    client, _ = scene.opened()
    scene.engine.note_drops(scene.now)
    client.says(b"abc")
    client.position += 10
    client.says(b"later")
    for _ in range(9):
        scene.passes(0.1)
        client.says(b"later")
    assert scene.outcomes() == {"active": 1}
    scene.passes(0.2)
    client.says(b"later")
    assert scene.outcomes() == {"capture_gap": 1}
    assert "the kernel dropped packets" in scene.events()[0].reason


@pytest.mark.pure_only(reason="a bug cannot be put into a compiled class")
def test_a_bug_in_one_record_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each record of a frame is tried, and each failure reported."""
    scene = Scene()
    scene.client().opens()
    record = ResponseRecord.of(scene.target().segment(ACK))
    failures: list[int] = []
    monkeypatch.setattr(Engine, "receive_response", lambda *_: 1 // 0)
    scene.engine.receive_records(encode_record(record) * 2, scene.now, lambda: failures.append(1))
    assert failures == [1, 1]


def test_records_are_urgent_while_turns_wait() -> None:
    """A turn that waits for an answer presses, one that was released does not."""
    scene = Scene()
    client, target = scene.opened()
    client.says(b"one")
    assert not scene.engine.is_pressed()
    client.says(b"two", seen=10)
    assert scene.engine.is_pressed()
    target.answers(10, acked=3)
    assert not scene.engine.is_pressed()
