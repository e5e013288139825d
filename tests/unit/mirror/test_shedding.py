"""Ending open sessions: whole connections, the oldest first, and everything adds up afterwards."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from copytool.mirror.mapping import Sampler
from copytool.mirror.outcome import OUTCOMES
from copytool.mirror.shedding import Shedder
from copytool.wire.segment import RST

from .playbook import CLIENT, Client, Scene
from .simulator import EFFORT, Conditions, MirrorSimulation
from .test_simulation import conditions, outcomes, scripts
from .test_simulation_faults import assert_never_wrong


def ports(percent: float, chosen: bool, count: int) -> list[int]:
    """Return client ports whose connections are in a sample, or are not."""
    sampler = Sampler(percent)
    found = [port for port in range(40000, 60000) if sampler.chooses(CLIENT, port) == chosen]
    return found[:count]


def opened(scene: Scene, some_ports: list[int]) -> list[Client]:
    """Return client connections whose sessions are open; what was sent for them is forgotten."""
    clients = []
    for port in some_ports:
        clients.append(scene.client(port=port).opens())
        scene.target().accepts()
        scene.passes(0.01)
    scene.sent()
    return clients


def ended(scene: Scene) -> list[int]:
    """Return the client ports of the sessions that have ended, in order."""
    return [event.client[1] for event in scene.events()]


def test_new_connections_outside_of_the_share_are_declined() -> None:
    """As what has the lowest share says; the ratio's own sample stays what it was, and the share is a part of it."""
    scene = Scene(ratio_percent=50)
    scene.engine.admission.set_share(0.2, "shed_bandwidth")
    (inside, *_), beyond = ports(10, True, 1), ports(50, False, 1)[0]
    between = next(port for port in ports(50, True, 100) if port not in ports(10, True, 5000))
    for port in (inside, between, beyond):
        scene.client(port=port).opens().says(b"abc")
    assert scene.outcomes() == {"active": 1, "shed_bandwidth": 1, "sampled_out": 1}
    assert scene.engine.counters.ignored["shed_bandwidth"] == 3
    assert scene.engine.admission.ratio_percent == 50
    scene.engine.admission.set_share(1.0, "")
    scene.client(port=between, isn=77_000).opens()
    assert scene.outcomes() == {"active": 2, "shed_bandwidth": 1, "sampled_out": 1}


def test_there_is_room_for_so_many_sessions() -> None:
    """Whole connections are declined, and none once there is room again."""
    scene = Scene(copies=2)
    scene.engine.admission.session_cap = 3
    for port in (40000, 40001):
        scene.client(port=port).opens()
    assert scene.outcomes() == {"active": 2, "shed_memory": 2}
    scene.engine.admission.session_cap = 4
    scene.client(port=40002).opens()
    assert scene.outcomes() == {"active": 4, "shed_memory": 2}


def test_those_outside_end_the_oldest_first_and_some_at_a_time() -> None:
    """Each gets an RST at the number that the target expects; those inside go on."""
    scene = Scene()
    inside, outside = ports(30, True, 5), ports(30, False, 45)
    clients = opened(scene, [*outside[:20], *inside, *outside[20:]])
    shedder = Shedder(scene.engine)
    scene.engine.admission.set_share(0.3, "shed_cpu")
    shedder.look_outside()
    assert shedder.is_any_outside()
    shedder.end_outside("shed_cpu", "too much", scene.now)
    assert ended(scene) == outside[:3]
    packets = scene.sent()
    assert [(packet.flags & RST, packet.position) for packet in packets] == [(RST, 0)] * 3
    for _ in range(14):
        shedder.end_outside("shed_cpu", "too much", scene.now)
    assert ended(scene) == outside[3:]
    assert not shedder.is_any_outside()
    scene.sent()
    clients[20].says(b"goes on")
    assert scene.data() == b"goes on"
    assert scene.outcomes() == {"active": 5, "shed_cpu": 45}


def test_those_that_end_by_themselves_are_not_counted_again() -> None:
    """Nor are they looked for once the share has risen."""
    scene = Scene()
    clients = opened(scene, ports(30, False, 4))
    shedder = Shedder(scene.engine)
    scene.engine.admission.set_share(0.3, "shed_cpu")
    shedder.look_outside()
    for client in clients[:3]:
        client.rst()
    assert shedder.is_any_outside()
    shedder.forget()
    assert not shedder.is_any_outside()
    shedder.end_outside("shed_cpu", "too much", scene.now)
    assert scene.outcomes() == {"active": 1, "mirrored": 3}


def test_the_oldest_of_all_end_with_their_copies() -> None:
    """As many sessions as are asked for, and the other copies of the last connection."""
    scene = Scene(copies=2)
    some_ports = list(range(40000, 40005))
    opened(scene, some_ports)
    Shedder(scene.engine).end_oldest(3, "shed_memory", "too much", scene.now)
    assert sorted(set(ended(scene))) == some_ports[:2]
    assert scene.outcomes() == {"active": 6, "shed_memory": 4}
    Shedder(scene.engine).end_oldest(100, "shed_memory", "too much", scene.now)
    assert scene.outcomes() == {"shed_memory": 10}


def test_data_under_way_is_accounted_for() -> None:
    """What was not acknowledged is undelivered for that reason; what comes later belongs to no session."""
    scene = Scene()
    (client,) = opened(scene, ports(30, False, 1))
    client.says(b"abcdef")
    shedder = Shedder(scene.engine)
    scene.engine.admission.set_share(0.3, "shed_cpu")
    shedder.look_outside()
    shedder.end_outside("shed_cpu", "too much", scene.now)
    client.says(b"ghi")
    assert scene.outcomes() == {"shed_cpu": 1}
    counters = scene.engine.counters
    assert counters.undelivered["shed_cpu"] == 6
    assert counters.ignored["no_session"] == 3
    (event,) = scene.events()
    assert (event.outcome, event.reason) == ("shed_cpu", "too much")


def test_every_budget_has_an_outcome() -> None:
    """Whose meaning names the option."""
    for word, option in (
        ("shed_budget", "--max-sessions"),
        ("shed_cpu", "--cpu-limit"),
        ("shed_memory", "--memory-limit"),
        ("shed_bandwidth", "--bandwidth-limit"),
    ):
        assert option in OUTCOMES[word]


@settings(max_examples=60 * EFFORT)
@given(
    st.integers(0, 2**32 - 1),
    scripts(),
    conditions(),
    st.lists(st.tuples(st.floats(0.001, 2.0), st.sampled_from([0.0, 0.3, 1.0]), st.booleans()), max_size=4),
)
def test_shedding_at_any_moment(seed: int, script: object, world: Conditions, steps: list[object]) -> None:
    """Whatever loses packets meanwhile: what the target has read is a prefix, and all sums are right."""
    simulation = MirrorSimulation(seed, world)
    engine = simulation.engine
    shedder = Shedder(engine)
    simulation.start_client(script)
    for after_s, share, ends in steps:
        simulation.run_for(after_s)
        engine.admission.set_share(share, "shed_cpu")
        shedder.look_outside()
        if ends:
            shedder.end_outside("shed_cpu", "too much", simulation.clock.now)
        assert engine.imbalance() == []
    engine.admission.set_share(1.0, "")
    simulation.run(3600)
    assert_never_wrong(simulation, script)
    assert set(outcomes(simulation)) <= {"mirrored", "shed_cpu", "midstream_skipped"}
