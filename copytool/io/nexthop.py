"""Where packets for a target leave this host: interface and link-layer header, from the kernel's tables.

Sending on a packet socket does not make the kernel resolve or refresh neighbours, so it is asked to, through netlink:
no packet of ours is needed for that. The tables are the production host's: entries that somebody made on purpose are
only read.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import struct
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from ..wire.address import format_address
from .neighbours import FIXED, FRESH, NeighbourKeeper, find_neighbour
from .netlink import IPRoute, NetlinkError

__all__ = ["NextHop", "NextHopTable"]

_log = logging.getLogger(__name__)

_REFRESH_S = 2.0
_RETRY_S = 0.2
_GRACE_S = 1.0

_NUD_USABLE = 0x02 | 0x04 | 0x08 | 0x10 | 0x40 | 0x80  # reachable, stale, delay, probe, noarp, permanent
_ARPHRD_ETHER = 1
_RTN_LOCAL = 2
_ETHERTYPE = {socket.AF_INET: 0x0800, socket.AF_INET6: 0x86DD}


@dataclass(frozen=True, slots=True)
class NextHop:
    """How to send to one target."""

    interface: str
    """Outgoing interface."""

    header: bytes
    """Ethernet header to put before the IP packet; empty where there is no link layer."""

    mtu_bytes: int
    """Largest IP packet the route takes."""


@dataclass(frozen=True, slots=True)
class _Problem:
    text: str
    since: float
    logged: str


class NextHopTable:
    """Next hops of a fixed set of targets, kept fresh by polling the kernel every two seconds.

    hops: targets that can be reached. local_addresses: the packed addresses of this host. on_refresh(table) is called
    after each look-up. allow_local: whether a target may be an address of this host.
    """

    def __init__(
        self,
        targets: list[bytes],
        keeper: NeighbourKeeper,
        on_refresh: Callable[[NextHopTable], None],
        now: float,
        allow_local: bool = False,
    ) -> None:
        self.hops: dict[bytes, NextHop] = {}
        self._keeper = keeper
        self._targets = targets
        self._allow_local = allow_local
        self._on_refresh = on_refresh
        self._problems: dict[bytes, _Problem] = {}
        self.local_addresses: frozenset[bytes] = frozenset()
        self._refresh_at = now
        self._steps: Iterator[None] | None = None
        self._netlink = IPRoute()
        while self._refresh_at <= now:
            self.handle_timer(now)

    @property
    def problems(self) -> dict[str, str]:
        """Targets that cannot be reached now, with the reason."""
        return {format_address(target): problem.text for target, problem in self._problems.items()}

    def next_timer(self) -> float:
        """Return when handle_timer wants to be called."""
        return self._refresh_at

    def handle_timer(self, now: float) -> None:
        """Look everything up again if it is time: one question to the kernel, then the rest when called again at once.

        Each takes a millisecond, in which the mirror waits.
        """
        if now < self._refresh_at:
            return
        self._refresh_at = now + _REFRESH_S  # first: a failure below must not call us again at once
        steps, self._steps = self._steps or self._refresh_all(now), None
        try:
            next(steps)
        except StopIteration:
            if self._problems:
                self._refresh_at = now + _RETRY_S
            self._on_refresh(self)
        else:
            self._steps = steps
            self._refresh_at = now

    def expedite(self, now: float) -> None:
        """A send failed: look again soon."""
        self._refresh_at = min(self._refresh_at, now + _RETRY_S)

    def close(self) -> None:
        """Close the netlink socket."""
        self._netlink.close()

    def _refresh_all(self, now: float) -> Iterator[None]:
        self._refresh_addresses()
        for target in self._targets:
            yield
            yield from self._refresh(target, now)

    def _refresh_addresses(self) -> None:
        entries = [entry.get_attr("IFA_LOCAL") or entry.get_attr("IFA_ADDRESS") for entry in self._netlink.get_addr()]
        self.local_addresses = frozenset(ip_address(text).packed for text in entries if text)

    def _refresh(self, target: bytes, now: float) -> Iterator[None]:
        try:
            hop, problem = yield from self._look_up(target)
        except (NetlinkError, OSError) as error:
            hop, problem = None, f"no route ({_reason(error)})"
        if hop is None:
            self.hops.pop(target, None)
        else:
            self.hops[target] = hop
        self._note(target, problem, now)

    def _note(self, target: bytes, problem: str, now: float) -> None:
        """Keep the problem, and log a change; a neighbour that is just being resolved is none yet."""
        known = self._problems.pop(target, None)
        if not problem:
            if known is not None and known.logged:
                _log.info("target %s is reachable again", format_address(target))
            return
        since, logged = (known.since, known.logged) if known is not None else (now, "")
        if problem != logged and now - since >= _GRACE_S:
            _log.warning("target %s: %s", format_address(target), problem)
            logged = problem
        self._problems[target] = _Problem(problem, since, logged)

    def _look_up(self, target: bytes) -> Generator[None, None, tuple[NextHop | None, str]]:
        family = socket.AF_INET if len(target) == 4 else socket.AF_INET6
        route = _first(self._netlink.route("get", dst=format_address(target), family=family))
        index = route.get_attr("RTA_OIF")
        yield
        link = _first(self._netlink.get_links(index))
        name = str(link.get_attr("IFLA_IFNAME"))
        mtu = _route_mtu(route) or int(link.get_attr("IFLA_MTU"))
        if route["type"] == _RTN_LOCAL and not self._allow_local:
            return None, "is an address of this host"
        # Over the loopback a packet socket will not do: the kernel would look at where such a packet comes from, and
        # drop it. What a raw IP socket sends has its way already.
        if route["type"] == _RTN_LOCAL or link["ifi_type"] != _ARPHRD_ETHER:
            return NextHop(name, b"", mtu), ""
        gateway = _gateway(route) or format_address(target)
        yield
        address = self._neighbour(gateway, index, family)
        if address is None:
            return None, f"next hop {gateway} does not answer on {name}; check the address, the cable, the VLAN"
        source = bytes.fromhex(str(link.get_attr("IFLA_ADDRESS")).replace(":", ""))
        return NextHop(name, address + source + struct.pack("!H", _ETHERTYPE[family]), mtu), ""

    def _neighbour(self, gateway: str, index: int, family: int) -> bytes | None:
        """Return the gateway's link-layer address; start to resolve it, or to check it, where nobody else does."""
        entry = find_neighbour(self._netlink, family, index, gateway)
        state = entry["state"] if entry is not None else 0
        if not state & (FRESH | FIXED):
            self._keeper.resolve(family, index, gateway)
        if entry is None or not state & _NUD_USABLE:
            return None
        return bytes.fromhex(str(entry.get_attr("NDA_LLADDR")).replace(":", ""))


def _first(answers: Iterable[Any]) -> Any:
    for answer in answers:
        return answer
    raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))


def _gateway(route: Any) -> str | None:
    gateway = route.get_attr("RTA_GATEWAY")
    if gateway is None:
        via = route.get_attr("RTA_VIA")
        gateway = via["addr"] if via else None
    return str(gateway) if gateway else None


def _route_mtu(route: Any) -> int | None:
    metrics = route.get_attr("RTA_METRICS")
    mtu = metrics.get_attr("RTAX_MTU") if metrics else None
    return int(mtu) if mtu else None


def _reason(error: Exception) -> str:
    code = getattr(error, "code", None) or getattr(error, "errno", None)
    return errno.errorcode.get(code, str(error)) if isinstance(code, int) else str(error)
