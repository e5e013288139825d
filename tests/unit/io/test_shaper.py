"""What is sent stays within a rate: a queue that is short, keeps order and loses no control packet."""

from __future__ import annotations

import random

import pytest

from copytool.io.shaper import BURST_S, LATENCY_S, MAX_WAITING, Shaper
from copytool.mirror.emitter import Outgoing
from copytool.wire.build import build_packet
from copytool.wire.flow import flow_key
from copytool.wire.segment import ACK, RST

KEYS = (
    flow_key(bytes((192, 168, 60, 1)), 40000, bytes((192, 168, 50, 101)), 80),
    flow_key(bytes(15) + b"\x01", 40000, bytes(15) + b"\x02", 80),
)
RATE = 10_000_000


def packet(number: int, size: int, flags: int = ACK, key: bytes = KEYS[0], segment_bytes: int = 0) -> Outgoing:
    """Return a packet with this sequence number and so many octets of payload."""
    return build_packet(key, number, 1, flags, 65535, b"", bytes(size), 0), segment_bytes


def number_of(outgoing: Outgoing) -> int:
    """Return the sequence number of a packet."""
    return int.from_bytes(outgoing[0][24:28], "big")


def test_what_is_little_passes_at_once() -> None:
    """And nothing waits."""
    shaper = Shaper(RATE, 0.0)
    packets = [packet(number, 1000) for number in range(10)]
    assert shaper.pass_on(packets, 0.0) == packets
    assert shaper.next_timer() == float("inf")
    assert shaper.pass_on([], 1.0) == []


@pytest.mark.parametrize("segment_bytes", [0, 1000])
def test_too_much_is_held_back_and_dropped(segment_bytes: int) -> None:
    """Five times the rate: what passes is the rate and a burst, in order, and nothing waits for long."""
    shaper = Shaper(RATE, 0.0)
    chooser = random.Random(3)
    now, number, passed, born = 0.0, 0, [], {}
    size = 4000 if segment_bytes else 1000
    octets = size + 40 * (size // 1000)
    while now < 10:
        now += chooser.expovariate(5 * RATE / 8 / octets)
        number += 1
        born[number] = now
        for outgoing in shaper.pass_on([packet(number, size, segment_bytes=segment_bytes)], now):
            passed.append(number_of(outgoing))
            assert now - born[passed[-1]] <= LATENCY_S + 0.05
    assert passed == sorted(passed)
    assert len(passed) * octets * 8 == pytest.approx(RATE * (10 + BURST_S), rel=0.02)
    assert number - shaper.dropped - len(passed) == len(shaper.drain())


def test_timers() -> None:
    """The next packet goes as soon as the rate allows it."""
    shaper = Shaper(8_000, 0.0)
    first, second = packet(1, 60_000), packet(2, 40_000, key=KEYS[1])
    third = packet(3, 100)
    assert shaper.pass_on([first, second, third], 0.0) == [first, second]
    due = shaper.next_timer()
    assert due == pytest.approx((60_040 + 40_060 - 65_536 + 1) / 1000)
    assert shaper.pass_on([], due - 0.01) == []
    assert shaper.next_timer() == pytest.approx(due)
    assert shaper.pass_on([], due + 0.001) == [third]


def test_resets_take_nothing_from_the_place_for_data() -> None:
    """However many wait, what has payload finds as much place as without them; and there is an end to it."""
    shaper = Shaper(RATE, 0.0)
    resets = [packet(number, 0, RST) for number in range(MAX_WAITING)]
    shaper.pass_on([packet(1, 60_000) for _ in range(6)], 0.0)
    shaper.pass_on(resets[:-1], 0.0)
    assert not shaper.is_full()
    shaper.pass_on([packet(7, 1000), packet(8, 1000)], 0.0)
    assert shaper.dropped == 0 and shaper.is_full()
    assert shaper.next_timer() < 1
    while shaper.is_full():
        shaper.pass_on([], shaper.next_timer())
    assert number_of(shaper.drain()[-1]) == 8


def test_packets_without_payload_are_never_dropped() -> None:
    """Nor overtake others."""
    shaper = Shaper(8_000, 0.0)
    packets = [packet(number, 30_000) for number in range(10)]
    resets = [packet(100 + number, 0, RST) for number in range(50)]
    passed = shaper.pass_on([*packets, *resets], 0.0)
    assert shaper.dropped == 5
    waiting = shaper.drain()
    assert [number_of(one) for one in passed + waiting] == [0, 1, 2, 3, 4, *range(100, 150)]
    assert shaper.next_timer() == float("inf")
