"""What the engine takes in of what was captured: what the kernel of the online host takes in, no more."""

from __future__ import annotations

from copytool.wire.build import build_options, build_segment
from copytool.wire.segment import ACK, FIN, PSH, RST, SYN

from .playbook import CLIENT, CLIENT_ISN, ONLINE, ONLINE_ISN, PORT, WINDOW, Scene
from .test_engine_liveness import answer


def test_a_reset_beyond_what_was_captured_is_a_gap() -> None:
    """If the client had sent more than was captured, and that does not come, the session cannot be exact."""
    scene = Scene(gap_timeout_s=30)
    client, target = scene.opened()
    client.says(b"abc").rst(position=10)
    target.acks(3)
    scene.passes(29)
    assert scene.outcomes() == {"active": 1}
    scene.passes(2)
    assert scene.outcomes() == {"capture_gap": 1}


def test_a_reset_that_overtakes_data_is_ignored() -> None:
    """Online ignores it as well; the reset that counts comes behind the data."""
    scene = Scene()
    client, target = scene.opened()
    client.rst(position=3).says(b"abc")
    target.acks(3)
    scene.passes(60)
    assert scene.outcomes() == {"active": 1}
    client.rst()
    assert scene.outcomes() == {"mirrored": 1}


def test_a_reset_before_a_hole_ends_the_stream_there() -> None:
    """The network lost what is missing: online expected the number of the reset, so it has read nothing behind it."""
    scene = Scene()
    client, target = scene.opened()
    client.says(b"abc").segment(ACK, 10, b"later").rst(position=3)
    target.acks(3)
    assert scene.outcomes() == {"mirrored": 1}
    assert scene.engine.counters.discarded == 5


def test_a_reset_beyond_the_fin_is_ignored() -> None:
    """Online ignores it as well, and no octet can be missing behind a FIN."""
    scene = Scene()
    client, _ = scene.opened()
    client.says(b"abc").fin().rst(position=100)
    scene.passes(40)
    assert scene.outcomes() == {"active": 1}


def test_corrupt_segments_are_dropped() -> None:
    """Online's kernel drops them, and reads what the client sends again; so does copy, unless told of no check."""
    scene = Scene()
    client, _ = scene.opened()
    ends = (CLIENT, ONLINE, 40000, PORT)
    good = build_segment(*ends, CLIENT_ISN + 1, ONLINE_ISN + 1, ACK | PSH, WINDOW, b"", b"bad")
    for index in (14, len(good) - 1):
        corrupt = bytearray(good)
        corrupt[index] ^= 1
        scene.engine.receive_segment(memoryview(bytes(corrupt)), scene.now)
    client.says(b"bad")
    assert scene.data() == b"bad"
    assert scene.engine.counters.dropped["bad_checksum"] == 2


def test_checksums_that_are_not_there_yet_are_not_missed() -> None:
    """A local sender leaves them to the network card: the capture says so."""
    scene = Scene()
    scene.opened()
    packet = build_segment(CLIENT, ONLINE, 40000, PORT, CLIENT_ISN + 1, ONLINE_ISN + 1, ACK | PSH, WINDOW, b"", b"abc")
    scene.engine.receive_segment(memoryview(packet[:36] + bytes(2) + packet[38:]), scene.now, is_checked=True)
    assert scene.data() == b"abc"


def test_after_drops_a_lone_octet_is_not_trusted() -> None:
    """It may be the garbage of a keep-alive probe in the place of an octet that was lost, however late it comes."""
    for late in (False, True):
        scene = Scene()
        client, target = scene.opened()
        client.segment(ACK, 0, b"x")
        assert scene.outcomes() == {"active": 1}
        scene.passes(5).engine.note_drops(scene.now)
        if late:
            target.answers(10)
            scene.passes(2)
            client.segment(ACK, 2, seen=10)
            scene.passes(10)
        client.segment(ACK, 1, b"\0", seen=10)
        assert scene.outcomes() == {"capture_gap": 1}
        assert set(scene.data()) == set(b"x")


def test_a_probe_of_an_octet_that_was_captured_is_harmless() -> None:
    """Whatever its octet, the first copy wins; the number of the FIN has none."""
    for closes in (False, True):
        scene = Scene()
        client, target = scene.opened()
        client.says(b"abc")
        if closes:
            client.fin()
        target.acks(3 + closes)
        scene.passes(10).engine.note_drops(scene.now)
        scene.passes(10)
        client.segment(ACK, 2 + closes, b"\0")
        assert scene.outcomes() == {"active": 1}
        assert scene.data() == b"abc"


def test_nothing_behind_an_accepted_reset_is_read() -> None:
    """Neither new octets nor those that fill a hole: online's connection is gone."""
    scene = Scene()
    client, target = scene.opened()
    client.says(b"abc").segment(ACK | PSH, 5, b"fg").rst(position=3, seen=100)
    client.segment(ACK | PSH, 3, b"de")
    target.answers(100, acked=3)
    assert scene.data() == b"abc"
    assert scene.outcomes() == {"mirrored": 1}


def test_a_forged_reset_is_forgotten_when_the_client_goes_on() -> None:
    """Online challenges a number inside its window and goes on; so does the session, whoever shows it."""
    for client_speaks in (True, False):
        scene = Scene()
        client, target = scene.opened()
        client.says(b"abc").segment(RST, 1463)
        target.acks(3)
        if client_speaks:
            client.says(b"def")
            target.acks(6)
        answer(scene, 31, True)
        assert scene.outcomes() == {"active": 1}


def test_a_reset_at_the_number_of_the_fin_counts() -> None:
    """Some systems send it so, and Linux takes it (tcp_reset_check)."""
    scene = Scene()
    client, _ = scene.half_closed()
    client.rst(position=3)
    assert scene.outcomes() == {"mirrored": 1}


def test_segments_without_ack_are_read_by_nobody() -> None:
    """RFC 9293, section 3.10.7.4: a segment of an open connection without it is dropped, its FIN included."""
    scene = Scene()
    client, _ = scene.opened()
    client.segment(PSH, 0, b"bad").segment(FIN, 0).says(b"good")
    assert scene.data() == b"good"
    assert scene.engine.counters.discarded == 3


def test_a_stray_syn_inside_a_session_changes_nothing() -> None:
    """Online challenges it (RFC 5961, section 4.2); that the client goes on shows that it was none of its own."""
    scene = Scene()
    client, target = scene.opened()
    client.says(b"x" * 1000)
    target.acks(1000)
    client.segment(SYN, 499, options=build_options(1460, 7)).says(b"more")
    assert scene.outcomes() == {"active": 1}
