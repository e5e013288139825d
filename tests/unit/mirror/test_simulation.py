"""Whole sessions through the real engine and link over a model network: the target reads what the client sent."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from copytool.mirror.config import MirrorConfig

from .model_apps import Script, TurnServer
from .model_tcp import Stack
from .simulator import EFFORT, LOSSLESS, Conditions, MirrorSimulation, Quality

PATIENT = MirrorConfig(syn_retries=30, data_retries=30, gap_timeout_s=600)  # more than any loss takes

QUALITIES = st.builds(
    Quality,
    loss=st.sampled_from([0.0, 0.0, 0.02, 0.1, 0.2]),
    duplicate=st.sampled_from([0.0, 0.1]),
    delay_s=st.sampled_from([0.0001, 0.002, 0.03]),
    jitter_s=st.sampled_from([0.0, 0.001, 0.02]),
)
STACKS = st.builds(
    Stack,
    mss=st.sampled_from([536, 1000, 1460]),
    window_scale=st.sampled_from([-1, 0, 7]),
    receive_buffer=st.sampled_from([1500, 4000, 65535]),
)
ISNS = st.one_of(st.integers(0, 2**32 - 1), st.integers(2**32 - 5000, 2**32 - 1))


@st.composite
def scripts(draw: st.DrawFn) -> Script:
    """Draw a session: turns of a few octets up to several windows, and a way to end it."""
    sizes = st.sampled_from([1, 10, 700, 1460, 1461, 5000, 20000])
    count = draw(st.integers(1, 5))
    turns = [(draw(sizes), draw(st.sampled_from([1, 30, 1460, 6000]))) for _ in range(count)]
    greeting = draw(st.sampled_from([0, 0, 40]))
    ending = draw(st.sampled_from(["fin", "fin", "half_close", "server"]))
    return Script(turns, greeting, ending, draw(st.sampled_from([0.0, 0.05])))


@st.composite
def conditions(draw: st.DrawFn) -> Conditions:
    """Draw networks and hosts, good and bad."""
    slow = draw(st.sampled_from([None, None, (300, 0.002), (1000, 0.03)]))
    return Conditions(
        client_path=draw(QUALITIES),
        target_path=draw(QUALITIES),
        response_path=draw(QUALITIES),
        client=draw(STACKS),
        target=draw(STACKS),
        target_think_s=draw(st.sampled_from([0.0, 0.001, 0.05])),
        target_read_size=slow[0] if slow else 1 << 30,
        target_read_pause_s=slow[1] if slow else 0.0,
        flush_s=draw(st.sampled_from([0.0, 0.001, 0.01])),
        rests=draw(st.booleans()),
        config=PATIENT,
    )


def only_server(simulation: MirrorSimulation) -> TurnServer:
    """Return the application of the one session that reached the target."""
    assert len(simulation.target) == 1
    ((_, app),) = simulation.target.values()
    return app


def outcomes(simulation: MirrorSimulation) -> dict[str, int]:
    """Return the outcomes that occurred."""
    return {word: count for word, count in simulation.engine.counters.outcomes.items() if count}


def assert_mirrored(simulation: MirrorSimulation, script: Script) -> TurnServer:
    """The target read exactly the client's bytes, the session ended well, and everything adds up."""
    app = only_server(simulation)
    counters = simulation.engine.counters
    assert outcomes(simulation) == {"mirrored": 1}
    assert bytes(app.received) == script.client_bytes
    assert counters.delivered == len(script.client_bytes)
    assert simulation.engine.imbalance() == []
    return app


def play(script: Script, world: Conditions | None = None, seed: int = 1, **client: object) -> MirrorSimulation:
    """Play one client's script to its end."""
    simulation = MirrorSimulation(seed, world)
    simulation.start_client(script, **client)
    simulation.run(3600)
    return simulation


@settings(max_examples=300 * EFFORT)
@given(st.integers(0, 2**32 - 1), scripts(), conditions(), ISNS)
def test_any_session_survives_any_network(seed: int, script: Script, world: Conditions, isn: int) -> None:
    """Loss, reordering, duplication, slow readers and small windows delay a session, but change nothing in it."""
    simulation = play(script, world, seed, isn=isn)
    app = assert_mirrored(simulation, script)
    assert app.saw_fin


