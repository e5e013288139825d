"""The mirror's TCP endpoint against the RFCs, one rule at a time."""

from __future__ import annotations

from itertools import pairwise

import pytest

from copytool.wire.segment import ACK, FIN, RST, SYN

from .playbook import CLIENT_ISN, PORT, TARGET, Packet, Scene, Target

KILO = b"k" * 1000


def flow(scene: Scene, size: int, **syn_ack: int) -> Target:
    """Return the target of a session that is open and has `size` octets to send; those it sent are not fetched."""
    scene.client().opens().says(b"d" * size)
    scene.sent()
    return scene.target().accepts(**syn_ack)


def sent_at(scene: Scene, seconds: float, step: float = 0.001) -> list[float]:
    """Let time pass; return when packets with payload or SYN or FIN were sent."""
    times = []
    end = scene.now + seconds
    while scene.now < end:
        scene.passes(step)
        times += [scene.now for packet in scene.sent() if packet.payload or packet.flags & (SYN | FIN)]
    return times


def payloads(packets: list[Packet]) -> list[tuple[int, int]]:
    """Return (position, size) of each packet with payload."""
    return [(packet.position, len(packet.payload)) for packet in packets if packet.payload]


# -- handshake ----------------------------------------------------------------------------------------------


def test_handshake_carries_the_clients_options_and_isn() -> None:
    """SYN with the client's own MSS, window scale and ISN, then an acknowledgement of the SYN/ACK."""
    scene = Scene()
    scene.client().syn(mss=1300, window_scale=9)
    (syn,) = scene.sent()
    assert (syn.flags, syn.seq, syn.mss, syn.window_scale) == (SYN, CLIENT_ISN, 1300, 9)
    scene.target().accepts()
    (ack,) = scene.sent()
    assert (ack.flags, ack.position, ack.seen, ack.payload) == (ACK, 0, 0, b"")


def test_client_without_options() -> None:
    """A client that offers no window scale gets none; without MSS the default of 536 is offered."""
    scene = Scene()
    scene.client().segment(SYN, -1)
    (syn,) = scene.sent()
    assert (syn.mss, syn.window_scale) == (536, -1)


def test_data_rides_on_the_handshakes_last_packet() -> None:
    """A request that is there already needs no separate acknowledgement of the SYN/ACK."""
    scene = Scene()
    flow(scene, 100)
    assert payloads(scene.sent()) == [(0, 100)]


def test_syn_is_retransmitted_with_back_off() -> None:
    """Unanswered SYNs go out again after 1, 2 and 4 seconds (RFC 6298)."""
    scene = Scene(syn_retries=3)
    scene.client().syn()
    scene.sent()
    assert sent_at(scene, 20, 0.25) == [1.0, 3.0, 7.0]
    assert scene.outcomes() == {"target_unreachable": 1}


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


def test_refusal_must_acknowledge_the_syn() -> None:
    """An RST that does not acknowledge our SYN is ignored."""
    scene = Scene()
    scene.client().opens()
    target = scene.target()
    target.sends(target.segment(RST))
    target.client_isn += 5
    target.sends(target.segment(RST | ACK))
    assert scene.outcomes() == {"active": 1}
    target.client_isn -= 5
    target.refuses()
    assert scene.outcomes() == {"target_refused": 1}


def test_greeting_in_one_flush_with_the_syn_ack() -> None:
    """A record that merges SYN/ACK and the greeting opens the session and counts the greeting."""
    scene = Scene()
    client = scene.client().opens()
    target = scene.target()
    target.sends(target.segment(SYN | ACK, position=-1), target.segment(ACK, 40))
    client.says(b"hello", seen=40)
    assert scene.data() == b"hello"


# -- segmentation and windows -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "limit", "expected"),
    [(1460, 1460, 1460), (536, 1460, 536), (9000, 1460, 1460), (0, 1460, 536), (10, 1460, 64), (1460, 1000, 1000)],
)
def test_segments_fit_the_targets_mss(offered: int, limit: int, expected: int) -> None:
    """No segment is larger than the target's MSS (536 if it names none) and our own limit."""
    scene = Scene(max_segment_bytes=limit)
    flow(scene, 5000, mss=offered)
    sizes = [size for _, size in payloads(scene.sent())]
    assert max(sizes) == expected


