"""From client addresses to the client network, and which clients are sampled.

Both are decided by a 32-bit hash built from operations that classic BPF also has, so that the kernel can make
the same decision and another copy host makes it alike.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from ..errors import ConfigError
from ..wire.flow import FlowKey, flow_key
from ..wire.prefix import PrefixSet

__all__ = ["ClientNetwork", "ClientSelection", "Sampler", "flow_hash"]

_MASK32 = 0xFFFFFFFF
_PORT_FACTOR = 0x9E3779B1
_FACTOR_1 = 0x85EBCA6B
_FACTOR_2 = 0xC2B2AE35
_FIRST_PORT = 1024
_PORTS = 65536 - _FIRST_PORT
_STRIDE = 4099  # coprime to _PORTS, and far enough that clients counting ports up do not follow into it
_MAX_TRIES = 512


def flow_hash(address: bytes, port: int) -> int:
    """Return a uniform 32-bit hash of a packed address and a port (murmur3's finaliser over folded words)."""
    value = port * _PORT_FACTOR & _MASK32
    for start in range(0, len(address), 4):
        word = 0
        for at in range(start, start + 4):
            word = word << 8 | address[at]
        value ^= word
        value = (value ^ value >> 16) * _FACTOR_1 & _MASK32
        value = (value ^ value >> 13) * _FACTOR_2 & _MASK32
        value ^= value >> 16
    return value


class ClientSelection:
    """Which clients are mirrored at all: those whose address is in one of `networks` (packed prefix, length in bits).

    Without any network all are.
    """

    __slots__ = ("_prefixes",)

    def __init__(self, networks: Sequence[tuple[bytes, int]]) -> None:
        self._prefixes = PrefixSet(networks)

    def takes_all(self) -> bool:
        """Return whether there is none that it leaves out."""
        return not self._prefixes

    def __contains__(self, address: bytes) -> bool:
        return not self._prefixes or address in self._prefixes


class Sampler:
    """Chooses a fixed share of client connections; the same address and port is always chosen alike.

    threshold: those are chosen whose flow_hash() is below it.
    """

    __slots__ = ("threshold",)

    def __init__(self, ratio_percent: float) -> None:
        self.threshold = round(ratio_percent / 100 * 0x100000000)

    def chooses(self, address: bytes, port: int) -> bool:
        """Return whether the connection from this client address and port is mirrored."""
        return flow_hash(address, port) < self.threshold


class ClientNetwork:
    """The addresses that mirrored sessions come from.

    A client keeps one address (its copies get the next ones), and its port when that is free; the caller says
    which keys are taken. `ranges` are (first packed address, count), all usable as hosts' addresses. Without any,
    clients keep their own addresses. `members` are the ranges of the whole network if `ranges` are only a part of it.
    """

    __slots__ = ("_members", "_ranges", "_totals")

    def __init__(self, ranges: Sequence[tuple[bytes, int]], members: Sequence[tuple[bytes, int]] | None = None) -> None:
        self._ranges = _by_size(ranges)
        self._members = _first_and_last(ranges if members is None else members)
        self._totals = {size: sum(count for _, count in pairs) for size, pairs in self._ranges.items()}

    @property
    def keeps_clients(self) -> bool:
        """Whether mirrored sessions keep the clients' own addresses."""
        return not any(self._totals.values())

    def __contains__(self, address: bytes) -> bool:
        for first, last in self._members[len(address)]:
            if first <= address <= last:
                return True
        return False

    def check_family(self, target: bytes) -> None:
        """Raise ConfigError if no address has the family of the packed address `target`."""
        if not self.keeps_clients and not self._totals[len(target)]:
            family = "IPv4" if len(target) == 4 else "IPv6"
            raise ConfigError(f"-c has no {family} address, but -x has an {family} target; add one to -c")

    def choose(
        self, client: bytes, port: int, copy: int, target: bytes, target_port: int, taken: Container[FlowKey]
    ) -> FlowKey | None:
        """Return a flow for copy number `copy` of a client connection, or None if no free one was found.

        It leads from a mirror address and port to the target's. Tries the client's own port first, then others in a
        fixed order, _MAX_TRIES in all.
        """
        total = self._totals[len(target)]
        if total:
            mirror = self._address((flow_hash(client, 0) + copy) % total, len(target))
            sharing = copy // total  # copies beyond the addresses share one, ports apart
        elif len(client) == len(target):
            mirror, sharing = client, copy
        else:
            return None
        if sharing:
            port = _FIRST_PORT + (port + sharing * _STRIDE) % _PORTS
        for _ in range(_MAX_TRIES):
            key = flow_key(mirror, port, target, target_port)
            if key not in taken:
                return key
            port = _FIRST_PORT + (port + _STRIDE) % _PORTS
        return None

    def _address(self, index: int, size: int) -> bytes:
        """Return the address number `index`, which is less than the total."""
        ranges = iter(self._ranges[size])
        first, count = next(ranges)
        while index >= count:
            index -= count
            first, count = next(ranges)
        return (first + index).to_bytes(size, "big")


def _by_size(ranges: Sequence[tuple[bytes, int]]) -> dict[int, list[tuple[int, int]]]:
    by_size: dict[int, list[tuple[int, int]]] = {4: [], 16: []}
    for first, count in ranges:
        by_size[len(first)].append((int.from_bytes(first, "big"), count))
    return by_size


def _first_and_last(ranges: Sequence[tuple[bytes, int]]) -> dict[int, list[tuple[bytes, bytes]]]:
    """Return the ranges' ends, packed: addresses in network byte order compare like their numbers."""
    return {
        size: [(first.to_bytes(size, "big"), (first + count - 1).to_bytes(size, "big")) for first, count in pairs]
        for size, pairs in _by_size(ranges).items()
    }
