"""The probe: SYNs in time, answers from records, and nothing that stays at the target."""

from __future__ import annotations

import pytest

from copytool.io.probe import GIVE_UP_S, Probe, flow_for_probe
from copytool.link.records import ResponseRecord, encode_record
from copytool.mirror.emitter import Outgoing
from copytool.wire.build import build_segment, finish_checksum
from copytool.wire.flow import FlowKey, flow_ends
from copytool.wire.segment import ACK, RST, SYN, Segment, are_checksums_valid, parse_segment

RANGES = [(bytes([192, 168, 60, 1]), 254), (bytes.fromhex("fd60" + "00" * 13 + "01"), 100)]
TARGET = (bytes([192, 168, 50, 101]), 1025)
TARGET6 = (bytes.fromhex("fd50" + "00" * 13 + "65"), 1025)


class Wire:
    """What was sent; `reason` is why nothing can be."""

    def __init__(self) -> None:
        self.sent: list[Segment] = []
        self.reason = ""

    def send(self, packets: list[Outgoing], _now: float) -> str:
        """Take packets apart."""
        for packet, segment_bytes in packets:
            assert segment_bytes == 0
            finish_checksum(packet)
            segment = Segment()
            assert parse_segment(segment, packet) == 0
            assert are_checksums_valid(segment, packet)
            self.sent.append(segment)
        return self.reason


def free(_flow: FlowKey) -> bool:
    return False


def probe_to(*targets: tuple[bytes, int]) -> tuple[Probe, Wire]:
    """A probe that has begun."""
    wire = Wire()
    flows = [flow_for_probe(RANGES, address, port, free) for address, port in targets]
    probe = Probe([flow for flow in flows if flow is not None], wire.send, 100.0)
    probe.handle_timer(100.0)
    return probe, wire


def answer(syn: Segment, flags: int, ack: int | None = None) -> bytes:
    """The record of a target's answer to a SYN."""
    segment = Segment()
    acknowledged = (syn.seq + 1) & 0xFFFFFFFF if ack is None else ack
    packet = build_segment(syn.dst, syn.src, syn.dst_port, syn.src_port, 77, acknowledged, flags, 1000)
    assert parse_segment(segment, packet) == 0
    return encode_record(ResponseRecord.of(segment))


def states(probe: Probe) -> list[str]:
    return [attempt["state"] for attempt in probe.to_json()]


@pytest.mark.parametrize("target", [TARGET, TARGET6])
def test_answered(target: tuple[bytes, int]) -> None:
    """A SYN/ACK ends it; the target is reset with the number that it expects."""
    probe, wire = probe_to(target)
    (syn,) = wire.sent
    assert (syn.flags, syn.dst, syn.dst_port) == (SYN, *target)
    assert syn.mss and syn.window_scale == 7
    assert not probe.done
    probe.receive([answer(syn, SYN | ACK)], 100.5)
    assert probe.done and states(probe) == ["answered"]
    assert probe.to_json()[0]["answer_s"] == 0.5
    reset = wire.sent[-1]
    assert (reset.flags, reset.seq, reset.key) == (RST, (syn.seq + 1) & 0xFFFFFFFF, syn.key)
    assert probe.next_timer() == float("inf")


def test_refused() -> None:
    """An RST is an answer as well; there is nothing to reset."""
    probe, wire = probe_to(TARGET)
    probe.receive([answer(wire.sent[0], RST | ACK)], 100.1)
    assert states(probe) == ["refused"] and len(wire.sent) == 1


def test_sent_again_then_given_up() -> None:
    """Three SYNs alike, and an RST, as it may be the answer that is lost."""
    probe, wire = probe_to(TARGET)
    for _ in range(10):
        due = probe.next_timer()
        if due == float("inf"):
            break
        probe.handle_timer(due)
    assert [segment.flags for segment in wire.sent] == [SYN, SYN, SYN, RST]
    assert len({segment.seq for segment in wire.sent[:3]}) == 1
    assert states(probe) == ["no_answer"] and probe.to_json()[0]["sent"] == 3
    probe.receive([answer(wire.sent[0], SYN | ACK)], 100 + GIVE_UP_S + 1)
    assert states(probe) == ["no_answer"]


def test_answers_to_something_else() -> None:
    """Another acknowledgement number, and another session's record, are none."""
    probe, wire = probe_to(TARGET)
    other, others = probe_to(TARGET6)
    probe.receive([answer(wire.sent[0], SYN | ACK, ack=5), answer(others.sent[0], SYN | ACK)], 100.1)
    assert states(probe) == ["waiting"]
    assert states(other) == ["waiting"]


def test_what_cannot_be_sent() -> None:
    """The reason is kept, unless an answer came all the same."""
    probe, wire = probe_to(TARGET)
    wire.reason = "next hop does not answer"
    probe.handle_timer(100.5)
    assert states(probe) == ["waiting"]
    probe.handle_timer(101.5)
    probe.handle_timer(103.0)
    assert states(probe) == ["not_sent"]
    assert probe.to_json()[0]["reason"] == "next hop does not answer"


def test_cancelled() -> None:
    """A copy that ends resets what it has begun."""
    probe, wire = probe_to(TARGET, TARGET6)
    probe.receive([answer(wire.sent[0], SYN | ACK)], 100.1)
    probe.cancel(100.2)
    assert states(probe) == ["answered", "no_answer"]
    assert [segment.flags for segment in wire.sent] == [SYN, SYN, RST, RST]


def test_flow() -> None:
    """The last address of the target's family, and a port that no session has; none where there is none."""
    seen: list[FlowKey] = []

    def taken(flow: FlowKey) -> bool:
        seen.append(flow)
        return len(seen) < 5

    flow = flow_for_probe(RANGES, *TARGET, taken)
    assert flow == seen[-1] and len(seen) == 5
    mirror, port, target, target_port = flow_ends(flow)
    assert (mirror, target, target_port) == (bytes([192, 168, 60, 254]), *TARGET)
    assert 1024 <= port < 8192
    assert flow_for_probe(RANGES, *TARGET, lambda _flow: True) is None
    assert flow_for_probe(RANGES[:1], *TARGET6, free) is None
