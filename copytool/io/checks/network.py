"""Interfaces, addresses, forwarding, reverse path filters, connection tracking: what the kernel's settings say."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from ...link.share import Network
from ...wire.address import format_address
from ..interfaces import IFF_RUNNING, IFF_UP, interface_flags, is_up
from . import host
from .result import Result, failed, ok, skipped, warning

__all__ = [
    "arrival_interfaces",
    "check_client_network",
    "check_conntrack",
    "check_forwarding",
    "check_interfaces",
    "check_rp_filter",
]

_FORWARDING = {
    4: ("net/ipv4/ip_forward", "net/ipv4/conf/{}/forwarding", "net.ipv4.ip_forward=0"),
    6: ("net/ipv6/conf/all/forwarding", "net/ipv6/conf/{}/forwarding", "net.ipv6.conf.all.forwarding=0"),
}
_STRICT = 1
_NEARLY_FULL = 0.9


def check_interfaces(names: Iterable[str]) -> Iterator[Result]:
    """Whether the interfaces to capture on are there, up, and have a carrier; "" means all of them."""
    existing = [name for _, name in socket.if_nameindex()]
    for name in names:
        if not name:
            up = [own for own in existing if own != host.LOOPBACK and is_up(own)]
            if up:
                yield ok("interface", f"all: up are {', '.join(up)}", "any")
            else:
                yield failed("interface", "none is up", "this host has no network", "see `ip link`", "any")
            continue
        flags = interface_flags(name)
        if flags is None:
            cause, fix = f"there is no interface {name}", f"give -i one of {', '.join(existing)}"
            yield failed("interface", "does not exist", cause, fix, name)
        elif not flags & IFF_UP:
            yield failed("interface", "is down", f"{name} is switched off", f"ip link set {name} up", name)
        elif not flags & IFF_RUNNING:
            yield failed("interface", "has no carrier", "the cable, or its other end, is down", "see `ip link`", name)
        else:
            yield ok("interface", "up", name)


def arrival_interfaces(names: Iterable[str]) -> list[str]:
    """Return the interfaces that are meant: those named, or all that are up but the loopback, if one is ""."""
    names = list(names)
    if "" in names:
        return [name for _, name in socket.if_nameindex() if name != host.LOOPBACK and is_up(name)]
    return names


def check_client_network(networks: Iterable[Network]) -> Iterator[Result]:
    """Whether no address of this host is in the client network: the kernel would answer by itself."""
    local = host.local_addresses()
    for network in networks:
        inside = [(format_address(own), name) for own, name in local.items() if ip_address(own) in network]
        if not network.prefixlen:
            yield skipped("client network", "the clients' own addresses are kept", str(network))
        elif inside:
            address, name = inside[0]
            cause = f"{address} on {name} is inside it; the kernel answers for that address by itself"
            fix = f"take a network that exists nowhere for -c, or: ip address del {address} dev {name}"
            yield failed("client network", f"{address} is an address of this host", cause, fix, str(network))
        else:
            yield ok("client network", "no address of this host is in it", str(network))


def check_forwarding(interfaces: Iterable[str], versions: Iterable[int]) -> Iterator[Result]:
    """Whether the assistant forwards nothing: answers must end here, or they reach real hosts, or come back as RSTs."""
    for version in sorted(set(versions)):
        everywhere, each, setting = _FORWARDING[version]
        on = [name for name in interfaces if host.read_sysctl(each.format(name))]
        subject = f"IPv{version}"
        if host.read_sysctl(everywhere):
            on = on or ["all"]
        if on:
            cause = f"the kernel forwards what arrives on {', '.join(on)}: answers go on to real hosts, or are rejected"
            fix = f"sysctl -w {setting}" + "".join(f" {each.format(name)}=0".replace("/", ".") for name in on[:3])
            yield failed("forwarding", "is on", cause, fix if on != ["all"] else f"sysctl -w {setting}", subject)
        else:
            yield ok("forwarding", "is off", subject)


def check_rp_filter(arrival: str, way_back: str) -> Result:
    """Whether packets from the client network, which arrive on one interface, pass reverse path filtering.

    way_back: the interface that the route to the client network leads out of; "" if there is none.
    """
    everywhere = host.read_sysctl("net/ipv4/conf/all/rp_filter") or 0
    own = host.read_sysctl(f"net/ipv4/conf/{arrival}/rp_filter") or 0
    value = max(everywhere, own)  # ip-sysctl: the larger one counts
    seen = {0: "off", 1: "strict", 2: "loose"}.get(value, str(value))
    if value == _STRICT and way_back and way_back != arrival:
        cause = f"packets come in on {arrival}, and the route of the client network leads out of {way_back}"
        names = [name for name, on in (("all", everywhere == _STRICT), (arrival, own != 2)) if on]
        fix = "sysctl -w " + " ".join(f"net.ipv4.conf.{name}.rp_filter=2" for name in names)
        return failed("rp_filter", f"{seen}, and another way back", cause, fix, arrival)
    if value == _STRICT and not way_back:
        return skipped("rp_filter", f"{seen}; it drops what it has no way back for: see route", arrival)
    return ok("rp_filter", seen, arrival)


def check_conntrack() -> Result:
    """Whether the kernel's table of connections is full: then it drops new ones."""
    count = host.read_sysctl("net/netfilter/nf_conntrack_count")
    limit = host.read_sysctl("net/netfilter/nf_conntrack_max")
    if count is None or not limit:
        return ok("conntrack", "not in use")
    seen = f"{count:,} of {limit:,} entries"
    if count >= _NEARLY_FULL * limit:
        cause = "the table of connections is full, or nearly so: new ones are dropped"
        return warning("conntrack", seen, cause, f"sysctl -w net.netfilter.nf_conntrack_max={2 * limit}")
    return ok("conntrack", seen)
