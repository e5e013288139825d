"""Sets of address prefixes."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["PrefixSet"]


class PrefixSet:
    """Contains the packed addresses that begin with one of `prefixes`: (packed address, length in bits)."""

    __slots__ = ("_matchers",)

    def __init__(self, prefixes: Sequence[tuple[bytes, int]]) -> None:
        # (address length, shift, prefix): one shift and one comparison per prefix
        self._matchers = [
            (len(packed), shift := len(packed) * 8 - bits, int.from_bytes(packed, "big") >> shift)
            for packed, bits in prefixes
        ]

    def __len__(self) -> int:
        return len(self._matchers)

    def __contains__(self, address: bytes) -> bool:
        number = int.from_bytes(address, "big")
        size = len(address)
        for length, shift, prefix in self._matchers:
            if length == size and number >> shift == prefix:
                return True
        return False
