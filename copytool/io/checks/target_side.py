"""The checks of the target, in the order in which a session passes. copytool need not be installed there."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from ...wire.address import format_address
from ..settings import CopySettings
from . import host
from .arrivals import check_arrivals
from .firewall import Packet, check_firewall
from .guard import check_guard
from .network import check_client_network, check_conntrack, check_interfaces, check_rp_filter
from .result import Result, failed, ok, run, skipped
from .routes import WayBack, check_neighbour, check_way_back, ends_here

__all__ = ["check_target"]


def check_target(settings: CopySettings, wait_s: float) -> Iterator[Result]:
    """Yield what is found on a target of copy's settings; `wait_s`: how long to look for mirrored SYNs."""
    local = host.local_addresses()
    services = sorted({target for target in settings.targets.values() if target[0] in local})
    interfaces = {address: local[address] for address, _ in services}
    yield from run("address", _check_address, settings, local, interfaces)
    yield from run("interface", check_interfaces, sorted(set(interfaces.values())))
    for address, port in services:
        yield from run("service", _check_service, address, port)
    yield from run("client network", check_client_network, settings.client_networks)
    ways: dict[int, WayBack] = {}
    routes = run("route", _check_routes, settings, ways)
    if services:
        yield from run("rp_filter", _check_filters, settings, interfaces, ways)
        yield from run("firewall", check_firewall, _packets(settings, services, interfaces, ways))
    yield from run("conntrack", check_conntrack)
    if services:
        yield from run("arrivals", check_arrivals, settings.client_networks, services, wait_s)
    yield from routes
    if settings.client_ranges and ends_here([text for text, _ in settings.intercepts]):
        yield from run("guard", check_guard, settings.client_networks, settings.client_ranges, services)
    for way in ways.values():
        yield from run("neighbour", check_neighbour, way)


def _check_address(settings: CopySettings, local: dict[bytes, str], interfaces: dict[bytes, str]) -> Result:
    wanted = ", ".join(sorted({format_address(address) for address, _ in settings.targets.values()}))
    if interfaces:
        own = {format_address(address): name for address, name in interfaces.items()}
        return ok("address", ", ".join(f"{text} on {name}" for text, name in own.items()), addresses=list(own))
    has = ", ".join(format_address(address) for address, name in local.items() if name != host.LOOPBACK)
    cause = f"this host has {has}; copy sends to {wanted}"
    return failed("address", "is no target of copy", cause, "correct the target in copy's -x")


def _check_service(address: bytes, port: int) -> Result:
    subject = f"{format_address(address)} port {port}"
    found = host.listening_addresses(port)
    fitting = [text for text in found if _takes(text, address)]
    if fitting:
        return ok("service", f"listens on {', '.join(fitting)}", subject)
    cause = f"the service listens on {', '.join(found)} only" if found else f"no service listens on port {port}"
    return failed("service", "nothing listens", cause, f"start the service; ss -ltn 'sport = {port}'", subject)


def _takes(listening: str, address: bytes) -> bool:
    """Return whether what listens on one address takes connections to another; :: usually takes IPv4, too."""
    own = ip_address(listening)
    if own.is_unspecified:
        return own.version == 6 or len(address) == 4
    mapped = own.ipv4_mapped if own.version == 6 else None
    return address == (mapped or own).packed


def _check_routes(settings: CopySettings, ways: dict[int, WayBack]) -> Iterator[Result]:
    """Check the way to each client network; fills `ways` with one for each version of IP."""
    assistants = [text for text, _ in settings.intercepts]
    if not settings.client_ranges:
        yield skipped("route", "with --keep-client-addresses it is the clients' own way")
        return
    for network, (first, count) in zip(settings.client_networks, settings.client_ranges, strict=True):
        result, way = check_way_back(network, first, count, assistants)
        if way is not None:
            ways.setdefault(network.version, way)
        yield result


def _check_filters(settings: CopySettings, interfaces: dict[bytes, str], ways: dict[int, WayBack]) -> Iterator[Result]:
    """Reverse path filtering, which IPv4 alone has."""
    if settings.allow_local_target:
        yield ok("rp_filter", "does not matter here: what this host sends to itself has its way already")
        return
    for name in sorted({name for address, name in interfaces.items() if len(address) == 4}):
        way = ways.get(4)
        yield check_rp_filter(name, way.interface if way is not None else "")


def _packets(
    settings: CopySettings, services: list[tuple[bytes, int]], interfaces: dict[bytes, str], ways: dict[int, WayBack]
) -> list[Packet]:
    """Return what the firewall has to let pass: a SYN from the client network, and its answer."""
    packets = []
    local = settings.allow_local_target
    here = ends_here([text for text, _ in settings.intercepts])
    for first, _count in settings.client_ranges:
        for address, port in services:
            if len(address) != len(first):
                continue
            mirror, target = format_address(first), format_address(address)
            arrives, way = host.LOOPBACK if local else interfaces[address], ways.get(4 if len(first) == 4 else 6)
            leaves = way.interface if way is not None else arrives
            if here:  # if it is not so, that is the route's fault, and not that of the guard, which then drops it
                leaves = host.LOOPBACK
            if local:
                packets.append(Packet(("output", "postrouting"), arrives, mirror, 40000, target, port, True))
            packets.append(Packet(("ingress", "prerouting", "input"), arrives, mirror, 40000, target, port, True))
            packets.append(Packet(("output", "postrouting"), leaves, target, port, mirror, 40000, False))
    return packets
