"""Whatever is captured and whatever a link says: the engine never raises, and everything adds up."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from copytool.link.records import RECORD_SIZE, decode_records
from copytool.mirror.outcome import ACTIVE
from copytool.mirror.timers import NEVER
from copytool.wire.segment import ACK, FIN, PSH, RST, SYN

from .playbook import Client, Scene
from .simulator import EFFORT

FLAGS = st.sampled_from(
    [SYN, ACK, ACK | PSH, ACK | PSH, ACK | FIN, RST, RST | ACK, SYN | ACK, SYN | RST, SYN | FIN | ACK, 0, 63]
)
POSITIONS = st.one_of(st.integers(-3, 40), st.sampled_from([-(2**31), 2**31, 2**30, 5000]))
SIZES = st.sampled_from([0, 0, 1, 5, 10, 3000])

SEGMENTS = st.tuples(
    st.just("segment"),
    st.integers(0, 2),
    st.sampled_from([1000, 1000, 1005, 2**32 - 3]),
    st.sampled_from([0, 0, 0, 1, 3, 40]),
    FLAGS,
    POSITIONS,
    SIZES,
    POSITIONS,
)
RESPONSES = st.tuples(
    st.just("response"), st.integers(0, 5), FLAGS, POSITIONS, POSITIONS, SIZES, st.sampled_from([0, 1, 50, 65535])
)
ACCEPTS = st.tuples(st.just("accept"), st.integers(0, 5))
ANSWERS = st.tuples(st.just("answer"), st.integers(0, 5), st.integers(0, 20), st.integers(0, 15))
TIMES = st.tuples(st.just("time"), st.sampled_from([0.0, 0.001, 0.02, 0.3, 5.0, 31.0, 100.0]))
FEEDBACK = st.tuples(st.just("feedback"), st.booleans())
CHECKS = st.tuples(st.just("check"), st.booleans(), st.booleans())
RAW_RECORD = st.tuples(st.just("record"), st.binary(min_size=RECORD_SIZE, max_size=RECORD_SIZE))
RAW_PACKET = st.tuples(st.just("packet"), st.binary(max_size=80))
STEPS = st.lists(
    st.one_of(SEGMENTS, SEGMENTS, ACCEPTS, ANSWERS, RESPONSES, TIMES, FEEDBACK, CHECKS, RAW_RECORD, RAW_PACKET),
    max_size=40,
)
CONFIGS = st.fixed_dictionaries(
    {
        "copies": st.sampled_from([1, 1, 2]),
        "max_sessions": st.sampled_from([2, 100]),
        "session_buffer_bytes": st.sampled_from([4000, 10**6]),
        "total_buffer_bytes": st.sampled_from([6000, 10**6]),
        "join_midstream": st.booleans(),
        "idle_timeout_s": st.sampled_from([50.0, 7200.0]),
    }
)


def take_step(scene: Scene, step: tuple) -> None:
    """Do one step of a script."""
    kind, *rest = step
    if kind == "segment":
        port, isn, urgent, flags, position, size, seen = rest
        Client(scene, port=40000 + port, isn=isn).segment(flags, position, b"x" * size, seen, urgent=urgent)
    elif kind == "response":
        index, flags, position, acked, size, window = rest
        if scene.targets():
            target = scene.target(index % len(scene.targets()))
            target.acked, target.window = acked, window
            target.sends(target.segment(flags, size, position=position))
    elif kind == "accept":
        if scene.targets():
            scene.target(rest[0] % len(scene.targets())).accepts()
    elif kind == "answer":
        if scene.targets():
            scene.target(rest[0] % len(scene.targets())).answers(rest[1], acked=rest[2])
    elif kind == "time":
        scene.passes(rest[0])
    elif kind == "feedback":
        scene.engine.set_feedback(rest[0], scene.now)
    elif kind == "check":
        while (connection := scene.engine.next_check()) is not None:
            connection.checked(*rest, scene.now)
    elif kind == "record":
        for record in decode_records(rest[0]):
            scene.engine.receive_response(record, scene.now)
    else:
        scene.engine.receive_segment(memoryview(rest[0]), scene.now)
    scene.collect()


@settings(max_examples=200 * EFFORT)
@given(CONFIGS, STEPS)
def test_it_makes_no_difference_who_sleeps(config: dict, steps: list[tuple]) -> None:
    """An engine whose sessions fall asleep after each step sends and counts what another one does."""
    restless, resting = Scene(**config), Scene(**config)
    resting.rests = True
    for step in steps:
        for scene in (restless, resting):
            take_step(scene, step)
        assert restless.sent() == resting.sent()
        assert restless.engine.status() == resting.engine.status()
    for scene in (restless, resting):
        scene.passes(10_000)
        scene.engine.shut_down(scene.now)
    assert restless.sent() == resting.sent()
    assert restless.events() == resting.events()


@settings(max_examples=400 * EFFORT)
@given(CONFIGS, STEPS)
def test_anything_adds_up(config: dict, steps: list[tuple]) -> None:
    """After each step each session has one outcome, each byte one place, and packets go to the target only."""
    scene = Scene(**config)
    for step in steps:
        take_step(scene, step)
        assert scene.engine.imbalance() == []
        assert scene.engine.counters.outcomes[ACTIVE] == sum(1 for _ in scene.engine.sessions())
    scene.engine.shut_down(scene.now)
    assert scene.engine.imbalance() == []
    assert scene.engine.counters.outcomes[ACTIVE] == 0
    scene.passes(10_000)
    assert scene.engine.next_timer() == NEVER
    assert {(packet.mirror[0][:3]) for packet in scene.sent()} <= {bytes((192, 168, 60))}