def test_initial_window_is_ten_segments() -> None:
    """Slow start begins with ten segments (RFC 6928) and grows with acknowledgements."""
    scene = Scene()
    target = flow(scene, 60_000, mss=1000)
    assert len(payloads(scene.sent())) == 10
    target.acks(10_000)
    assert len(payloads(scene.sent())) == 20


def test_nothing_goes_beyond_the_targets_window() -> None:
    """Flow control: at most the window is in flight, and more as it moves."""
    scene = Scene()
    scene.client().opens().says(b"d" * 20_000)
    target = scene.target()
    target.window = 3000
    target.accepts(mss=1000)
    assert scene.sent()[-1].end == 3000
    target.acks(1000, window=3000 >> 7)
    target.acks(3000, window=40)
    assert scene.sent()[-1].end <= 3000 + (40 << 7)


def test_window_scale_needs_both_sides() -> None:
    """Without the option in the SYN/ACK windows are read as they stand."""
    scene = Scene()
    scene.client().opens().says(b"d" * 20_000)
    target = scene.target()
    target.window = 1000
    target.accepts(mss=1000, window_scale=-1).acks(1000, window=1000)
    assert scene.sent()[-1].end == 2000


def test_no_silly_segments() -> None:
    """A window that opens by a few octets is left alone until it is worth it or time has passed."""
    scene = Scene()
    scene.client().opens().says(b"d" * 20_000)
    target = scene.target()
    target.window = 4000
    target.accepts(mss=1000, window_scale=-1)
    scene.sent()
    target.acks(4000, window=50)
    assert payloads(scene.sent()) == []
    scene.passes(1)
    assert payloads(scene.sent())[0] == (4000, 50)


def test_zero_window_is_probed_and_resumed() -> None:
    """A closed window is probed with one octet, less and less often; when it opens everything goes."""
    scene = Scene()
    target = flow(scene, 5000, mss=1000, window_scale=-1)
    scene.sent()
    target.acks(1000, window=0)
    scene.passes(0)
    times = sent_at(scene, 5)
    assert len(times) >= 3
    assert times[2] - times[1] > (times[1] - times[0]) * 1.5
    target.acks(1000, window=0)
    target.acks(1000, window=60_000)
    assert {position for position, _ in payloads(scene.sent())} == {1000, 2000, 3000, 4000}


def test_closed_window_is_survived_for_days() -> None:
    """A target that answers every probe with a closed window is slow, not dead, for as long as it likes."""
    scene = Scene(idle_timeout_s=7200)
    target = flow(scene, 5000, mss=1000)
    target.acks(1000, window=0)
    for _ in range(3 * 24 * 60):
        scene.passes(60)
        target.acks(1000, window=0)
    assert scene.outcomes() == {"active": 1}
    assert 2 * 24 * 60 < scene.engine.counters.sender.packets < 5 * 24 * 60


def test_acknowledgements_are_acceptable_while_the_window_is_closed() -> None:
    """An ACK sent behind a window probe lies inside the target's window, or the target would discard it."""
    scene = Scene()
    target = flow(scene, 5000, mss=1000)
    target.acks(1000, window=0)
    scene.passes(1)
    assert payloads(scene.sent())[-1] == (1000, 1)
    target.answers(3000)
    target.answers(3000)
    scene.passes(0.02)
    acks = [packet for packet in scene.sent() if not packet.payload]
    assert acks[-1].seen == 6000
    assert {packet.position for packet in acks} == {1000}


# -- loss ---------------------------------------------------------------------------------------------------


def test_retransmission_backs_off() -> None:
    """Each time-out doubles the next, from a base of at least 200 ms."""
    scene = Scene(data_retries=4)
    client, _ = scene.opened()
    client.says(b"abc")
    scene.sent()
    times = sent_at(scene, 10)
    gaps = [round(later - earlier, 2) for earlier, later in pairwise(times)]
    assert len(times) == 4
    assert gaps == [0.4, 0.8, 1.6]
    assert scene.outcomes() == {"target_stalled": 1}


def test_everything_behind_a_time_out_is_sent_again() -> None:
    """After a time-out the acknowledgement of the first segment brings the next ones, without further time-outs."""
    scene = Scene()
    target = lose_first(scene)
    scene.passes(0.25)
    assert payloads(scene.sent()) == [(0, 1000)]
    target.acks(1000)
    assert payloads(scene.sent()) == [(1000, 1000), (2000, 1000)]


