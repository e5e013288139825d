"""A session at rest falls asleep, and nothing of it is lost or changed by that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copytool.mirror.asleep import Asleep, Awake
from copytool.mirror.session import REST_S, Session
from copytool.mirror.timers import NEVER

from .model_apps import Script
from .playbook import Client, Scene, Target
from .simulator import EFFORT, Conditions, MirrorSimulation
from .test_simulation import ISNS, conditions, outcomes, scripts

PARTS = {
    "sender": lambda awake: awake.sender,
    "buffer": lambda awake: awake.sender._buffer,
    "congestion": lambda awake: awake.sender._congestion,
    "responses": lambda awake: awake.sender.responses,
    "rtt": lambda awake: awake.sender.rtt,
    "segment size": lambda awake: awake.sender._segment_size,
    "window": lambda awake: awake.sender._window,
    "rule": lambda awake: awake.rule,
}
VALUES = (bool, int, float, str, list)
CONFIGURED = {"_delayed_ack_s"}  # the same in all sessions


def at_rest() -> tuple[Scene, Client, Target, Session]:
    """Return a session that has done something, with what belongs to it."""
    scene = Scene()
    client, target = scene.opened()
    client.says(b"one")
    scene.collect()
    target.answers(100, acked=3)
    client.says(b"two", seen=100)
    scene.collect()
    target.answers(50, acked=6)
    scene.passes(0.06)
    scene.sent()
    (session,) = scene.engine.sessions()
    return scene, client, target, session


def values(part: object) -> dict[str, Any]:
    """Return the fields of a part that are its own."""
    fields = {name: getattr(part, name) for name in type(part).__slots__ if name not in CONFIGURED}
    return {name: value for name, value in fields.items() if isinstance(value, VALUES)}


def others(value: Any) -> Iterator[Any]:
    """Yield other values that a field could have."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value + 1, value + 7)
    elif isinstance(value, float):
        yield from (123.0, NEVER)
    elif isinstance(value, str):
        yield "other"
    else:
        yield [1]


@pytest.mark.pure_only(reason="a compiled object does not tell its fields")
@pytest.mark.parametrize("part", PARTS)
def test_no_field_is_forgotten(part: str) -> None:
    """Whatever a field's value is: either the session wakes up with the same, or it does not fall asleep."""
    kept = refused = 0
    _, _, _, session = at_rest()
    assert Asleep().keep(session.wake(), session.turns)
    for name, value in values(PARTS[part](session.wake())).items():
        for other in others(value):
            _, _, _, session = at_rest()
            awake, asleep = session.wake(), Asleep()
            setattr(PARTS[part](awake), name, other)
            if not asleep.keep(awake, session.turns):
                refused += 1
                continue
            kept += 1
            woken = asleep.wake(session._common, session.flow, session.turns)
            for each, find in PARTS.items():
                assert values(find(woken)) == values(find(awake)), f"{part}: {name}, seen in {each}"
    assert kept or refused


@pytest.mark.pure_only(reason="a compiled object does not tell its fields")
def test_what_it_refers_to_is_the_same() -> None:
    """Counters, configuration and habits are shared with all other sessions."""
    _, _, _, session = at_rest()
    awake, asleep = session.wake(), Asleep()
    assert asleep.keep(awake, session.turns)
    woken = asleep.wake(session._common, session.flow, session.turns)

    def shared(parts: Awake) -> list[object]:
        found = [(find(parts), name) for find in PARTS.values() for name in type(find(parts)).__slots__]
        known = {id(find(parts)) for find in PARTS.values()}
        references = [getattr(part, name) for part, name in found]
        return [each for each in references if not isinstance(each, VALUES) and id(each) not in known]

    assert len(shared(awake)) > 5
    assert all(left is right for left, right in zip(shared(woken), shared(awake), strict=True))


def test_silence_puts_a_session_to_sleep_and_anything_wakes_it() -> None:
    """Its next request goes out as if it had never slept."""
    scene, client, target, session = at_rest()
    assert session._awake is not None
    scene.passes(3 * REST_S)
    assert session._awake is None and session._asleep is not None
    assert scene.engine.gauges() == (0, 0)
    client.says(b"three", seen=150)
    (packet,) = scene.sent()
    assert (packet.payload, packet.position, packet.seen) == (b"three", 6, 150)
    assert session._awake is not None and session._asleep is None
    target.answers(10, acked=11)
    scene.passes(3 * REST_S)
    assert session._awake is None
    target.rst()
    scene.passes(5)
    assert session._awake is not None


def test_sessions_with_something_to_do_stay_awake() -> None:
    """What waits for an acknowledgement or an answer is not asleep, however long that takes."""
    scene = Scene()
    client, target = scene.opened()
    (session,) = scene.engine.sessions()
    client.says(b"one")
    scene.passes(1)
    assert not session.rest()
    target.acks(3)
    client.says(b"two", seen=100)
    assert not session.rest()
    scene.passes(1)
    assert session._awake is not None
    target.answers(100, acked=3)
    scene.collect()
    target.answers(1, acked=6)
    scene.passes(1)
    assert session._awake is None
    client.fin(seen=101)
    assert not session.rest()
    assert session._awake is not None


def test_a_link_that_comes_back_wakes_nobody() -> None:
    """A session at rest has nothing to send again; one that was ended is left alone."""
    scene, _, _, session = at_rest()
    assert session.rest() and session.rest()
    scene.engine.set_feedback(False, scene.now)
    scene.engine.set_feedback(True, scene.now)
    assert session._awake is None
    scene.engine.shut_down(scene.now)
    assert scene.outcomes() == {"aborted": 1}
    assert not session.rest()


class SleepySimulation(MirrorSimulation):
    """Sessions fall asleep whenever they can, also between two packets of the same moment."""

    slept = 0

    def _answer_checks(self) -> None:
        super()._answer_checks()
        for session in self.engine.sessions():
            self.slept += session.rest()


def played(simulation: MirrorSimulation, script: Script, isn: int) -> dict[str, Any]:
    """Return all that can be seen of a session, and of how the engine got on."""
    simulation.start_client(script, isn=isn)
    simulation.run()
    apps = [(bytes(app.received), endpoint.state) for endpoint, app in simulation.target.values()]
    carried = simulation._to_target.carried
    return {
        "target": apps,
        "packets": carried,
        "outcomes": outcomes(simulation),
        "status": simulation.engine.status(),
        "ended": simulation.clock.now,
    }


@settings(max_examples=40 * EFFORT)
@given(st.integers(0, 2**32), scripts(), conditions(), ISNS)
def test_sleep_changes_nothing(seed: int, script: Script, conditions: Conditions, isn: int) -> None:
    """The same session, with every packet at the same time, whatever happens to it on the way."""
    sleepy = SleepySimulation(seed, conditions)
    assert played(sleepy, script, isn) == played(MirrorSimulation(seed, conditions), script, isn)


def test_sleepy_sessions_sleep() -> None:
    """Or the test above would say nothing."""
    sleepy = SleepySimulation(1)
    played(sleepy, Script([(10, 30)] * 5, client_pause_s=0.05), 1)
    assert sleepy.slept > 10
