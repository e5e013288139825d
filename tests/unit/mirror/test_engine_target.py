"""The engine when the target refuses, resets, stalls, closes early or talks about unknown sessions."""

from __future__ import annotations

from copytool.link.records import RECORD_SIZE, decode_records
from copytool.mirror.mapping import ClientNetwork
from copytool.mirror.timers import NEVER
from copytool.wire.segment import ACK, RST, SYN

from .playbook import Scene


def test_target_refuses() -> None:
    """RST to the SYN: target_refused, and the client's bytes are accounted for."""
    scene = Scene()
    scene.client().opens().says(b"abc")
    scene.target().refuses()
    assert scene.outcomes() == {"target_refused": 1}
    assert scene.engine.counters.undelivered["target_refused"] == 3


def test_target_never_answers() -> None:
    """No answer to any SYN: target_unreachable."""
    scene = Scene(syn_retries=3)
    scene.client().opens()
    scene.passes(600)
    assert scene.outcomes() == {"target_unreachable": 1}
    assert [packet.flags for packet in scene.sent()].count(SYN) == 4


def test_target_stops_acknowledging() -> None:
    """No acknowledgement of data: target_stalled, with an RST in case it still listens."""
    scene = Scene(data_retries=3)
    client, _ = scene.opened()
    client.says(b"abc")
    scene.passes(600)
    assert scene.outcomes() == {"target_stalled": 1}
    packets = scene.sent()
    assert [packet.payload for packet in packets].count(b"abc") == 4
    assert packets[-1].flags & RST


def test_target_resets() -> None:
    """An RST in an open session: target_reset, at once if anything was undelivered or online has answered more."""
    for acked, seen in ((0, 0), (3, 10)):
        scene = Scene()
        client, target = scene.opened()
        client.says(b"abc")
        target.acks(acked)
        client.segment(ACK, 3, seen=seen)
        target.rst()
        assert scene.outcomes() == {"target_reset": 1}
        assert scene.engine.counters.undelivered["target_reset"] == 3 - acked


def test_target_reset_instead_of_an_answer_is_not_mirrored() -> None:
    """A target that crashes where online answered has not seen the session close alike."""
    scene = Scene()
    client, target = scene.opened()
    client.says(b"abc").fin(seen=100)
    target.acks(3).rst()
    assert scene.outcomes() == {"target_reset": 1}


def test_target_closes_early() -> None:
    """A target that closes and then resets what the client goes on to send: target_closed_early."""
    scene = Scene()
    client, target = scene.opened()
    target.fin()
    client.says(b"abc")
    target.rst()
    assert scene.outcomes() == {"target_closed_early": 1}


def test_reset_after_everything_was_delivered_is_mirrored() -> None:
    """A server that answers the client's FIN with RST has read everything before."""
    scene = Scene()
    client, target = scene.opened()
    client.says(b"abc").fin()
    target.acks(3).rst()
    assert scene.outcomes() == {"mirrored": 1}
    assert scene.engine.counters.delivered == 3


def test_reset_in_one_flush_with_the_last_acknowledgement_is_mirrored() -> None:
    """Whether ACK and RST arrive in one record or two makes no difference."""
    scene = Scene()
    client, target = scene.opened()
    client.says(b"abc").fin()
    target.acked = 3
    target.sends(target.segment(ACK), target.segment(RST))
    assert scene.outcomes() == {"mirrored": 1}
    assert scene.engine.counters.delivered == 3


def test_idle_session_is_given_up() -> None:
    """Silence on both sides for the idle time-out ends a session."""
    scene = Scene(idle_timeout_s=100)
    client, target = scene.opened()
    scene.passes(99)
    client.says(b"abc")
    target.acks(3)
    scene.passes(99)
    assert scene.outcomes() == {"active": 1}
    scene.passes(2)
    assert scene.outcomes() == {"idle_timeout": 1}
    assert scene.sent()[-1].flags & RST


