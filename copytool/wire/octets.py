"""Reading and writing octets in network byte order, at C speed where the modules that use it are compiled.

This module is never compiled: compiled modules take the same functions from octets.pxd, which has them in C. They check
no bounds there, so whoever calls them has made sure that what is read or written lies inside the buffer.
"""

from __future__ import annotations

import struct

__all__ = [
    "Buffer",
    "append",
    "append32",
    "are_same",
    "get16",
    "get32",
    "is_ipv4_mapped",
    "join_ends",
    "join_slices",
    "load_status",
    "native16",
    "native32",
    "ones_sum",
    "ones_sum_of",
    "part_of",
    "put",
    "put16",
    "put32",
    "store_status",
    "take",
]

Buffer = bytes | bytearray | memoryview

_U16 = struct.Struct("!H")
_MAPPED = bytes(10) + b"\xff\xff"
_U32 = struct.Struct("!I")
_NATIVE16 = struct.Struct("=H")
_NATIVE32 = struct.Struct("=I")


def get16(buffer: Buffer, at: int) -> int:
    """Return the 16-bit number at offset `at`."""
    return buffer[at] << 8 | buffer[at + 1]


def get32(buffer: Buffer, at: int) -> int:
    """Return the 32-bit number at offset `at`."""
    number: int = _U32.unpack_from(buffer, at)[0]
    return number


def native16(buffer: Buffer, at: int) -> int:
    """Return the 16-bit number at offset `at`, in this machine's byte order."""
    number: int = _NATIVE16.unpack_from(buffer, at)[0]
    return number


def native32(buffer: Buffer, at: int) -> int:
    """Return the 32-bit number at offset `at`, in this machine's byte order."""
    number: int = _NATIVE32.unpack_from(buffer, at)[0]
    return number


def load_status(buffer: memoryview, at: int) -> int:
    """Return native32() of what the kernel writes after all that it tells about."""
    return native32(buffer, at)


def store_status(buffer: memoryview, at: int, status: int) -> None:
    """Write a number at offset `at`, in this machine's byte order, after all that was read before."""
    _NATIVE32.pack_into(buffer, at, status)


def put16(buffer: bytearray, at: int, number: int) -> None:
    """Write a 16-bit number at offset `at`."""
    _U16.pack_into(buffer, at, number)


def put32(buffer: bytearray, at: int, number: int) -> None:
    """Write a 32-bit number at offset `at`."""
    _U32.pack_into(buffer, at, number)


def put(buffer: bytearray, at: int, octets: bytes) -> None:
    """Write octets at offset `at`, over what is there."""
    buffer[at : at + len(octets)] = octets


def append32(buffer: bytearray, number: int) -> None:
    """Append a 32-bit number."""
    buffer += _U32.pack(number)


def append(buffer: bytearray, source: Buffer, start: int, end: int) -> None:
    """Append the octets of another buffer from `start` to before `end`."""
    buffer += source[start:end]


def take(buffer: Buffer, start: int, end: int) -> bytes:
    """Return a copy of the octets from `start` to before `end`."""
    return bytes(buffer[start:end])


def part_of(buffer: bytearray, start: int, end: int) -> bytes:
    """Return take() of a bytearray, of which C need not make a view."""
    return bytes(buffer[start:end])


def join_slices(buffer: Buffer, first: int, first_size: int, second: int, second_size: int) -> bytes:
    """Return a copy of two stretches of a buffer, one behind the other."""
    return bytes(buffer[first : first + first_size]) + bytes(buffer[second : second + second_size])


def join_ends(src: bytes, src_port: int, dst: bytes, dst_port: int) -> bytes:
    """Return two addresses of one size, and two ports of 16 bits behind them."""
    return b"%b%b%b%b" % (src, dst, src_port.to_bytes(2, "big"), dst_port.to_bytes(2, "big"))


def is_ipv4_mapped(buffer: Buffer, at: int) -> bool:
    """Return whether the 16 octets at offset `at` are an IPv4-mapped IPv6 address (RFC 4291, section 2.5.5.2)."""
    return bytes(buffer[at : at + 12]) == _MAPPED


def are_same(buffer: Buffer, first: int, second: int, size: int) -> bool:
    """Return whether two stretches of `size` octets have the same in them."""
    return buffer[first : first + size] == buffer[second : second + size]


def ones_sum(buffer: Buffer, start: int, end: int) -> int:
    """Return the folded 16-bit one's complement sum (RFC 1071), an odd last octet padded with zero.

    A big-endian number is congruent to the sum of its 16-bit digits modulo 65535, so one big integer
    remainder replaces the loop; only an all-zero buffer sums to 0, every other multiple to 0xFFFF.
    """
    number = int.from_bytes(buffer[start:end], "big")
    if (end - start) & 1:
        number <<= 8
    remainder = number % 0xFFFF
    return 0xFFFF if remainder == 0 and number else remainder


def ones_sum_of(octets: bytes, size: int) -> int:
    """Return ones_sum() of the first `size` octets; for bytes, of which C need not make a view."""
    return ones_sum(octets, 0, size)
