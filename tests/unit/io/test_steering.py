"""Changing what a copy mirrors while it runs."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copytool.errors import ConfigError, HostError
from copytool.io.fleet_steering import FleetSteering
from copytool.io.steering import WIDEN_S, Steering
from copytool.mirror.config import MirrorConfig
from copytool.mirror.mapping import Sampler
from copytool.wire.segment import ACK, PSH

from ..mirror.playbook import CLIENT, Scene


class Steered:
    """A scene whose engine is steered, and the shares that the kernel was told to show."""

    def __init__(self, **config: Any) -> None:
        self.scene = Scene(**config)
        self.shown: list[float] = []
        self.refuses = False
        self.steering = Steering(self.scene.engine, self._show, self.scene.now)
        self.commands = self.steering.commands(lambda: self.scene.now)

    def _show(self, percent: float) -> None:
        if self.refuses:
            raise OSError(12, "Cannot allocate memory")
        self.shown.append(percent)

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Carry out a command."""
        return self.commands[command]({"command": command, **arguments})

    def passes(self, seconds: float) -> None:
        """Time goes by, for the engine and for the steering."""
        end = self.scene.now + seconds
        while (due := self.steering.next_timer()) <= end:
            self.scene.passes(max(due - self.scene.now, 0.0))
            self.steering.handle_timer(self.scene.now)
        self.scene.passes(end - self.scene.now)


def port_chosen(percent: float, chosen: bool) -> int:
    """Return a client port whose connections are in a sample, or are not."""
    return next(port for port in range(40000, 60000) if Sampler(percent).chooses(CLIENT, port) == chosen)


def test_pause_holds_for_new_connections_only() -> None:
    """Open sessions go on; what comes meanwhile is counted as such and stays out after the end of the pause."""
    steered = Steered()
    scene = steered.scene
    client, _target = scene.opened()
    assert steered.ask("pause")["paused"]
    late = scene.client(port=40001).opens().says(b"abc")
    client.says(b"goes on")
    assert scene.data() == b"goes on"
    assert scene.outcomes() == {"active": 1, "paused": 1}
    assert not steered.ask("resume")["paused"]
    late.says(b"def")
    scene.client(port=40002).opens()
    assert scene.outcomes() == {"active": 2, "paused": 1}
    assert scene.engine.counters.ignored["no_session"] == 6


def test_a_lower_ratio_keeps_the_kernel_showing_what_open_sessions_need() -> None:
    """The filter is narrowed when the last session that would be left out by now has ended."""
    steered = Steered()
    scene = steered.scene
    inside, outside = port_chosen(10, chosen=True), port_chosen(10, chosen=False)
    leaver = scene.client(port=outside).opens()
    target = scene.target().accepts()
    scene.client(port=inside).opens()
    scene.target().accepts()
    assert steered.ask("ratio", percent=10)["ratio_percent"] == 10
    leaver.says(b"still mirrored")
    assert b"still mirrored" in scene.data()
    target.acks(len(b"still mirrored"))
    steered.passes(30)
    assert steered.shown == []
    leaver.rst()
    steered.passes(30)
    assert steered.shown == [10]
    assert steered.steering.next_timer() == math.inf
    assert scene.outcomes() == {"active": 1, "mirrored": 1}


def port_between(low: float, high: float) -> int:
    """Return a client port whose connections are in the larger sample only."""
    return next(
        port
        for port in range(40000, 60000)
        if Sampler(high).chooses(CLIENT, port) and not Sampler(low).chooses(CLIENT, port)
    )


def test_a_higher_ratio_widens_the_filter_a_moment_before_it_holds() -> None:
    """If the kernel refuses, nothing changes."""
    steered = Steered(ratio_percent=5)
    port = port_between(5, 50)
    steered.refuses = True
    with pytest.raises(HostError, match="the kernel refuses a filter for 50 per cent: Cannot allocate memory"):
        steered.ask("ratio", percent=50)
    assert steered.steering.status()["ratio_goal_percent"] == 5
    steered.refuses = False
    status = steered.ask("ratio", percent=50)
    assert (status["ratio_percent"], status["ratio_goal_percent"], status["captured_percent"]) == (5, 50, 50)
    assert steered.shown == [50]
    steered.scene.client(port=port).opens()
    assert steered.scene.outcomes() == {"sampled_out": 1}
    steered.passes(WIDEN_S)
    assert steered.steering.status()["ratio_percent"] == 50
    steered.scene.client(port=port, isn=77_000).opens()
    assert steered.scene.outcomes() == {"sampled_out": 1, "active": 1}


def test_asking_twice_does_not_shorten_the_wait() -> None:
    """The filter is wide since a moment ago only, whatever was asked for meanwhile."""
    steered = Steered(ratio_percent=5)
    for percent in (50, 50, 40):
        steered.ask("ratio", percent=percent)
        steered.passes(WIDEN_S / 4)
        assert steered.steering.status()["ratio_percent"] == 5
    steered.passes(WIDEN_S / 4)
    assert steered.steering.status()["ratio_percent"] == 40


