"""The mirror's TCP endpoint against the RFCs, one rule at a time."""

from __future__ import annotations

import pytest

from copytool.wire.segment import ACK, FIN, RST, SYN

from .playbook import CLIENT_ISN, PORT, TARGET, Scene, flow, payloads, sent_at

# -- handshake ----------------------------------------------------------------------------------------------


def test_handshake_carries_the_clients_options_and_isn() -> None:
    """SYN with the client's own MSS, window scale and ISN, then an acknowledgement of the SYN/ACK."""
    scene = Scene()
    scene.client().syn(mss=1300, window_scale=9).confirms()
    (syn,) = scene.sent()
    assert (syn.flags, syn.seq, syn.mss, syn.window_scale) == (SYN, CLIENT_ISN, 1300, 9)
    scene.target().accepts()
    (ack,) = scene.sent()
    assert (ack.flags, ack.position, ack.seen, ack.payload) == (ACK, 0, 0, b"")


def test_client_without_options() -> None:
    """A client that offers no window scale gets none; without MSS the default of 536 is offered."""
    scene = Scene()
    scene.client().segment(SYN, -1).confirms()
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
    scene.client().opens()
    scene.sent()
    assert sent_at(scene, 20, 0.25) == [1.0, 3.0, 7.0]
    assert scene.outcomes() == {"target_unreachable": 1}


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
    scene = Scene(mtu_bytes=limit + 40)
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


def test_fin_rides_on_the_last_segment() -> None:
    """FIN and data that are ready together share a packet."""
    scene = Scene()
    scene.client().opens().says(b"abc").fin()
    scene.sent()
    scene.target().accepts()
    (packet,) = scene.sent()
    assert (packet.payload, packet.flags & FIN) == (b"abc", FIN)


def test_packets_go_to_the_target_only() -> None:
    """Every packet is from the session's mirror address to its target."""
    scene = Scene()
    _, target = scene.opened()
    (session,) = scene.engine.sessions()
    assert session.key == (*target.mirror, TARGET, PORT)


def test_a_small_window_from_the_beginning() -> None:
    """Half of the largest window seen is worth a segment."""
    scene = Scene()
    scene.client().opens().says(b"d" * 2000)
    target = scene.target()
    target.window = 1000
    target.accepts()
    assert payloads(scene.sent()) == [(0, 1000)]
    target.acks(1000)
    assert payloads(scene.sent()) == [(1000, 1000)]


def test_an_answer_to_the_syn_that_is_neither_syn_nor_rst_opens_nothing() -> None:
    """A bare acknowledgement of our SYN is not the target's (RFC 9293, section 3.10.7.3)."""
    scene = Scene()
    scene.client().opens()
    target = scene.target()
    target.acks(0)
    scene.sent()
    scene.passes(1.1)
    assert [packet.flags for packet in scene.sent()] == [SYN], "it is sent again"
    target.accepts()
    assert scene.outcomes() == {"active": 1}
    assert next(scene.engine.sessions()).wake().sender.rtt.smoothed_s == 0.0, "nobody knows which SYN was answered"


def test_timers_of_a_closed_sender_do_nothing() -> None:
    """A sender whose retransmissions are used up sends nothing more, whatever else was due."""
    scene = Scene(data_retries=1, delayed_ack_s=0.6)
    client, target = scene.opened()
    client.says(b"abc")
    scene.passes(0.1)
    target.answers(10)
    scene.sent()
    scene.passes(30)
    packets = scene.sent()
    assert packets[-1].flags & RST
    assert scene.outcomes() == {"target_stalled": 1}


def test_expedite_without_anything_in_flight() -> None:
    """A link that comes back makes an idle session send nothing."""
    scene = Scene()
    scene.opened()
    scene.engine.set_feedback(False, scene.now)
    scene.engine.set_feedback(True, scene.now)
    scene.passes(1)
    assert scene.sent() == []
