"""What the network card merges before copy sees it, and whether that fits into copy's ring."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

from pyroute2.ethtool.ethtool import Ethtool

from ..netlink import IPRoute
from ..sources import BLOCK_BYTES
from .result import Result, failed, ok, skipped

__all__ = ["check_offloads"]

_BLOCK_HEADERS = 4096  # the block's own header and the packet's, generously
_SHOWN = ("rx-gro", "rx-gro-hw", "rx-lro", "rx-checksum", "rx-vlan-hw-parse")


def check_offloads(names: Iterable[str]) -> Iterator[Result]:
    """Whether the largest packet that an interface may hand over fits into a block of copy's capture ring."""
    with IPRoute() as netlink, contextlib.closing(Ethtool()) as ethtool:
        links = {str(link.get_attr("IFLA_IFNAME")): link for link in netlink.get_links()}
        for name in names:
            if name not in links:
                yield skipped("offloads", "there is no such interface", name)
                continue
            largest = _largest(links[name])
            seen = f"{_features(ethtool, name)}; merged packets of up to {largest:,} bytes"
            if largest > BLOCK_BYTES - _BLOCK_HEADERS:
                cause = f"packets of more than {BLOCK_BYTES:,} bytes do not fit into the capture ring, and are lost"
                fix = f"ip link set {name} gro_max_size 65536 gro_ipv4_max_size 65536"
                yield failed("offloads", seen, cause, fix, name)
            else:
                yield ok("offloads", seen, name)


def _largest(link: Any) -> int:
    sizes = [link.get_attr(key) for key in ("IFLA_GRO_MAX_SIZE", "IFLA_GRO_IPV4_MAX_SIZE")]
    return max([int(size) for size in sizes if size] or [65536])


def _features(ethtool: Any, name: str) -> str:
    try:
        features = ethtool.get_features(name).features
    except Exception as error:  # pyroute2 has several, and not every interface knows ethtool
        return f"offloads unknown ({error})"
    on = [shown for shown in _SHOWN if getattr(features.get(shown), "enable", features.get(shown))]
    return f"on: {', '.join(on) or 'none'}"
