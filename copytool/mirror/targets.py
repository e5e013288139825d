"""Which target stands for which online service, and what all sessions to a target share."""

from __future__ import annotations

from .config import MirrorConfig
from .habits import TargetHabits
from .path import PathLimit

__all__ = ["Service", "TargetMap", "Targets"]

Service = tuple[bytes | None, int]
"""Online address or None for any, and port; the address packed."""

TargetMap = dict[Service, tuple[bytes, int]]
"""Online service -> (target address, target port); addresses packed."""

_HEADER_BYTES = {4: 40, 16: 60}  # of IP and TCP, by the length of an address


class Targets:
    """The targets of one engine. paths: by address; habits: by address and port."""

    __slots__ = ("_local_addresses", "_map", "_mtu_bytes", "habits", "paths")

    def __init__(self, targets: TargetMap, config: MirrorConfig) -> None:
        self._map = targets
        self._mtu_bytes = config.mtu_bytes
        self._local_addresses: frozenset[bytes] | None = None
        self.habits = {target: TargetHabits(config) for target in targets.values()}
        self.paths = {
            address: PathLimit(_HEADER_BYTES[len(address)], config.mtu_bytes) for address, _ in targets.values()
        }

    def set_host(self, local_addresses: frozenset[bytes], path_mtu: dict[bytes, int], now: float) -> None:
        """Say which addresses this host has, and the largest IP packet towards each target's address.

        A mapping without online address then means these addresses only. Until this is called it means any address.
        """
        self._local_addresses = local_addresses
        for address, mtu_bytes in path_mtu.items():
            self.paths[address].set_route(mtu_bytes, now)

    def note_own_drops(self, now: float) -> None:
        """Say that this host did not send packets that it should have."""
        for path in self.paths.values():
            path.note_own_drops(now)

    def find(self, online: bytes, port: int) -> tuple[bytes, int] | None:
        """Return the target for what is sent to an online service, None if it is not mirrored."""
        target = self._map.get((online, port))
        if target is None and (self._local_addresses is None or online in self._local_addresses):
            target = self._map.get((None, port))
        return target

    def __contains__(self, target: tuple[bytes, int]) -> bool:
        return target in self.habits

    def largest_mss(self, online: bytes) -> int:
        """Return the MSS that fits the configured MTU, for an address of this family."""
        return self._mtu_bytes - _HEADER_BYTES[len(online)]
