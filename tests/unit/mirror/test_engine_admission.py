"""What the engine mirrors may change while it runs, and may be nothing at all."""

from __future__ import annotations

from copytool.link.records import ResponseRecord
from copytool.mirror.mapping import Sampler
from copytool.wire.segment import ACK, PSH

from .playbook import CLIENT, Scene

INSIDE = next(port for port in range(40000, 60000) if Sampler(10).chooses(CLIENT, port))
OUTSIDE = next(port for port in range(40000, 60000) if not Sampler(10).chooses(CLIENT, port))


def test_a_dry_run_counts_connections_and_their_octets() -> None:
    """Nothing is sent, with and without a link, and not even to a target that speaks to a session nobody knows."""
    for feedback in (False, True):
        scene = Scene(feedback=feedback, dry_run=True)
        scene.client().opens().says(b"abc").says(b"def")
        scene.client(port=40001).opens()
        assert scene.outcomes() == {"dry_run": 2}
        assert scene.engine.counters.ignored["dry_run"] == 6
        other = Scene()
        other.opened()
        other.target().answers(5)
        stray = other.target().segment(ACK | PSH, 10)
        scene.engine.receive_response(ResponseRecord.of(stray), scene.now)
        assert scene.engine.counters.unknown_responses == 1
        assert scene.sent() == []


def test_what_is_left_out_of_a_dry_run_is_told_apart() -> None:
    """So are pauses: they say what a real copy would do."""
    scene = Scene(dry_run=True, ratio_percent=10)
    scene.client(port=OUTSIDE).opens()
    scene.client(port=INSIDE).opens()
    scene.engine.admission.paused = True
    scene.client(port=INSIDE, isn=77_000).opens()
    assert scene.outcomes() == {"sampled_out": 1, "dry_run": 1, "paused": 1}


def test_syns_that_are_left_out_can_be_forgotten() -> None:
    """Their connections then count as open before; the others' handshakes go on."""
    scene = Scene(ratio_percent=10)
    outside = scene.client(port=OUTSIDE).syn()
    inside = scene.client(port=INSIDE).syn()
    scene.engine.forget_left_out()
    scene.engine.admission.set_ratio(100)
    outside.segment(ACK | PSH, 50, b"abc")
    inside.confirms()
    assert scene.outcomes() == {"midstream_skipped": 1, "active": 1}


def test_open_sessions_outside_of_a_lower_share_are_found() -> None:
    """Among connections from before the change only, which are the first in the table."""
    scene = Scene()
    scene.client(port=INSIDE).opens()
    assert not scene.engine.is_any_left_out(scene.now)
    scene.passes(1)
    scene.client(port=OUTSIDE).opens()
    assert not scene.engine.is_any_left_out(scene.now)
    scene.engine.admission.set_ratio(10)
    assert scene.engine.is_any_left_out(scene.now)
    assert not scene.engine.is_any_left_out(scene.now - 0.5), "it came later"
    assert scene.engine.admission.ratio_percent == 10


def test_the_last_session_outside_of_a_lower_share_ends() -> None:
    """Then nothing needs to be shown of what is left out."""
    scene = Scene()
    client = scene.client(port=OUTSIDE).opens()
    scene.target().accepts()
    scene.client(port=INSIDE).opens()
    scene.engine.admission.set_ratio(10)
    client.rst()
    scene.passes(0.1)
    assert not scene.engine.is_any_left_out(scene.now)