def test_what_is_being_opened_when_a_higher_ratio_begins_to_hold_is_not_mirrored() -> None:
    """Its first octets may have been kept back: a session with a hole at its beginning would be cut off later."""
    steered = Steered(ratio_percent=5)
    port = port_between(5, 50)
    client = steered.scene.client(port=port).syn()
    inside = steered.scene.client(port=port_chosen(5, chosen=True)).syn()
    steered.ask("ratio", percent=50)
    steered.passes(2 * WIDEN_S)
    client.segment(ACK | PSH, 100, b"behind what was kept back")
    inside.confirms()
    assert steered.scene.outcomes() == {"midstream_skipped": 1, "active": 1}


def test_a_filter_that_cannot_be_narrowed_stays() -> None:
    """It shows too much, which costs something and loses nothing; status says so."""
    steered = Steered()
    steered.refuses = True
    assert steered.ask("ratio", percent=10)["ratio_percent"] == 10
    assert steered.steering.next_timer() == math.inf
    assert steered.steering.status()["captured_percent"] == 100
    steered.refuses = False
    steered.ask("ratio", percent=20)
    assert steered.steering.status()["captured_percent"] == 20


def test_a_ramp_goes_there_step_by_step() -> None:
    """Status shows where it is; the kernel shows the larger share from the beginning."""
    steered = Steered(ratio_percent=20)
    steered.ask("ratio", percent=100, ramp_s=80)
    assert steered.shown == [100]
    steered.passes(WIDEN_S + 40.5)
    status = steered.steering.status()
    assert status["ratio_percent"] == pytest.approx(60, abs=1.1)
    assert status["ratio_goal_percent"] == 100
    steered.ask("ratio", percent=10, ramp_s=10)
    steered.passes(60)
    assert steered.steering.status()["ratio_percent"] == 10
    assert steered.shown == [100, 10]


def test_only_connections_from_before_a_lower_ratio_are_looked_at() -> None:
    """They are the first in the table; one that came later cannot be outside the sample."""
    steered = Steered()
    scene = steered.scene
    scene.client(port=port_chosen(10, chosen=True)).opens()
    steered.passes(1)
    assert not scene.engine.is_any_left_out(scene.now)
    scene.engine.admission.set_ratio(10)
    scene.passes(1)
    assert not scene.engine.is_any_left_out(scene.now - 1)
    steered = Steered()
    steered.scene.client(port=port_chosen(10, chosen=False)).opens()
    steered.scene.engine.admission.set_ratio(10)
    assert steered.scene.engine.is_any_left_out(steered.scene.now)
    assert not steered.scene.engine.is_any_left_out(steered.scene.now - 1)


def test_copies_hold_for_new_connections() -> None:
    """Those that are declined count as often as they would have been mirrored."""
    steered = Steered()
    steered.scene.client(port=40001).opens()
    assert steered.ask("copies", count=3)["copies"] == 3
    steered.scene.client(port=40002).opens()
    assert steered.scene.outcomes() == {"active": 4}
    steered.ask("pause")
    steered.scene.client(port=40003).opens()
    assert steered.scene.outcomes() == {"active": 4, "paused": 3}


def test_joining_takes_back_what_was_counted() -> None:
    """Also if the number of copies has changed since."""
    steered = Steered(join_midstream=True, join_quiet_s=0.01)
    scene = steered.scene
    client = scene.client().segment(ACK | PSH, 100, b"abc")
    assert scene.outcomes() == {"midstream_skipped": 1}
    steered.ask("copies", count=2)
    steered.passes(1)
    client.segment(ACK | PSH, 103, b"def", seen=10)
    assert scene.outcomes() == {"active": 2}


@pytest.mark.parametrize(
    ("command", "arguments", "reason"),
    [
        ("ratio", {}, "percent: 'None' is not a number"),
        ("ratio", {"percent": "5"}, "percent: '5' is not a number"),
        ("ratio", {"percent": True}, "percent: 'True' is not a number"),
        ("ratio", {"percent": math.nan}, "percent: 'nan' is not a number"),
        ("ratio", {"percent": 10**400}, "is not a number that is possible here"),
        ("ratio", {"percent": 0}, "0 per cent is not above 0 and up to 100; to mirror nothing, pause"),
        ("ratio", {"percent": 100.5}, "100.5 per cent is not above 0 and up to 100"),
        ("ratio", {"percent": 5, "ramp_s": -1}, "a ramp of -1 s is not from 0 to 86400 s"),
        ("copies", {"count": 0}, "copies: 0 is not a whole number in 1..1024"),
        ("copies", {"count": 1.5}, "copies: 1.5 is not a whole number"),
        ("copies", {"count": [3]}, "count: '[3]' is not a number"),
    ],
)
def test_bad_requests_change_nothing(command: str, arguments: dict[str, Any], reason: str) -> None:
    """Each is named."""
    steered = Steered()
    before = steered.steering.status()
    with pytest.raises(ConfigError) as error:
        steered.ask(command, **arguments)
    assert reason in str(error.value)
    assert steered.steering.status() == before


