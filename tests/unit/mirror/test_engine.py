"""The engine, scene by scene: each session gets one outcome, and everything adds up."""

from __future__ import annotations

import pytest

from copytool.link.records import RECORD_SIZE, decode_records
from copytool.mirror.mapping import ClientNetwork
from copytool.mirror.outcome import OUTCOMES
from copytool.mirror.timers import NEVER
from copytool.wire.segment import ACK, FIN, PSH, RST, SYN

from .playbook import CLIENT, Scene


class Everything(dict):
    """A session table in which every key is taken."""

    def __contains__(self, key: object) -> bool:
        return True


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
    assert (event.outcome, event.delivered_bytes, event.response_bytes) == ("mirrored", 7, 101)
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


def test_a_reset_beyond_what_was_captured_is_a_gap() -> None:
    """If the client had sent more than was captured, the session cannot be exact."""
    scene = Scene()
    client, _ = scene.opened()
    client.says(b"abc").rst(position=10)
    assert scene.outcomes() == {"capture_gap": 1}


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


def test_sampled_out() -> None:
    """With -r 0 nothing is mirrored; each connection is counted once, its bytes by reason."""
    scene = Scene(ratio_percent=0)
    scene.client().opens().syn().says(b"abc")
    scene.client(port=40001).says(b"de")
    assert scene.outcomes() == {"sampled_out": 2}
    assert scene.engine.counters.ignored["sampled_out"] == 5
    assert scene.sent() == []


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
    scene.client().syn().syn()
    assert scene.outcomes() == {"active": 1}
    assert [packet.flags for packet in scene.sent()] == [SYN]


def test_late_syn_of_an_ended_session_is_not_counted_again() -> None:
    """A duplicate SYN after the end opens nothing."""
    scene = Scene()
    client = scene.client().syn()
    scene.target().refuses()
    client.syn().says(b"abc")
    assert scene.outcomes() == {"target_refused": 1}
    assert scene.engine.counters.ignored["no_session"] == 3


def test_full_session_table_sheds_whole_connections() -> None:
    """Beyond max_sessions a connection is shed and counted; the ones inside go on."""
    scene = Scene(max_sessions=2)
    for port in range(40000, 40005):
        scene.client(port=port).opens().says(b"abc")
    assert scene.outcomes() == {"active": 2, "shed_sessions": 3}
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
    scene.outcomes()


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
    scene.engine._sessions = Everything()
    scene.client(port=40001).opens().says(b"abc")
    assert scene.engine.counters.outcomes["no_address"] == 1
    assert scene.engine.counters.ignored["no_session"] == 3


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
    """An RST in an open session: target_reset."""
    scene = Scene()
    client, target = scene.opened()
    client.says(b"abc")
    target.rst()
    assert scene.outcomes() == {"target_reset": 1}
    assert scene.engine.counters.undelivered["target_reset"] == 3


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


def test_target_that_never_closes_is_waited_for_only_so_long() -> None:
    """Everything delivered and the FIN acknowledged: after the close time-out the session counts as mirrored."""
    scene = Scene(close_timeout_s=60)
    client, target = scene.opened()
    client.says(b"abc").fin()
    target.acks(4)
    scene.passes(59)
    assert scene.outcomes() == {"active": 1}
    scene.passes(2)
    assert scene.outcomes() == {"mirrored": 1}


def test_long_response_after_half_close_is_not_cut_off() -> None:
    """The close time-out counts from the target's last sign of life, not from the client's FIN."""
    scene = Scene(close_timeout_s=60)
    client, target = scene.opened()
    client.says(b"abc").fin()
    target.acks(4)
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


def test_packets_for_other_ports_and_from_the_client_network_are_left_alone() -> None:
    """Only mapped ports are mirrored, and never the mirror's own sessions."""
    scene = Scene()
    scene.client(address=bytes((192, 168, 60, 5))).opens().says(b"loop")
    assert scene.engine.counters.ignored["from_client_network"] == 4
    assert scene.outcomes() == {}
    assert scene.sent() == []


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
