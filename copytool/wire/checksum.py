"""The Internet checksum (RFC 1071)."""

from __future__ import annotations

__all__ = ["internet_checksum", "ones_sum"]


def ones_sum(data: bytes | bytearray | memoryview) -> int:
    """Return the folded 16-bit one's complement sum of `data`, an odd last octet padded with zero.

    A big-endian number is congruent to the sum of its 16-bit digits modulo 65535, so one big integer
    remainder replaces the loop; only an all-zero buffer sums to 0, every other multiple to 0xFFFF.
    """
    number = int.from_bytes(data, "big")
    if len(data) & 1:
        number <<= 8
    remainder = number % 0xFFFF
    return 0xFFFF if remainder == 0 and number else remainder


def internet_checksum(*parts: bytes | bytearray | memoryview) -> int:
    """Return the checksum field over `parts`, each but the last of even length."""
    total = 0
    for part in parts:
        total += ones_sum(part)
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF
