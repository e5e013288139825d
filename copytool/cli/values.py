"""Values of flags and configuration keys: text in, typed values out, ConfigError with what would be right."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, collapse_addresses, ip_address, ip_network
from typing import Any

from ..errors import ConfigError
from ..link.share import MAX_NETWORKS, MAX_TARGETS, Network
from ..mirror.targets import Service, TargetMap

__all__ = [
    "ClientNetworks",
    "integer",
    "number",
    "parse_bind",
    "parse_client_networks",
    "parse_endpoints",
    "parse_interfaces",
    "parse_listen",
    "parse_map",
    "parse_names",
    "parse_networks",
    "parse_peers",
    "parse_services",
    "parse_workers",
]

_MAPPING = re.compile(r"(?:(?P<online>.+):)?(?P<port>\d+)-(?P<target>.+):(?P<target_port>\d+)")
_SERVICE = re.compile(r"(?:(?P<host>.+):)?(?P<port>\d+)")
_ENDPOINT = re.compile(r"(?P<host>\[[^]]+\]|[^:]+)(?::(?P<port>\d+))?")
_ANY = (ip_network("0.0.0.0/0"), ip_network("::/0"))
_MAX_INTERFACE = 15  # IFNAMSIZ without the final NUL
_MAX_WORKERS = 16  # the kernel shows each packet that this host receives to each of them

ClientNetworks = tuple[list[Network], list[tuple[bytes, int]]]
"""Networks as announced to intercept, and their usable addresses as (first packed address, count)."""


def _items(text: str) -> list[str]:
    items = [item.strip() for item in text.split(",")]
    if not all(items):
        raise ConfigError("an item of the list is empty")
    return items


def _port(text: str) -> int:
    if len(text) > 9 or not 0 < int(text) < 65536:  # Python reads no integers of thousands of digits
        raise ConfigError(f"port {text} is not in 1..65535")
    return int(text)


def _resolve(host: str) -> str:
    """Return the numeric address of a host name or literal."""
    name = host.removeprefix("[").removesuffix("]")
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise ConfigError(
            f"host {name!r} does not resolve; give an address or a name that `getent hosts` knows"
        ) from None
    return str(found[0][4][0])


def _pack(host: str) -> bytes:
    return ip_address(_resolve(host)).packed


def parse_map(text: str) -> TargetMap:
    """Parse `[ip:]port-ip:port,...`; IPv6 addresses go in brackets."""
    targets: TargetMap = {}
    for item in _items(text):
        match = _MAPPING.fullmatch(item)
        if match is None:
            raise ConfigError(f"{item!r} is not [online-ip:]port-target-ip:port, like 1025-192.168.50.101:1025")
        online = _pack(match["online"]) if match["online"] else None
        key = (online, _port(match["port"]))
        if key in targets:
            raise ConfigError(f"{item!r} maps a service that is mapped already; one target per service")
        targets[key] = (_pack(match["target"]), _port(match["target_port"]))
    if len(targets) > MAX_TARGETS:
        raise ConfigError(f"more than {MAX_TARGETS} mappings")
    return targets


def parse_services(text: str) -> list[Service]:
    """Parse `[ip:]port,...`; IPv6 addresses go in brackets."""
    services: list[Service] = []
    for item in _items(text):
        match = _SERVICE.fullmatch(item)
        if match is None:
            raise ConfigError(f"{item!r} is not [ip:]port, like 1025 or 192.168.50.10:1025")
        service = (_pack(match["host"]) if match["host"] else None, _port(match["port"]))
        if service in services:
            raise ConfigError(f"{item!r} is named twice")
        services.append(service)
    if len(services) > MAX_TARGETS:
        raise ConfigError(f"more than {MAX_TARGETS} services")
    return services


def parse_names(text: str) -> list[str]:
    """Parse `name,...`; nothing means nobody, which is not the same as leaving the option out."""
    return _items(text) if text else []


def parse_endpoints(text: str) -> list[tuple[str, int]]:
    """Parse `host[:port],...`; a port of 0 in the result means that none was given."""
    endpoints = []
    for item in _items(text):
        match = _ENDPOINT.fullmatch(item)
        if match is None:
            raise ConfigError(f"{item!r} is not host[:port], like 192.168.50.102 or 192.168.50.102:36524")
        endpoints.append((_resolve(match["host"]), _port(match["port"]) if match["port"] else 0))
    return endpoints


def parse_bind(text: str) -> list[tuple[str, int]]:
    """Parse one address to listen on; as there is no port, IPv6 needs no brackets."""
    try:
        return [(str(ip_address(text.strip())), 0)]
    except ValueError:
        return parse_endpoints(text)


def parse_listen(text: str) -> tuple[str, int]:
    """Parse `address:port`; an IPv6 address goes in brackets, port 0 takes any that is free."""
    host, colon, port = text.rpartition(":")
    try:
        address = str(ip_address(host.removeprefix("[").removesuffix("]")))
        number = int(port) if port.isdecimal() else -1
    except ValueError:
        number = -1
    if not colon or not 0 <= number <= 65535:
        raise ConfigError(f"{text!r} is not address:port, like 127.0.0.1:9524 or [::1]:9524")
    return address, number


def parse_client_networks(text: str) -> ClientNetworks:
    """Parse `192.168.60.x`, CIDR networks, single addresses, and lists of them."""
    networks: list[Network] = []
    for item in _items(text):
        network = _client_network(item)
        for other in networks:
            if network.version == other.version and network.overlaps(other):
                raise ConfigError(f"{item!r} overlaps {other}; name each address once")
        networks.append(network)
    if len(networks) > MAX_NETWORKS:
        raise ConfigError(f"more than {MAX_NETWORKS} items; use larger networks")
    return networks, [_usable(network) for network in networks]


def _network(text: str) -> Network:
    if "%" in text:
        raise ValueError("a scope")
    return ip_network(text)


def _client_network(item: str) -> Network:
    text = f"{item.removesuffix('.x')}.0/24" if item.endswith(".x") else item
    try:
        network = _network(text)
    except ValueError as error:
        hint = ""
        if "host bits" in str(error):
            hint = f"; did you mean {ip_network(text, strict=False)}?"
        raise ConfigError(f"{item!r} is no client network, like 192.168.60.x or 192.168.60.0/24{hint}") from None
    if network.is_loopback or network.is_multicast or network.is_unspecified or network.prefixlen == 0:
        raise ConfigError(f"{item!r} cannot be routed; use a private network that exists nowhere, like 192.168.60.x")
    return network


def parse_networks(text: str) -> list[Network]:
    """Parse CIDR networks and single addresses, and lists of them."""
    networks = []
    for item in _items(text):
        try:
            networks.append(_network(item))
        except ValueError as error:
            hint = f"; did you mean {ip_network(item, strict=False)}?" if "host bits" in str(error) else ""
            raise ConfigError(f"{item!r} is no network or address, like 10.1.0.0/16 or fd00::/64{hint}") from None
    return networks


def parse_peers(text: str) -> dict[str, list[Network]]:
    """Parse `name=network,...`; a name may come several times, and nothing means that nobody may have any."""
    given: dict[str, list[Network]] = {}
    for item in _items(text) if text.strip() else []:
        name, equals, network = item.partition("=")
        if not name or not equals:
            raise ConfigError(f"{item!r} is not name=network, like online=192.168.60.0/24")
        any_network = [one for one in _ANY if network == str(one)]  # of a copy that keeps its clients' addresses
        given.setdefault(name, []).append(any_network[0] if any_network else _client_network(network))
    return {name: _collapsed(networks) for name, networks in given.items()}


def _collapsed(networks: list[Network]) -> list[Network]:
    collapsed: list[Network] = []
    for version in (4, 6):
        own: list[Any] = [network for network in networks if network.version == version]
        collapsed += collapse_addresses(own)
    return collapsed


def _usable(network: IPv4Network | IPv6Network) -> tuple[bytes, int]:
    """Return the addresses a host may have: not the IPv4 network and broadcast, nor the IPv6 router anycast address."""
    first, count = int(network.network_address), network.num_addresses
    size = network.max_prefixlen // 8
    if isinstance(network.network_address, IPv6Address):
        if count > 1:
            first, count = first + 1, count - 1
        count = min(count, 1 << 32)
    elif count > 2:
        first, count = first + 1, count - 2
    return first.to_bytes(size, "big"), count


def parse_interfaces(text: str) -> list[str]:
    """Parse `name,...`; `any` means all interfaces and becomes ""."""
    names = _items(text)
    for name in names:
        if len(os.fsencode(name)) > _MAX_INTERFACE or "/" in name or not name.isprintable() or " " in name:
            raise ConfigError(f"{name!r} is no interface name; see `ip link`")
    if "any" in names:
        return [""]
    return list(dict.fromkeys(names))


def integer(low: int, high: int) -> Callable[[str], int]:
    """Return a parser for whole numbers in low..high."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[+-]?\d{1,18}", text) or not low <= int(text) <= high:
            raise ConfigError(f"{text!r} is not a whole number in {low}..{high}")
        return int(text)

    return parse


def number(low: float, high: float, *, above: bool = False) -> Callable[[str], float]:
    """Return a parser for numbers in low..high; `above` excludes `low` itself."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high or (above and value == low):
            bounds = f"above {low:g} and up to {high:g}" if above else f"from {low:g} to {high:g}"
            raise ConfigError(f"{text!r} is not a number {bounds}")
        return value

    return parse


def parse_workers(text: str) -> int:
    """Parse a number of processes; `auto` means as many as this process may use CPUs."""
    if text == "auto":
        return min(len(os.sched_getaffinity(0)), _MAX_WORKERS)
    try:
        return integer(1, _MAX_WORKERS)(text)
    except ConfigError as error:
        raise ConfigError(f"{error}, nor auto") from None