def test_keep_alives_of_the_target_do_not_put_off_the_idle_time_out() -> None:
    """They ask whether anybody is there, and nobody is."""
    scene = Scene(idle_timeout_s=7200)
    _, target = scene.opened()
    for _ in range(8):
        scene.passes(1000)
        target.sends(target.segment(ACK, position=-1))
    assert scene.outcomes() == {"idle_timeout": 1}


def test_a_closed_window_that_nobody_waits_behind_is_given_up() -> None:
    """The client has gone, and the target answers probes for ever and reads nothing."""
    scene = Scene(idle_timeout_s=7200)
    client, target = scene.opened()
    client.says(b"abc").fin()
    end = scene.now + 7300
    while scene.now < end:
        scene.passes(10)
        if scene.sent():
            target.acks(0, window=0)
    assert scene.outcomes() == {"idle_timeout": 1}


def test_target_that_never_closes_is_waited_for_only_so_long() -> None:
    """Everything delivered and the FIN acknowledged: after the close time-out the session counts as mirrored."""
    scene = Scene(close_timeout_s=60)
    scene.half_closed()
    scene.passes(59)
    assert scene.outcomes() == {"active": 1}
    scene.passes(2)
    assert scene.outcomes() == {"mirrored": 1}


def test_long_response_after_half_close_is_not_cut_off() -> None:
    """The close time-out counts from the target's last sign of life, not from the client's FIN."""
    scene = Scene(close_timeout_s=60)
    _, target = scene.half_closed()
    for _ in range(10):
        scene.passes(30)
        target.answers(1000)
    assert scene.outcomes() == {"active": 1}
    target.fin()
    assert scene.outcomes() == {"mirrored": 1}


def test_shut_down_resets_every_session() -> None:
    """When copy stops, the target learns that each session is over."""
    scene = Scene()
    for port in range(40000, 40003):
        scene.client(port=port).opens().says(b"abc")
        scene.target().accepts()
    scene.sent()
    scene.engine.shut_down(scene.now)
    assert scene.outcomes() == {"aborted": 3}
    assert [packet.flags & RST for packet in scene.sent()] == [RST] * 3
    scene.passes(1e6)
    assert scene.engine.next_timer() == NEVER


def test_response_for_an_unknown_session_is_reset_at_its_number() -> None:
    """Sessions of a copy that was killed are closed at the target, exactly where it expects it."""
    old = Scene()
    client, target = old.opened()
    client.says(b"abc")
    target.acked = 3
    scene = Scene()
    target.scene = scene
    target.answers(10)
    (packet,) = scene.sent()
    assert packet.flags == RST
    assert packet.seq == 1000 + 1 + 3
    assert scene.engine.counters.unknown_responses == 1
    target.rst()
    assert scene.sent() == []


def test_records_that_mix_address_families_send_nothing() -> None:
    """A record cannot make copy send to an address that is no target's."""
    scene = Scene()
    fields = b"\xfd" + b"\0" * 15, b"\0" * 10 + b"\xff\xff" + bytes((192, 168, 50, 101))
    body = b"".join(fields) + (1).to_bytes(2, "big") + (1025).to_bytes(2, "big")
    body = bytearray(body.ljust(RECORD_SIZE, b"\0"))
    body[RECORD_SIZE - 4] = ACK
    scene.engine._network = ClientNetwork([(b"\xfd" + b"\0" * 15, 9), (bytes((192, 168, 60, 1)), 9)])
    for record in decode_records(bytes(body)):
        scene.engine.receive_response(record, 0.0)
    assert scene.engine.packets_to_send(0.0) == []


def test_a_session_whose_last_answer_was_lost_ends_when_it_is_repeated() -> None:
    """The target's FIN does not reach intercept, its acknowledgements do: it is not taken for acknowledged."""
    scene = Scene()
    client, target = scene.opened()
    client.says(b"abc").fin()
    target.acked, target.answered = 4, 1
    target.sends(target.segment(ACK))
    assert scene.outcomes() == {"active": 1}
    assert scene.sent()[-1].seen == 0
    target.answered = 0
    target.fin()
    assert scene.outcomes() == {"mirrored": 1}
