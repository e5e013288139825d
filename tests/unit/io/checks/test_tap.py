"""What the taps show, as the kernel itself decides."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from copytool.io.bpf import compile_filter
from copytool.io.checks.tap import handshake_filter, handshakes_of
from copytool.wire.build import build_segment
from copytool.wire.segment import ACK, FIN, RST, SYN

from ..sieve import Sieve

ADDRESSES = (bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])), (bytes(15) + b"\1", bytes(15) + b"\2")


@pytest.fixture
def sieve() -> Iterator[Sieve]:
    """Everything that the taps are shown."""
    made = Sieve(handshake_filter())
    yield made
    made.close()


@pytest.mark.parametrize("addresses", ADDRESSES)
@pytest.mark.parametrize(
    ("flags", "is_shown"),
    [(SYN, True), (SYN | ACK, True), (RST, True), (RST | ACK, True), (ACK, False), (FIN | ACK, False)],
)
def test_handshakes_and_resets(sieve: Sieve, addresses: tuple[bytes, bytes], flags: int, is_shown: bool) -> None:
    """SYNs and RSTs of both families, with data or without, and nothing else of TCP."""
    for payload in (b"", b"x" * 50):
        packet = build_segment(*addresses, 1025, 40000, 1, 2, flags, 1000, payload=payload)
        assert bool(sieve.keeps(packet)) == is_shown


@pytest.mark.parametrize("addresses", ADDRESSES)
def test_other_protocols(sieve: Sieve, addresses: tuple[bytes, bytes]) -> None:
    """UDP that looks alike, and fragments, are left out."""
    packet = bytearray(build_segment(*addresses, 1025, 40000, 1, 2, SYN, 1000))
    packet[9 if len(addresses[0]) == 4 else 6] = 17
    assert not sieve.keeps(bytes(packet))
    if len(addresses[0]) == 4:
        packet[9], packet[7] = 6, 1
        assert not sieve.keeps(bytes(packet))


def test_both_filters() -> None:
    """Behind another filter only what passes both."""
    made = Sieve(handshakes_of(compile_filter("tcp and src port 1025", 128)))
    for port, flags, is_shown in ((1025, SYN, True), (1026, SYN, False), (1025, ACK, False)):
        packet = build_segment(*ADDRESSES[0], port, 40000, 1, 2, flags, 1000)
        assert bool(made.keeps(packet)) == is_shown
    made.close()