def test_round_trips_of_retransmissions_are_not_measured() -> None:
    """Karn's rule: an acknowledgement of something sent twice says nothing about the round trip."""
    scene = Scene()
    client, target = scene.opened()
    (session,) = scene.engine.sessions()
    client.says(b"abc")
    scene.passes(0.5)
    before = session.sender.rtt.smoothed_s
    target.acks(3)
    assert session.sender.rtt.smoothed_s == before
    client.says(b"def")
    scene.passes(0.05)
    target.acks(6)
    assert session.sender.rtt.smoothed_s != before


def lose_first(scene: Scene, segments: int = 6) -> Target:
    """Return a target that will miss the first of several segments in flight."""
    target = flow(scene, segments * 1000, mss=1000)
    assert len(payloads(scene.sent())) == segments
    return target.acks(0)  # tells the scaled window, which the SYN/ACK cannot


def test_three_duplicate_acknowledgements_retransmit() -> None:
    """Fast retransmit (RFC 5681): the third duplicate sends the missing segment, without a time-out."""
    scene = Scene()
    target = lose_first(scene)
    target.acks(0).acks(0)
    assert payloads(scene.sent()) == []
    target.acks(0)
    assert payloads(scene.sent()) == [(0, 1000)]
    target.acks(0)
    assert (0, 1000) not in payloads(scene.sent())
    target.acks(6000)
    scene.passes(60)
    assert scene.engine.counters.sender.retransmissions == 1


def test_duplicates_in_one_flush_retransmit() -> None:
    """Duplicates that intercept merged into one record count like those that came singly."""
    scene = Scene()
    target = lose_first(scene)
    target.sends(*[target.segment(ACK) for _ in range(3)])
    assert payloads(scene.sent()) == [(0, 1000)]


def test_duplicates_merged_with_the_acknowledgement_they_repeat() -> None:
    """An advance and three repetitions of it in one record: the loss behind the advance is repaired at once."""
    scene = Scene()
    target = lose_first(scene)
    target.acked = 2000
    target.sends(*[target.segment(ACK) for _ in range(4)])
    assert payloads(scene.sent()) == [(2000, 1000)]


def test_window_updates_are_no_duplicates() -> None:
    """The same acknowledgement with another window is an update, not a sign of loss."""
    scene = Scene()
    target = lose_first(scene)
    for window in (60_000, 50_000, 40_000, 30_000, 20_000):
        target.acks(0, window=window)
    assert payloads(scene.sent()) == []


def test_partial_acknowledgement_repairs_the_next_hole() -> None:
    """NewReno (RFC 6582): in recovery each partial acknowledgement retransmits one more segment."""
    scene = Scene()
    target = lose_first(scene)
    target.acks(0).acks(0).acks(0)
    scene.sent()
    target.acks(3000)
    assert (3000, 1000) in payloads(scene.sent())


def test_fin_is_retransmitted() -> None:
    """A lost FIN is sent again, alone."""
    scene = Scene()
    client, target = scene.opened()
    client.says(b"abc")
    target.acks(3)
    client.fin()
    scene.sent()
    scene.passes(0.5)
    packets = scene.sent()
    assert packets and all(packet.flags == FIN | ACK and packet.position == 3 for packet in packets)
    target.fin(acked=4)
    assert scene.outcomes() == {"mirrored": 1}


def test_fin_rides_on_the_last_segment() -> None:
    """FIN and data that are ready together share a packet."""
    scene = Scene()
    scene.client().opens().says(b"abc").fin()
    scene.sent()
    scene.target().accepts()
    (packet,) = scene.sent()
    assert (packet.payload, packet.flags & FIN) == (b"abc", FIN)


# -- what the target says -----------------------------------------------------------------------------------


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
    assert session.sender.delivered == 0
    target.acks(3)
    assert session.sender.delivered == 3
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
    assert scene.outcomes() == {"target_reset": 1}


def test_reset_at_the_number_we_acknowledged_although_newer_data_came() -> None:
    """A peer that lost our newest acknowledgement resets where our last one was."""
    scene = Scene()
    _, target = scene.opened()
    target.answers(100)
    scene.passes(0.02)
    target.rst()
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


def test_packets_go_to_the_target_only() -> None:
    """Every packet is from the session's mirror address to its target."""
    scene = Scene()
    _, target = scene.opened()
    (session,) = scene.engine.sessions()
    assert session.key == (*target.mirror, TARGET, PORT)