class Fleet:
    """Several workers, each of which answers what it is told to; silent ones do not."""

    def __init__(self) -> None:
        self.now = 100.0
        self.asked: list[dict[str, Any]] = []
        self.answers: dict[int, dict[str, Any]] = {1: {}, 2: {}}
        self.silent: list[int] = []
        self.steering = FleetSteering(MirrorConfig(), self._ask, lambda: self.now)
        self.commands = self.steering.commands()

    def _ask(self, request: dict[str, Any]) -> tuple[dict[int, dict[str, Any]], list[int]]:
        self.asked.append(request)
        return self.answers, self.silent

    def change(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Carry out a command."""
        return self.commands[command]({"command": command, **arguments})


def test_workers_get_every_change_and_new_ones_begin_with_it() -> None:
    """One that is started again in the middle of a ramp begins where the others are, and goes on with them."""
    fleet = Fleet()
    fleet.change("ratio", percent=20, ramp_s=40, junk="x" * 4000)
    fleet.change("copies", count=2)
    assert fleet.change("pause") == {"paused": True, "ratio_percent": 100, "ratio_goal_percent": 20, "copies": 2}
    assert fleet.asked == [
        {"command": "ratio", "percent": 20, "ramp_s": 40},
        {"command": "copies", "count": 2},
        {"command": "pause"},
    ]
    fleet.now += 10
    mirror = fleet.steering.settings(MirrorConfig(max_sessions=7))
    assert (mirror.ratio_percent, mirror.copies, mirror.paused, mirror.max_sessions) == (80, 2, True, 7)
    fleet.now += 10
    fleet.change("resume")
    assert fleet.steering.requests() == [
        {"command": "resume"},
        {"command": "copies", "count": 2},
        {"command": "ratio", "percent": 20, "ramp_s": 20},
    ]
    fleet.now += 20
    assert fleet.steering.status() == {"paused": False, "ratio_percent": 20, "ratio_goal_percent": 20, "copies": 2}


def test_a_higher_ratio_of_a_fleet_is_said_to_hold_when_it_does() -> None:
    """A moment later, as in each worker."""
    fleet = Fleet()
    fleet.change("ratio", percent=20)
    assert fleet.change("ratio", percent=50)["ratio_percent"] == 20
    fleet.now += WIDEN_S
    assert fleet.steering.status()["ratio_percent"] == 50


def test_if_a_worker_refuses_none_does_it() -> None:
    """It is named; what held before is restored everywhere, and in those that are started later."""
    fleet = Fleet()
    fleet.answers = {1: {}, 2: {"error": "the kernel refuses"}}
    with pytest.raises(HostError, match="worker 2: the kernel refuses"):
        fleet.change("copies", count=5)
    assert fleet.asked[-3:] == fleet.steering.requests()
    assert fleet.steering.settings(MirrorConfig()).copies == 1


def test_a_worker_that_does_not_answer_is_named() -> None:
    """The others have done it, and so will the silent one when it is started again."""
    fleet = Fleet()
    fleet.answers, fleet.silent = {1: {}}, [2]
    with pytest.raises(HostError, match="worker 2 does not answer"):
        fleet.change("pause")
    assert fleet.steering.settings(MirrorConfig()).paused


def test_bad_requests_reach_no_worker() -> None:
    """They are refused before."""
    fleet = Fleet()
    for command, arguments in (("ratio", {"percent": -1}), ("copies", {})):
        with pytest.raises(ConfigError):
            fleet.change(command, **arguments)
    assert fleet.asked == []


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ratio"), st.sampled_from([1.0, 20.0, 60.0, 100.0]), st.sampled_from([0.0, 3.0, 20.0])),
        st.tuples(st.just("limit"), st.sampled_from([0.0, 0.1, 0.4, 1.0]), st.just(0.0)),
        st.tuples(st.just("narrow"), st.just(0.0), st.just(0.0)),
        st.tuples(st.just("passes"), st.sampled_from([0.3, 1.0, 5.0, 12.0]), st.just(0.0)),
    ),
    max_size=14,
)


@given(STEPS, st.sampled_from([5.0, 100.0]))
def test_the_kernel_always_shows_what_is_admitted(steps: list[tuple[str, float, float]], ratio: float) -> None:
    """And has shown it for a second before a larger share holds, whatever the user and the budgets want meanwhile."""
    steered = Steered(ratio_percent=ratio)
    steering, admission = steered.steering, steered.scene.engine.admission
    shown: list[float] = []
    admitted = ratio

    def check() -> None:
        nonlocal admitted
        shown.append(steering.status()["captured_percent"])
        if admission.admitted_percent() > admitted:
            before = shown[-round(WIDEN_S / 0.1) :] if len(shown) > 1 else [ratio]
            assert min(before) >= admission.admitted_percent()
        admitted = admission.admitted_percent()
        assert shown[-1] >= admitted

    for what, value, ramp_s in (*steps, ("passes", 15.0, 0.0)):
        if what == "ratio":
            steered.ask("ratio", percent=value, ramp_s=ramp_s)
        elif what == "limit":
            assert steering.limit(value, "shed_cpu", steered.scene.now)
        elif what == "narrow":
            steering.narrow()
        for _ in range(round(value / 0.1) if what == "passes" else 1):
            steered.passes(0.1)
            check()
