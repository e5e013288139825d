"""Packets made to break a reader are dropped and counted by name, and cost the session that they aim at nothing."""

from __future__ import annotations

import pytest
from support.hostile import IPV4, IPV6, hostile

from copytool.link.records import ResponseRecord
from copytool.mirror.config import MirrorConfig
from copytool.mirror.engine import MAX_WAITING, Engine
from copytool.mirror.mapping import ClientNetwork
from copytool.wire.build import build_segment
from copytool.wire.flow import flow_key
from copytool.wire.segment import ACK, PSH, SYN

from .playbook import CLIENT, CLIENT_ISN, ONLINE, ONLINE_ISN, PORT, TARGET, Scene

CLIENT6, ONLINE6, TARGET6 = (bytes.fromhex(f"fd{net}" + "00" * 13 + "01") for net in ("0a", "50", "51"))


def dropped(engine: Engine) -> dict[str, int]:
    """Return the reasons that packets were dropped for, as `copytool status --json` shows them."""
    return {reason: count for reason, count in engine.status()["packets"]["dropped"].items() if count}


@pytest.mark.parametrize(("what", "reason"), IPV4)
def test_it_is_dropped_and_counted(what: str, reason: str) -> None:
    """In the middle of a session, which goes on as if nothing had come."""
    scene = Scene()
    client, target = scene.opened()
    client.says(b"abc")
    packet = hostile(what, (CLIENT, client.port, ONLINE, PORT), CLIENT_ISN + 4, ONLINE_ISN + 1)
    scene.engine.receive_segment(memoryview(packet), scene.now)
    assert dropped(scene.engine) == {reason: 1}
    target.acks(3)
    client.says(b"def").fin()
    target.acks(7).fin()
    assert scene.data() == b"abcdef"
    assert scene.outcomes() == {"mirrored": 1}


@pytest.mark.parametrize(("what", "reason"), IPV6)
def test_ipv6_is_dropped_and_counted(what: str, reason: str) -> None:
    """The kernel would not hand any of these to the service either."""
    network = ClientNetwork([(bytes.fromhex("fd60" + "00" * 14), 9)])
    engine = Engine({(None, PORT): (TARGET6, PORT)}, network, MirrorConfig())
    engine.set_feedback(True, 0.0)
    ends = (CLIENT6, ONLINE6, 40000, PORT)
    engine.receive_segment(build_segment(*ends, 1000, 0, SYN, 9), 0.0)
    packet = hostile(what, (CLIENT6, 40000, ONLINE6, PORT), 1001, 5001)
    engine.receive_segment(memoryview(packet), 0.0)
    assert dropped(engine) == {reason: 1}
    assert engine.counters.seen == 0
    engine.receive_segment(build_segment(*ends, 1001, 5001, ACK | PSH, 9, b"", b"abc"), 0.0)
    assert (engine.counters.seen, engine.counters.accepted) == (1, 3)
    assert engine.imbalance() == []


def test_an_intercept_that_makes_sessions_up() -> None:
    """It has the target reset what nobody opened, but no more of it at a time than it may know of."""
    scene = Scene()
    record = ResponseRecord()
    record.flags = ACK
    for number in range(MAX_WAITING + 100):
        record.key = flow_key(bytes((192, 168, 60, 1 + (number >> 16))), number & 0xFFFF, TARGET, PORT)
        scene.engine.receive_response(record, scene.now)
    assert len(scene.engine.packets_to_send(scene.now)) == MAX_WAITING
    assert scene.engine.counters.unknown_responses == MAX_WAITING + 100
    scene.engine.receive_response(record, scene.now)
    assert len(scene.engine.packets_to_send(scene.now)) == 1


@pytest.mark.parametrize("cut", [0, 1, 99])
def test_a_payload_that_was_cut_off_is_a_hole(cut: int) -> None:
    """What the capture kept of it counts; the rest is missing, which ends the session after the time for holes."""
    scene = Scene(gap_timeout_s=30)
    client, target = scene.opened()
    ends = (CLIENT, ONLINE, client.port, PORT)
    packet = build_segment(*ends, CLIENT_ISN + 1, ONLINE_ISN + 1, ACK | PSH, 9, b"", b"x" * 100)
    scene.engine.receive_segment(memoryview(packet)[: 40 + cut], scene.now)
    client.position = 100
    client.says(b"behind it")
    target.acks(cut)
    assert scene.data() == b"x" * cut
    scene.passes(31)
    assert scene.outcomes() == {"capture_gap": 1}
    assert dropped(scene.engine) == {}
