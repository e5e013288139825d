"""The workers' parts of the packets, by the kernel itself: each is kept by the one that the hash says."""

from __future__ import annotations

import contextlib
import socket
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copytool.io.bpf import attach_filter, compile_filter
from copytool.io.partition import keep_part
from copytool.mirror.mapping import flow_hash
from copytool.wire.build import build_segment
from copytool.wire.segment import ACK

FILTER = compile_filter("tcp and (dst port 1025 or (dst host 10.0.0.1 and dst port 80))", 0x40000)
ADDRESSES = st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16)


class Sieve:
    """A datagram socket with a filter: what a packet socket would keep."""

    def __init__(self, code: bytes) -> None:
        self._into, self._out = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._out.setblocking(False)
        attach_filter(self._out, code)

    def keeps(self, packet: bytes) -> int:
        """Return how many octets pass."""
        with contextlib.suppress(PermissionError):  # the filter has refused it
            self._into.send(packet)
        try:
            return len(self._out.recv(1 << 17))
        except BlockingIOError:
            return 0

    def close(self) -> None:
        self._into.close()
        self._out.close()


@pytest.fixture(scope="module", params=[2, 3, 5, 16])
def sieves(request: pytest.FixtureRequest) -> Iterator[list[Sieve]]:
    """What each of so many workers keeps."""
    made = [Sieve(keep_part(FILTER, part, request.param)) for part in range(request.param)]
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
