"""Whole sessions through the real engine and link over a model network: the target reads what the client sent."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from copytool.mirror.config import MirrorConfig

from .model_apps import Script, TurnServer
from .model_tcp import Stack
from .simulator import Conditions, MirrorSimulation, Quality

PATIENT = MirrorConfig(syn_retries=30, data_retries=30)

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


@settings(max_examples=300)
@given(st.integers(0, 2**32 - 1), scripts(), conditions(), ISNS)
def test_any_session_survives_any_network(seed: int, script: Script, world: Conditions, isn: int) -> None:
    """Loss, reordering, duplication, slow readers and small windows delay a session, but change nothing in it."""
    simulation = MirrorSimulation(seed, world)
    simulation.start_client(script, isn=isn)
    simulation.run(3600)
    app = assert_mirrored(simulation, script)
    assert app.saw_fin
    assert app.premature == []
    assert simulation.engine.counters.release.held == 0
