"""Numbers in network byte order, and the one's complement sum judged by scapy and by RFC 1071's own loop."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.utils import checksum as scapy_checksum

from copytool.wire import octets


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
    assert octets.ones_sum(data, 0, len(data)) == rfc1071(data)


@given(st.binary(max_size=200))
def test_checksum_equals_scapy(data: bytes) -> None:
    """Scapy computes the same checksum."""
    assert octets.ones_sum(data, 0, len(data)) ^ 0xFFFF == scapy_checksum(data)


@given(st.binary(max_size=60), st.data())
def test_parts_of_a_buffer(data: bytes, draw: st.DataObject) -> None:
    """A sum, a copy or two joined copies of a part are those of the part alone."""
    start = draw.draw(st.integers(0, len(data)))
    end = draw.draw(st.integers(start, len(data)))
    view = memoryview(data)
    assert octets.ones_sum(view, start, end) == rfc1071(data[start:end])
    assert octets.ones_sum_of(data, end) == rfc1071(data[:end])
    assert octets.take(view, start, end) == data[start:end]
    assert octets.part_of(bytearray(data), start, end) == data[start:end]
    assert octets.join_slices(view, start, end - start, 0, start) == data[start:end] + data[:start]


@pytest.mark.parametrize(
    "data",
    [b"", b"\0", b"\0" * 8, b"\xff\xff", b"\xff\xff\xff\xff", b"\xff\xfe\x00\x01", b"\x01", b"\xff" * 65535],
    ids=["empty", "one zero", "zeros", "ones", "ones twice", "sum is all ones", "odd", "64 KiB"],
)
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_edges(data: bytes, kind: type) -> None:
    """The two representations of zero, and every buffer type, are treated as the loop treats them."""
    assert octets.ones_sum(kind(data), 0, len(data)) == rfc1071(data)


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF))
def test_numbers(small: int, large: int) -> None:
    """What is written is read back, in network byte order."""
    buffer = bytearray(8)
    octets.put16(buffer, 1, small)
    octets.put32(buffer, 4, large)
    assert bytes(buffer) == b"\0" + small.to_bytes(2, "big") + b"\0" + large.to_bytes(4, "big")
    assert (octets.get16(buffer, 1), octets.get32(buffer, 4)) == (small, large)
    octets.put(buffer, 2, b"abc")
    assert bytes(buffer[2:5]) == b"abc" and len(buffer) == 8


def test_ipv4_mapped_addresses() -> None:
    """Only the prefix of RFC 4291, section 2.5.5.2 makes one."""
    assert octets.is_ipv4_mapped(bytes(3) + bytes(10) + b"\xff\xff\1\2\3\4", 3)
    assert not octets.is_ipv4_mapped(bytes(16), 0)
    assert not octets.is_ipv4_mapped(b"\1" + bytes(9) + b"\xff\xff\1\2\3\4", 0)


def test_numbers_in_this_machines_byte_order() -> None:
    """As the kernel writes them into a capture ring."""
    buffer = memoryview(bytearray(12))
    octets.store_status(buffer, 4, 0x01020304)
    assert bytes(buffer[4:8]) == (0x01020304).to_bytes(4, sys.byteorder)
    assert octets.load_status(buffer, 4) == octets.native32(buffer, 4) == 0x01020304
    assert octets.native16(buffer, 4) == int.from_bytes(bytes(buffer[4:6]), sys.byteorder)


@given(st.binary(max_size=20), st.integers(0, 0xFFFFFFFF), st.binary(min_size=4, max_size=60))
def test_appending(before: bytes, number: int, source: bytes) -> None:
    """Behind what is there; a part of another buffer, and a number in network byte order."""
    buffer = bytearray(before)
    octets.append32(buffer, number)
    octets.append(buffer, memoryview(source), 1, len(source) - 1)
    assert buffer == before + number.to_bytes(4, "big") + source[1:-1]
