"""Sessions that sleep: nothing of them is lost, they take little, and nobody notices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from copytool.mirror.asleep import Asleep, Awake
from copytool.mirror.session import REST_S, Session
from copytool.mirror.timers import NEVER
from copytool.wire.segment import ACK

from .playbook import Scene, let_rest

PARTS = (
    "Awake",
    "Sender",
    "SendBuffer",
    "SendWindow",
    "Congestion",
    "SegmentSize",
    "ResponseSide",
    "RttEstimator",
    "ReleaseRule",
)
SHARED = (
    "Sender._config",
    "Sender._counters",
    "Sender._emitter",
    "SegmentSize._path",
    "ResponseSide._delayed_ack_s",
    "ReleaseRule._config",
    "ReleaseRule._counters",
    "ReleaseRule._habits",
)
"""Alike in all sessions to a target."""

EVENT_FIELDS = (
    "client",
    "mirror",
    "outcome",
    "reason",
    "turns",
    "client_bytes",
    "delivered_bytes",
    "undelivered_bytes",
    "response_bytes",
    "duration_s",
)

GIVEN = ("Sender._key",)
"""What the session itself knows."""


def parts_of(part: Any) -> Iterator[tuple[Any, str, str]]:
    """Yield each field of an object and of those it consists of: (object, attribute, name for people)."""
    for name in type(part).__slots__:
        value = getattr(part, name)
        if type(value).__name__ in PARTS:
            yield from parts_of(value)
        else:
            yield part, name, f"{type(part).__name__}.{name}"


def fields(awake: Awake) -> dict[str, Any]:
    """Return the values of all fields."""
    found = list(parts_of(awake))
    values = {name: getattr(part, attribute) for part, attribute, name in found}
    assert len(values) == len(found), "no part is there twice"
    return {name: list(value) if isinstance(value, list) else value for name, value in values.items()}


def another(value: Any) -> Any:
    """Return a value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, float):
        return 17.25 if value == NEVER else value + 0.25
    if isinstance(value, list):
        return [*value, 1]
    if isinstance(value, bytes):
        return value + b"x"
    return value + 1 if isinstance(value, int) else value + "x"


def at_rest() -> Session:
    """Return a session that has answered two requests, the second one with a pause, and rests."""
    scene = Scene()
    client, target = scene.opened()
    client.says(b"first")
    scene.passes(0.03)
    target.answers(700, acked=5)
    client.says(b"second", seen=700)
    scene.passes(0.02)
    target.answers(300, acked=11)
    scene.passes(0.02)
    target.answers(400)
    scene.passes(0.03)
    session = next(scene.engine.sessions())
    session.wake()
    return session


def asleep_and_back(session: Session, awake: Awake, spare: Awake | None = None) -> Awake | None:
    """Return what wakes up of these parts, made from `spare` if there is one, or None if they cannot sleep."""
    asleep = Asleep()
    if not asleep.keep(awake, session.turns):
        return None
    session._common.spares[:] = [spare] if spare else []
    return asleep.wake(session._common, session.flow, session.turns)


in_python = pytest.mark.pure_only(reason="compiled objects show no private fields")


@in_python
def test_each_field_is_kept_or_keeps_from_sleeping() -> None:
    """Whatever a field's value is: it comes back, or the session stays awake. All fields of all parts are looked at."""
    session = at_rest()
    awake = session.wake()
    kept = set()
    for part, attribute, name in parts_of(awake):
        if name in SHARED + GIVEN:
            continue
        before = getattr(part, attribute)
        setattr(part, attribute, another(before))
        changed = fields(awake)
        again = asleep_and_back(session, awake)
        setattr(part, attribute, before)
        if again is not None:
            assert fields(again) == changed, name
            kept.add(name)
    assert len(kept) > 15


@in_python
def test_all_together_comes_back_in_new_parts_and_in_another_sessions() -> None:
    """Nothing is left of the session that had the parts before."""
    session, other = at_rest(), at_rest()
    awake, spare = session.wake(), other.wake()
    before = fields(awake)
    for part, attribute, name in parts_of(spare):
        unchanged = getattr(part, attribute)
        setattr(part, attribute, before[name] if name in SHARED else another(unchanged))
        if name not in GIVEN and asleep_and_back(other, spare) is None:
            setattr(part, attribute, unchanged)
    again = asleep_and_back(session, awake)
    assert again is not None
    assert fields(again) == before
    recycled = asleep_and_back(session, awake, spare)
    assert recycled is spare
    assert fields(recycled) == before
    assert awake.sender._key == session.flow


@in_python
def test_what_is_shared_is_the_sessions_own() -> None:
    """A session that wakes up goes on with its target's habits and path, and the engine's counters."""
    session = at_rest()
    before = fields(session.wake())
    assert session.rest()
    after = fields(session.wake())
    assert [name for name in SHARED if after[name] is not before[name]] == []


