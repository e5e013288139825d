"""The mirror's TCP endpoint when segments are lost: time-outs, duplicates, recovery."""

from __future__ import annotations

from itertools import pairwise

from copytool.wire.segment import ACK, FIN

from .playbook import Scene, Target, flow, payloads, sent_at


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
    before = session.wake().sender.rtt.smoothed_s
    target.acks(3)
    assert session.wake().sender.rtt.smoothed_s == before
    client.says(b"def")
    scene.passes(0.05)
    target.acks(6)
    assert session.wake().sender.rtt.smoothed_s != before


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


def sizes_until_answer(scene: Scene, seconds: float) -> list[int]:
    """Return the sizes of the data segments that are sent while nobody answers."""
    scene.passes(seconds)
    return [size for _, size in payloads(scene.sent())]


def test_segments_that_vanish_are_tried_smaller() -> None:
    """Two time-outs of one size lead to the next smaller common MTU, down to 576."""
    scene = Scene()
    flow(scene, 1460, mss=1460)
    assert sizes_until_answer(scene, 0) == [1460]
    sizes = sizes_until_answer(scene, 60)
    assert [size for size in (1460, 1360, 1240, 984, 536) if size in sizes] == [1460, 1360, 1240, 984, 536]
    assert [size for size in sizes if size > 1460] == []


def test_the_size_that_arrives_is_learnt_for_the_target() -> None:
    """When it happened twice, further sessions use it at once; acknowledgements of small segments teach nothing."""
    scene = Scene()
    small = flow(scene, 200, mss=1460)
    scene.sent()
    small.acks(200)
    target = flow_on(scene, 40001, 6000)
    sizes_until_answer(scene, 1.0)
    target.acks(1360)
    assert {size for _, size in payloads(scene.sent())} == {1460}
    sizes_until_answer(scene, 1.0)
    target.acks(2720)
    scene.sent()
    later = flow_on(scene, 40002, 3000)
    assert [size for _, size in payloads(scene.sent())] == [1360, 1360, 280]
    later.acks(3000)
    assert scene.outcomes() == {"active": 3}


def test_what_this_host_keeps_back_teaches_no_size() -> None:
    """Packets that a bandwidth limit of this host has swallowed say nothing about the path."""
    scene = Scene()
    target = flow(scene, 6000, mss=1460)
    for acked in (1360, 2720, 4080):
        sizes_until_answer(scene, 1.0)
        scene.engine.note_own_drops(scene.now)
        target.acks(acked)
    scene.sent()
    flow_on(scene, 40001, 3000)
    assert [size for _, size in payloads(scene.sent())] == [1460, 1460, 80]


def test_an_outage_of_the_link_teaches_no_size() -> None:
    """Time-outs while nothing can be heard say nothing about the path."""
    scene = Scene(data_retries=20)
    target = flow(scene, 5000, mss=1460)
    target.acks(1000)
    for _ in range(2):
        scene.engine.set_feedback(False, scene.now)
        scene.passes(20)
        scene.engine.set_feedback(True, scene.now)
        scene.passes(0.01)
        target.acks(target.acked + 1000)
    scene.sent()
    flow_on(scene, 40001, 3000)
    assert [size for _, size in payloads(scene.sent())] == [1460, 1460, 80]


def test_a_segment_that_is_small_already_is_not_cut() -> None:
    """A lost request of a few octets says nothing about the path."""
    scene = Scene()
    target = flow(scene, 300, mss=1460)
    assert set(sizes_until_answer(scene, 2)) == {300}
    target.acks(300)
    flow_on(scene, 40001, 2000)
    assert [size for _, size in payloads(scene.sent())] == [1460, 540]


def flow_on(scene: Scene, port: int, size: int) -> Target:
    """Return the target of another session that is open and has sent what it may of `size` octets."""
    scene.client(port=port).opens().says(b"d" * size)
    scene.sent()
    return scene.target().accepts(mss=1460)


def test_a_target_that_answers_but_takes_nothing_is_given_up_late() -> None:
    """It gets three times as many retransmissions as a silent one; a closed window does not count."""
    scene = Scene(data_retries=2)
    client, target = scene.opened()
    client.says(b"abc")
    times = 0
    while "active" in scene.outcomes():
        scene.passes(0.1)
        if scene.data():
            times += 1
            target.acks(0)
        assert scene.now < 600
    assert times == 1 + 3 * 2 + 1, "one of them because of three duplicate acknowledgements"
    assert scene.outcomes() == {"target_stalled": 1}
    assert "sent 7 times" in scene.events()[0].reason


def test_trying_smaller_segments_does_not_shorten_the_patience() -> None:
    """A target that is away for half a minute gets a large segment as surely as a small one."""
    for size in (100, 1460):
        scene = Scene()
        flow(scene, size, mss=1460)
        scene.passes(45)
        assert scene.outcomes() == {"active": 1}