@settings(max_examples=200 * EFFORT)
@given(st.integers(0, 2**32 - 1), scripts(), conditions(), ISNS)
def test_no_turn_comes_before_the_answer_it_follows(seed: int, script: Script, world: Conditions, isn: int) -> None:
    """With equal responses, none of them lost, causality holds on any path and no turn waits for a limit."""
    handshake_is_whole = replace(world.client_path, loss=0.0) if script.greeting else world.client_path
    world = replace(world, client_path=handshake_is_whole, response_path=replace(world.response_path, loss=0.0))
    simulation = play(script, world, seed, isn=isn)
    app = assert_mirrored(simulation, script)
    assert app.premature == []
    assert simulation.engine.counters.release.held == 0


@settings(max_examples=60 * EFFORT)
@given(st.integers(0, 2**32 - 1), scripts(), conditions(), st.lists(st.integers(0, 9000), min_size=5, max_size=5))
def test_other_responses_are_mirrored_too(seed: int, script: Script, world: Conditions, lengths: list[int]) -> None:
    """A target whose responses differ, or that says nothing, gets the same bytes."""
    simulation = play(script, world, seed, responses=lengths[: len(script.turns)])
    assert_mirrored(simulation, script)


@settings(max_examples=60 * EFFORT)
@given(st.integers(0, 2**32 - 1), scripts(), conditions())
def test_a_client_that_resets_after_the_last_response(seed: int, script: Script, world: Conditions) -> None:
    """The target reads everything and then sees the connection reset, as online did."""
    world = replace(world, client_path=LOSSLESS, response_path=LOSSLESS)
    script = replace(script, ending="rst", greeting=0)
    simulation = play(script, world, seed)
    counters = simulation.engine.counters
    assert outcomes(simulation) == {"mirrored": 1}
    assert counters.delivered == len(script.client_bytes)
    assert simulation.engine.imbalance() == []
    if world.target_path.loss == 0:
        simulation.run_for(1)
        app = only_server(simulation)
        assert app.saw_reset
        assert bytes(app.received) == script.client_bytes
        assert app.premature == []


@settings(max_examples=15 * EFFORT)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), conditions())
def test_many_clients_and_copies_at_once(seed: int, copies: int, world: Conditions) -> None:
    """Sessions do not mix: each copy of each client reads its own script."""
    world = replace(world, config=replace(PATIENT, copies=copies))
    simulation = MirrorSimulation(seed, world)
    script = Script([(700, 30), (3000, 1460), (10, 10)])
    for index in range(6):
        simulation.start_client(script, port=40000 + index)
    simulation.run(3600)
    assert outcomes(simulation) == {"mirrored": 6 * copies}
    assert len(simulation.target) == 6 * copies
    assert all(bytes(app.received) == script.client_bytes for _, app in simulation.target.values())
    assert simulation.engine.imbalance() == []


def test_equal_responses_on_a_good_network_need_no_timer() -> None:
    """A hundred turns take the time of their round trips: no quiet time, no hold, no retransmission."""
    script = Script([(100, 2000)] * 100)
    simulation = play(script)
    app = assert_mirrored(simulation, script)
    release = simulation.engine.counters.release
    assert (release.answered, release.quiet, release.held) == (100, 0, 0)
    assert simulation.engine.counters.sender.retransmissions == 0
    assert app.premature == []
    assert simulation.clock.now < 1.0


def test_target_that_takes_in_slowly_gets_each_turn_after_its_answer() -> None:
    """A request that takes the target longer than the hold limit to read is still waited for."""
    script = Script([(60_000, 100), (500, 100)])
    world = Conditions(target=Stack(receive_buffer=2000), target_read_size=300, target_read_pause_s=0.03)
    simulation = play(script, world)
    app = assert_mirrored(simulation, script)
    assert simulation.clock.now > MirrorConfig().hold_limit_s
    assert app.premature == []
    assert simulation.engine.counters.release.held == 0


def test_link_outage_in_mid_session_is_survived() -> None:
    """While no record arrives the session waits; afterwards it goes on and loses nothing."""
    script = Script([(3000, 1000)] * 20, client_pause_s=0.1)
    simulation = MirrorSimulation(1)
    simulation.start_client(script)
    simulation.run_for(0.5)
    simulation.engine.set_feedback(False, simulation.clock.now)
    simulation.cut_link(True)
    simulation.run_for(4.0)
    assert outcomes(simulation) == {"active": 1}
    simulation.cut_link(False)
    simulation.engine.set_feedback(True, simulation.clock.now)
    simulation.run(600)
    assert_mirrored(simulation, script)