def test_a_session_falls_asleep_when_nothing_happens() -> None:
    """It does so soon, without a packet, and whatever comes for it wakes it up."""
    scene = Scene()
    client, target = scene.opened()
    scene.passes(REST_S / 2)
    assert sleeping(scene) == 0, "a session in use has pauses, too"
    scene.sent()
    scene.passes(2 * REST_S)
    assert sleeping(scene) == 1
    client.says(b"abc")
    assert sleeping(scene) == 0
    assert scene.data() == b"abc"
    scene.passes(2 * REST_S)
    assert sleeping(scene) == 0, "the target has not acknowledged it"
    target.answers(5, acked=3)
    scene.passes(3 * REST_S)
    assert sleeping(scene) == 1
    target.answers(5)
    assert sleeping(scene) == 0
    assert scene.outcomes() == {"active": 1}


def sleeping(scene: Scene) -> int:
    """Return how many sessions sleep."""
    return sum([session.is_asleep() for session in scene.engine.sessions()])


def test_who_cannot_sleep_is_asked_again_when_something_happens() -> None:
    """A session that waits for its target's acknowledgement is left alone until that is here."""
    scene = Scene()
    client, target = scene.opened()
    client.says(b"abc")
    scene.passes(REST_S * 2)
    session = next(scene.engine.sessions())
    assert not session.rest()
    assert scene.engine.next_timer() > scene.now + REST_S, "nobody wakes up for it"
    target.acks(3)
    assert scene.engine.next_timer() <= scene.now + REST_S
    scene.passes(REST_S)
    assert session.is_asleep() and session.rest()


def test_a_session_that_closes_stays_awake() -> None:
    """There will be no more than that of it."""
    scene = Scene()
    _, target = scene.half_closed()
    scene.passes(1)
    assert sleeping(scene) == 0
    target.fin()
    assert scene.outcomes() == {"mirrored": 1}


@pytest.mark.parametrize("ending", ["shut_down", "idle", "client_reset", "target_reset"])
def test_sessions_end_in_their_sleep(ending: str) -> None:
    """It is the same end that they would have had awake."""
    ends = []
    for rests in (False, True):
        scene = Scene(idle_timeout_s=100)
        client, target = scene.opened()
        client.says(b"abc")
        target.answers(9, acked=3)
        scene.passes(REST_S / 3)
        if rests:
            assert let_rest(scene.engine) == 1
        if ending == "shut_down":
            scene.engine.shut_down(scene.now)
        elif ending == "idle":
            scene.passes(101)
        elif ending == "client_reset":
            client.rst(seen=9)
        else:
            target.rst()
            scene.passes(5)
        told = [[getattr(event, field) for field in EVENT_FIELDS] for event in scene.events()]
        ends.append((scene.outcomes(), told, scene.sent()))
    assert ends[0] == ends[1]
    assert ends[0][0] != {"active": 1}
    assert len(ends[0][1]) == 1


def test_a_link_that_returns_leaves_sleepers_alone() -> None:
    """They have nothing that could be sent again."""
    scene = Scene()
    scene.opened()
    assert let_rest(scene.engine) == 1
    scene.engine.set_feedback(False, scene.now)
    scene.engine.set_feedback(True, scene.now)
    assert sleeping(scene) == 1 and scene.passes(1).sent() == []


def test_parts_are_used_again_as_far_as_they_were_needed_lately() -> None:
    """A session that wakes up now and then has the parts that it left; where nobody does none are kept."""
    scene = Scene()
    client, _ = scene.opened()
    session = next(scene.engine.sessions())
    parts = []
    for _ in range(4):
        client.segment(ACK, 0)
        parts.append(session.wake())
        scene.passes(2 * REST_S)
        assert session.is_asleep()
    assert parts[0] is not parts[1], "nobody had woken up yet"
    assert parts[1] is parts[2] is parts[3]
    scene.client(port=50_000).opens()
    scene.target().accepts()
    scene.passes(2 * REST_S)
    assert sleeping(scene) == 2
    client.segment(ACK, 0)
    assert session.wake() is not parts[3], "in between nobody did"


def test_large_values_are_kept() -> None:
    """The largest window, segments and congestion window that there can be are as large after a sleep."""
    sent = []
    for rests in (False, True):
        scene = Scene(mtu_bytes=65_535)
        scene.rests = rests
        client = scene.client().syn(mss=65_495, window_scale=14).confirms()
        target = scene.target().accepts(mss=65_535, window_scale=14)
        for _ in range(8):
            for _ in range(20):
                client.says(bytes(60_000))
            while packets := scene.sent():
                target.acks(max([packet.end for packet in packets]))
        for _ in range(80):
            client.says(bytes(60_000))
        sent.append(scene.sent())
    assert sent[0] == sent[1]
    assert sum([len(packet.payload) for packet in sent[0]]) > 4_000_000
