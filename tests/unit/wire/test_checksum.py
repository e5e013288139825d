"""The Internet checksum against two independent observers: scapy and the loop of RFC 1071."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.utils import checksum as scapy_checksum

from copytool.wire.checksum import internet_checksum, ones_sum


def rfc1071(data: bytes) -> int:
    """Return the folded sum the way section 4.1 of RFC 1071 writes it."""
    total = 0
    for index in range(0, len(data) - 1, 2):
        total += data[index] << 8 | data[index + 1]
    if len(data) & 1:
        total += data[-1] << 8
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@given(st.binary(max_size=200))
def test_sum_equals_the_naive_loop(data: bytes) -> None:
    """The remainder trick gives what adding word by word gives, odd lengths included."""
    assert ones_sum(data) == rfc1071(data)


@given(st.binary(max_size=200))
def test_checksum_equals_scapy(data: bytes) -> None:
    """Scapy computes the same checksum."""
    assert internet_checksum(data) == scapy_checksum(data)


@given(st.lists(st.binary(max_size=30).map(lambda part: part * 2), max_size=5), st.binary(max_size=31))
def test_parts_equal_the_whole(parts: list[bytes], last: bytes) -> None:
    """Any split at even offsets gives the checksum of the joined buffer."""
    assert internet_checksum(*parts, last) == internet_checksum(b"".join([*parts, last]))


@given(st.binary(min_size=2, max_size=64).filter(lambda data: len(data) % 2 == 0))
def test_a_packet_with_its_checksum_sums_to_all_ones(data: bytes) -> None:
    """A receiver that sums data and checksum finds 0xFFFF, the test of RFC 1071."""
    assert ones_sum(data + internet_checksum(data).to_bytes(2, "big")) == 0xFFFF


@pytest.mark.parametrize(
    "data",
    [b"", b"\0", b"\0" * 8, b"\xff\xff", b"\xff\xff\xff\xff", b"\xff\xfe\x00\x01", b"\x01", b"\xff" * 65535],
    ids=["empty", "one zero", "zeros", "ones", "ones twice", "sum is all ones", "odd", "64 KiB"],
)
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_edges(data: bytes, kind: type) -> None:
    """The two representations of zero, and every buffer type, are treated as the loop treats them."""
    assert ones_sum(kind(data)) == rfc1071(data)
    assert internet_checksum(kind(data)) == scapy_checksum(data)
