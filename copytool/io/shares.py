"""What each of several workers gets of the whole: its part of the client network, of the memory and of the limits.

Each share is the settings of a copy by itself, with addresses that no other worker has. So intercept sends each
worker the responses to its own sessions, and workers need to know nothing of each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, summarize_address_range
from itertools import pairwise
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..link.share import MAX_NETWORKS, Network
from .settings import BudgetLimits, CopySettings

__all__ = ["split_network", "split_settings"]

_MIB = 1 << 20
_COARSENESS = 16  # parts end at multiples of a power of two that is a 16th of them: few networks instead of many

Range = tuple[bytes, int]
"""(first packed address, count)"""


def split_settings(settings: CopySettings) -> list[CopySettings]:
    """Return the settings of each of `settings.workers` workers; their sums are what `settings` says.

    Raises ConfigError if something cannot be split into so many parts.
    """
    workers = settings.workers
    mirror, budgets = settings.mirror, settings.budgets
    if not settings.client_ranges:
        raise ConfigError(
            f"--workers {workers} needs -c (--client-network), of which each worker takes a part;"
            " with --keep-client-addresses there can be only one"
        )
    for flag, amount in (
        ("--ring-size", settings.ring_bytes // _MIB),
        ("--total-buffer", mirror.total_buffer_bytes // _MIB),
        ("--max-sessions", mirror.max_sessions),
        ("--memory-limit", (budgets.memory_bytes or workers * _MIB) // _MIB),
    ):
        if amount < workers:
            raise ConfigError(f"{flag} {amount} is less than one for each of {workers} workers (--workers)")
    networks: list[list[Network]] = [[] for _ in range(workers)]
    ranges: list[list[Range]] = [[] for _ in range(workers)]
    for size in sorted({len(address) for address, _ in settings.targets.values()}):
        pairs = zip(settings.client_networks, settings.client_ranges, strict=True)
        own = [pair for pair in pairs if len(pair[1][0]) == size]
        for number, (part_networks, part_ranges) in enumerate(split_network(own, workers)):
            networks[number] += part_networks
            ranges[number] += part_ranges
    return [
        replace(
            settings,
            worker=number,
            client_networks=networks[number],
            client_ranges=ranges[number],
            all_client_ranges=settings.client_ranges,
            control_socket=Path(f"{settings.control_socket}.{number + 1}"),
            mirror=replace(
                mirror,
                max_sessions=_part(mirror.max_sessions, number, workers),
                total_buffer_bytes=mirror.total_buffer_bytes // workers,
            ),
            budgets=_part_of_budgets(budgets, workers),
            ring_bytes=settings.ring_bytes // workers,
        )
        for number in range(workers)
    ]


def _part_of_budgets(budgets: BudgetLimits, parts: int) -> BudgetLimits:
    cpu, memory, bandwidth = budgets.cpu_percent, budgets.memory_bytes, budgets.bandwidth_bits
    return BudgetLimits(
        cpu_percent=None if cpu is None else cpu / parts,
        memory_bytes=None if memory is None else memory // parts,
        bandwidth_bits=None if bandwidth is None else bandwidth // parts,
    )


def _part(amount: int, number: int, parts: int) -> int:
    return amount * (number + 1) // parts - amount * number // parts


def split_network(pairs: Sequence[tuple[Network, Range]], parts: int) -> list[tuple[list[Network], list[Range]]]:
    """Split networks of one family, each with its usable addresses, into `parts` of about the same size.

    Returns (networks to announce, usable addresses) of each part. Raises ConfigError if there are too few addresses.
    """
    total = sum(count for _, (_, count) in pairs)
    if total < parts:
        family = f"IPv{pairs[0][0].version} " if pairs else ""
        raise ConfigError(
            f"-c (--client-network): {total} {family}addresses are not enough for {parts} workers (--workers), which"
            " need one each; name a larger network, or have fewer workers"
        )
    cuts = [_cut(pairs, total * number // parts, total // parts) for number in range(1, parts)]
    return [_between(pairs, begin, end) for begin, end in pairwise([0, *cuts, total])]


def _cut(pairs: Sequence[tuple[Network, Range]], index: int, size: int) -> int:
    """Return the index of a usable address near `index` at which a part of `size` addresses may well begin."""
    block = 1 << max((size // _COARSENESS).bit_length() - 1, 0)
    before = 0
    for _, (first, count) in pairs:
        if index < before + count:
            start = int.from_bytes(first, "big")
            nearest = (start + index - before + block // 2) // block * block
            return before + min(max(nearest - start, 0), count)
        before += count
    return before


def _between(pairs: Sequence[tuple[Network, Range]], begin: int, end: int) -> tuple[list[Network], list[Range]]:
    networks: list[Network] = []
    ranges: list[Range] = []
    before = 0
    for network, (first, count) in pairs:
        low, high = max(begin - before, 0), min(end - before, count)
        before += count
        if low < high:
            start = int.from_bytes(first, "big")
            ranges.append(((start + low).to_bytes(len(first), "big"), high - low))
            networks += _announced(network, start, count, low, high)
    if len(networks) > MAX_NETWORKS:
        raise ConfigError(
            f"-c (--client-network): a worker's part has more than {MAX_NETWORKS} networks; name fewer, larger ones"
        )
    return networks, ranges


def _announced(network: Network, start: int, count: int, low: int, high: int) -> list[Network]:
    """Return usable addresses low..high-1 as networks, with those beside them that are no host's."""
    bottom, top = int(network.network_address), int(network.broadcast_address)
    first = bottom if low == 0 else start + low
    last = top if high == count and top - (start + count) <= 0 else start + high - 1
    kind: Any = IPv4Address if network.version == 4 else IPv6Address
    return list(summarize_address_range(kind(first), kind(last)))
