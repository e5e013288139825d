"""A copy's share: the client networks whose responses belong to it and the targets they may come from."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from ..errors import DecodeError
from ..wire.prefix import PrefixSet
from .frames import plain

__all__ = ["MAX_NETWORKS", "MAX_TARGETS", "Network", "Share"]

Network = IPv4Network | IPv6Network

MAX_NETWORKS = 64
MAX_TARGETS = 1024
"""Bounds on what one hello may claim, so that a hello cannot make each response expensive to attribute."""


class Share:
    """The client networks and targets of one copy."""

    __slots__ = ("_prefixes", "networks", "targets")

    def __init__(self, networks: list[Network], targets: list[tuple[bytes, int]]) -> None:
        self.networks = networks
        self.targets = frozenset(targets)
        self._prefixes = PrefixSet([(network.network_address.packed, network.prefixlen) for network in networks])

    def owns(self, mirror: bytes) -> bool:
        """Return whether the packed address `mirror` is in one of the client networks."""
        return mirror in self._prefixes

    def overlap(self, other: Share) -> Network | None:
        """Return a client network of this share that overlaps one of `other`, or None."""
        for mine in self.networks:
            for theirs in other.networks:
                if mine.version == theirs.version and mine.overlaps(theirs):
                    return mine
        return None

    def to_json(self) -> dict[str, Any]:
        """Return the share as it stands in a hello."""
        return {
            "client_networks": [str(network) for network in self.networks],
            "targets": [[address.hex(), port] for address, port in sorted(self.targets)],
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Share:
        """Return the share that a hello claims."""
        networks, targets = document.get("client_networks"), document.get("targets")
        if not isinstance(networks, list) or not 1 <= len(networks) <= MAX_NETWORKS:
            raise DecodeError(f"hello must name 1..{MAX_NETWORKS} client networks")
        if not isinstance(targets, list) or not 1 <= len(targets) <= MAX_TARGETS:
            raise DecodeError(f"hello must name 1..{MAX_TARGETS} targets")
        return cls([_decode_network(text) for text in networks], [_decode_target(item) for item in targets])


def _decode_network(text: object) -> Network:
    try:
        return ip_network(text) if isinstance(text, str) and "%" not in text else _refuse(text)  # no scopes
    except ValueError:
        return _refuse(text)


def _refuse(text: object) -> Network:
    raise DecodeError(f"hello has a bad client network: {plain(text, 60)!r}")


def _decode_target(item: object) -> tuple[bytes, int]:
    if isinstance(item, list) and len(item) == 2:
        text, port = item
        if isinstance(text, str) and len(text) in (8, 32) and type(port) is int and 0 < port < 65536:
            try:
                address = bytes.fromhex(text)  # skips white space
            except ValueError:
                address = b""
            if len(address) * 2 == len(text):
                return address, port
    parts = item[:3] if isinstance(item, list) else [item]
    raise DecodeError(f"hello has a bad target: {' '.join([plain(part, 40) for part in parts])!r}")
