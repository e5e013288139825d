"""Whole sessions when hosts, links and the capture fail: exact or ended, counted, and never wrong."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from .model_apps import Script
from .simulator import EFFORT, LOSSLESS, Conditions, MirrorSimulation, Quality
from .test_simulation import ISNS, PATIENT, assert_mirrored, conditions, outcomes, play, scripts

SEEDS = st.integers(0, 2**32 - 1)


def assert_never_wrong(simulation: MirrorSimulation, script: Script) -> None:
    """What the target has read is the beginning of what the client sent, and all of it if the outcome says so."""
    assert simulation.engine.imbalance() == []
    apps = [app for _, app in (*simulation.target.values(), *simulation.lost)]
    for app in apps:
        assert script.client_bytes.startswith(bytes(app.received))
    if outcomes(simulation).get("mirrored"):
        assert any(bytes(app.received) == script.client_bytes for app in apps)


@settings(max_examples=150 * EFFORT)
@given(SEEDS, scripts(), conditions(), st.sampled_from([0.02, 0.1, 0.4]), ISNS)
def test_capture_that_misses_packets(seed: int, script: Script, world: Conditions, loss: float, isn: int) -> None:
    """What online read and nobody captured makes a capture_gap, also when it was the session's last octets."""
    world = replace(world, capture_loss=loss, config=replace(PATIENT, gap_timeout_s=5))
    simulation = play(script, world, seed, isn=isn)
    assert_never_wrong(simulation, script)
    assert set(outcomes(simulation)) <= {"capture_gap", "midstream_skipped", "mirrored"}


@settings(max_examples=100 * EFFORT)
@given(SEEDS, scripts(), conditions(), st.sampled_from([576, 1280, 1400, 1492]), ISNS)
def test_path_that_swallows_large_packets(seed: int, script: Script, world: Conditions, mtu: int, isn: int) -> None:
    """A link in the middle with a smaller MTU, of which nobody tells, delays a session and changes nothing in it."""
    world = replace(world, target_path=replace(world.target_path, mtu_bytes=mtu))
    simulation = play(script, world, seed, isn=isn)
    assert_mirrored(simulation, script)


@settings(max_examples=100 * EFFORT)
@given(
    SEEDS,
    scripts(),
    conditions(),
    st.lists(st.tuples(st.floats(0.001, 2.0), st.floats(0.01, 5.0)), min_size=1, max_size=3),
)
def test_link_that_fails(seed: int, script: Script, world: Conditions, outages: list[tuple[float, float]]) -> None:
    """While the link is down the session waits, noticed or not; afterwards it goes on and loses nothing."""
    simulation = MirrorSimulation(seed, world)
    simulation.start_client(script)
    for number, (after, duration) in enumerate(outages):
        simulation.run_for(after)
        noticed = number % 2 == 0 and simulation.engine.counters.seen > 0
        simulation.cut_link(True)
        if noticed:
            simulation.engine.set_feedback(False, simulation.clock.now)
        simulation.run_for(duration)
        simulation.cut_link(False)
        if noticed:
            simulation.engine.set_feedback(True, simulation.clock.now)
    simulation.run(3600)
    assert_never_wrong(simulation, script)
    assert set(outcomes(simulation)) <= {"mirrored", "no_feedback"}


@settings(max_examples=100 * EFFORT)
@given(SEEDS, scripts(), conditions(), st.floats(0.0, 2.0))
def test_target_that_restarts(seed: int, script: Script, world: Conditions, after: float) -> None:
    """A session whose target forgets it is ended and counted as such; what was delivered before was right."""
    simulation = MirrorSimulation(seed, world)
    simulation.start_client(script)
    simulation.run_for(after)
    simulation.restart_target()
    simulation.run(3600)
    assert_never_wrong(simulation, script)
    assert set(outcomes(simulation)) <= {"mirrored", "target_reset", "target_refused", "target_closed_early"}


@settings(max_examples=100 * EFFORT)
@given(SEEDS, scripts(), conditions(), st.floats(0.0, 1.0))
def test_sessions_joined_midstream(seed: int, script: Script, world: Conditions, start: float) -> None:
    """A connection that was open before copy is mirrored from the beginning of some request, to its end."""
    script = replace(script, client_pause_s=0.05)
    world = replace(world, capture_from_s=start, config=replace(PATIENT, join_midstream=True))
    simulation = play(script, world, seed)
    assert simulation.engine.imbalance() == []
    assert set(outcomes(simulation)) <= {"mirrored", "midstream_skipped"}
    requests = [script.request(turn) for turn in range(len(script.turns))]
    tails = [b"".join(requests[first:]) for first in range(len(requests) + 1)]
    for _, app in simulation.target.values():
        assert bytes(app.received) in tails


def test_a_black_hole_costs_each_target_once() -> None:
    """The first session finds the size; the next one knows it and takes no longer than its round trips."""
    world = Conditions(target_path=Quality(mtu_bytes=1400))
    script = Script([(20_000, 100)] * 3)
    simulation = MirrorSimulation(1, world)
    simulation.start_client(script)
    simulation.run(60)
    retransmissions = simulation.engine.counters.sender.retransmissions
    assert retransmissions > 0
    before = simulation.clock.now
    simulation.start_client(script, port=40001)
    simulation.run(60)
    assert outcomes(simulation) == {"mirrored": 2}
    assert simulation.engine.counters.sender.retransmissions == retransmissions
    assert simulation.clock.now - before < 0.5


def test_loss_of_the_last_packets_is_noticed_within_seconds() -> None:
    """A session whose tail was not captured does not stay open until the idle time-out."""
    script = Script([(30_000, 100)] * 3)
    ends = []
    for seed in range(30):
        simulation = play(script, Conditions(target_path=LOSSLESS, capture_loss=0.3), seed)
        ends.append(simulation.clock.now)
        assert_never_wrong(simulation, script)
    assert max(ends) < 60
