"""Urgent data: the target's kernel marks the same octets as the online host's did."""

from __future__ import annotations

from copytool.wire.segment import ACK, PSH, URG

from .playbook import Packet, Scene


def marked(packets: list[Packet]) -> list[tuple[int, int, int]]:
    """Return (position, size, urgent pointer) of each packet with payload."""
    return [(packet.position, len(packet.payload), packet.urgent) for packet in packets if packet.payload]


def test_each_urgent_octet_ends_a_segment_with_its_pointer() -> None:
    """One segment has room for one pointer, so two urgent octets need two."""
    scene = Scene()
    client = scene.client().opens()
    client.segment(ACK | PSH | URG, 0, b"abXcd", urgent=3)
    client.segment(ACK | PSH | URG, 5, b"Y", urgent=1)
    client.segment(ACK | PSH, 6, b"ef")
    scene.target().accepts()
    assert marked(scene.sent()) == [(0, 3, 3), (3, 3, 3), (6, 2, 0)]


def test_urgent_octet_behind_a_full_segment() -> None:
    """Segments before the one with the urgent octet are ordinary ones."""
    scene = Scene()
    client = scene.client().opens()
    client.segment(ACK | PSH | URG, 0, b"a" * 1000, urgent=3000)
    client.segment(ACK | PSH | URG, 1000, b"a" * 2000, urgent=2000)
    scene.target().accepts(mss=1460)
    assert marked(scene.sent()) == [(0, 1460, 0), (1460, 1460, 0), (2920, 80, 80)]


def test_a_retransmission_is_urgent_again() -> None:
    """What was lost comes with its pointer."""
    scene = Scene()
    client, _ = scene.opened()
    client.segment(ACK | PSH | URG, 0, b"aX", urgent=2)
    assert marked(scene.sent()) == [(0, 2, 2)]
    scene.passes(1.1)
    assert marked(scene.sent())[0] == (0, 2, 2)
