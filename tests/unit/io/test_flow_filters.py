"""What the kernel itself decides by the hash: each packet is its worker's, and chosen or not, as Python says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copytool.io.bpf import compile_filter
from copytool.io.filter_logic import all_of
from copytool.io.flow_filters import in_part, in_sample
from copytool.mirror.mapping import Sampler, flow_hash
from copytool.wire.build import build_segment
from copytool.wire.segment import ACK

from .sieve import Sieve

FILTER = compile_filter("tcp and (dst port 1025 or (dst host 10.0.0.1 and dst port 80))", 0x40000)
ADDRESSES = st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16)


@pytest.fixture(scope="module", params=[2, 3, 5, 16])
def sieves(request: pytest.FixtureRequest) -> Iterator[list[Sieve]]:
    """What each of so many workers keeps."""
    made = [Sieve(all_of(FILTER, in_part(part, request.param))) for part in range(request.param)]
    yield made
    for sieve in made:
        sieve.close()


def _packet(client: bytes, port: int, to_port: int, payload: bytes = b"") -> bytes:
    return build_segment(client, bytes(len(client)), port, to_port, 7, 9, ACK, 1000, payload=payload)


@settings(max_examples=300)
@given(ADDRESSES, st.integers(1, 65535), st.binary(max_size=100))
def test_one_worker_keeps_each_packet(sieves: list[Sieve], client: bytes, port: int, payload: bytes) -> None:
    """The worker whose number is the hash's remainder keeps all of the packet, and no other does any of it."""
    packet = _packet(client, port, 1025, payload)
    kept = [sieve.keeps(packet) for sieve in sieves]
    expected = [0] * len(sieves)
    expected[flow_hash(client, port) % len(sieves)] = len(packet)
    assert kept == expected


@pytest.fixture(scope="module", params=[1e-9, 0.01, 1, 50, 99.9])
def sample(request: pytest.FixtureRequest) -> Iterator[tuple[Sieve, Sampler]]:
    """What is kept of a sample of so many per cent, and the sampler of the mirror."""
    sampler = Sampler(request.param)
    sieve = Sieve(all_of(FILTER, in_sample(sampler.threshold)))
    yield sieve, sampler
    sieve.close()


@settings(max_examples=300)
@given(ADDRESSES, st.integers(1, 65535), st.binary(max_size=100))
def test_the_sample_is_the_mirrors(sample: tuple[Sieve, Sampler], client: bytes, port: int, payload: bytes) -> None:
    """The kernel chooses the connections that the sampler chooses, and keeps all of their packets."""
    sieve, sampler = sample
    packet = _packet(client, port, 1025, payload)
    assert sieve.keeps(packet) == (len(packet) if sampler.chooses(client, port) else 0)


def test_ports_of_one_client_are_sampled_alike(sample: tuple[Sieve, Sampler]) -> None:
    """Neighbours, of whom about as many are chosen as was asked for: the kernel's are the sampler's, one by one."""
    sieve, sampler = sample
    client = bytes([10, 1, 2, 3])
    ports = range(32768, 37768)
    chosen = [port for port in ports if sieve.keeps(_packet(client, port, 1025))]
    assert chosen == [port for port in ports if sampler.chooses(client, port)]


def test_ip_options_do_not_move_a_connection(sieves: list[Sieve]) -> None:
    """The port is found behind an IPv4 header of any length."""
    client = bytes([10, 1, 2, 3])
    plain = _packet(client, 5000, 1025, b"x")
    for words in (1, 5, 10):
        packet = bytes([0x45 + words]) + plain[1:20] + b"\x01" * 4 * words + plain[20:]
        assert [bool(sieve.keeps(packet)) for sieve in sieves] == [bool(sieve.keeps(plain)) for sieve in sieves]


def test_nobody_keeps_what_the_filter_refuses(sieves: list[Sieve]) -> None:
    """Other ports, other protocols and what is no whole header pass nowhere."""
    client = bytes([10, 1, 2, 3])
    good = _packet(client, 5000, 1025)
    udp = good[:9] + b"\x11" + good[10:]
    for packet in (_packet(client, 5000, 80), udp, good[:15], b"", b"\x00" * 40):
        assert [sieve.keeps(packet) for sieve in sieves] == [0] * len(sieves)


def test_workers_get_as_much_each() -> None:
    """Ports in a row from one client, and one port of clients in a row, spread over the workers."""
    one = [(bytes([10, 0, 0, 1]), port) for port in range(32768, 42768)]
    many = [(bytes([10, 0, number >> 8, number & 255]), 40000) for number in range(10000)]
    for flows in (one, many):
        for workers in (2, 3, 8):
            counts = Counter(flow_hash(*flow) % workers for flow in flows)
            assert min(counts.values()) > 0.9 * 10000 / workers
