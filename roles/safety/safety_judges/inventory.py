"""What the inventory wants of each host, in one shape, beside what the host itself said."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

__all__ = ["Host", "Mapped", "Network", "Route", "networks_of", "read_host", "roles_of"]

Network = IPv4Network | IPv6Network

GROUPS = {
    "online_hosts": "online",
    "target_hosts": "target",
    "assistant_hosts": "assistant",
    "client_hosts": "client",
    "echo_hosts": "echo",
    "monitoring_hosts": "monitoring",
    "forward_hosts": "forward",
}
LINK_PORT = 36524
_MAPPING = re.compile(
    r"(?:(?P<online>\[[^]]+\]|[^:\[\]-][^:\[\]]*?):)?(?P<port>\d+)-(?P<target>\[[^]]+\]|[^:\[\]]+):(?P<target_port>\d+)"
)
_ENDPOINT = re.compile(r"(?P<host>\[[^]]+\]|[^:\[\]]+)(?::(?P<port>\d+))?")


@dataclass(frozen=True, slots=True)
class Mapped:
    """One item of copytool_copy_map; online is empty for any address."""

    online: str
    port: int
    target: str
    target_port: int


@dataclass(frozen=True, slots=True)
class Route:
    """A route that a target is to get; gateway is empty where answers end on the target itself."""

    network: Network
    gateway: str


@dataclass(slots=True)
class Host:
    """A host of the inventory. seen: what look.py printed there, None if it did not run; why_not says why."""

    name: str
    roles: frozenset[str]
    address: str
    seen: dict[str, Any] | None = None
    why_not: str = ""
    maps: list[Mapped] = field(default_factory=list)
    intercepts: list[tuple[str, int]] = field(default_factory=list)
    client_networks: list[Network] = field(default_factory=list)
    upstreams: list[Network] = field(default_factory=list)
    routes: list[Route] = field(default_factory=list)
    ends_here: bool = False
    bind: str = ""
    port: int = LINK_PORT
    service_ports: list[int] = field(default_factory=list)
    exporter: str = ""
    monitoring: str = ""
    known_as: list[str] = field(default_factory=list)
    objections: list[str] = field(default_factory=list)

    @property
    def addresses(self) -> list[str]:
        """Its addresses, link-local ones and loopback left out; those of the inventory if it did not answer."""
        own = [entry["local"] for _, entry in self.attached if not _is_local(entry["local"])]
        return list(dict.fromkeys([*own, *self.known_as, *([self.address] if is_address(self.address) else [])]))

    @property
    def attached(self) -> list[tuple[str, dict[str, Any]]]:
        """Each address entry of `ip -json address`, with the interface's name."""
        links = (self.seen or {}).get("addresses") or []
        return [(link["ifname"], entry) for link in links for entry in link.get("addr_info", []) if entry.get("local")]

    def routes_seen(self, version: int = 4) -> list[dict[str, Any]]:
        """The routes of the main table and others, without those of its own addresses."""
        routes = ((self.seen or {}).get("routes") or {}).get(f"-{version}") or []
        return [
            route for route in routes if route.get("table") != "local" and route.get("type", "unicast") == "unicast"
        ]


def _is_local(text: str) -> bool:
    address = ip_address(text)
    return address.is_loopback or address.is_link_local


def is_address(text: str) -> bool:
    """Whether it is an address and no name."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def items(value: Any) -> list[str]:
    """The items of an option that is a list, a string, or a list of strings that may be lists themselves."""
    given = value if isinstance(value, list | tuple) else [value]
    return [item.strip() for text in given if text not in (None, "") for item in str(text).split(",") if item.strip()]


def networks_of(value: Any) -> list[Network]:
    """Client networks as copytool takes them: a.b.c.x, CIDR, addresses. ValueError if one is none."""
    return [ip_network(f"{item[:-2]}.0/24" if item.endswith(".x") else item, strict=False) for item in items(value)]


def roles_of(name: str, groups: Mapping[str, Iterable[str]]) -> frozenset[str]:
    """What a host is, by the inventory's groups."""
    found = {role for group, role in GROUPS.items() if name in groups.get(group, [])}
    if name in (groups.get("copy_hosts") or groups.get("online_hosts", [])):
        found.add("copy")
    return frozenset(found)


def read_host(name: str, roles: frozenset[str], variables: Mapping[str, Any]) -> Host:
    """A host with what its variables want; what cannot be read becomes an objection."""
    address = str(variables.get("ansible_host") or variables.get("lab_address") or name)
    host = Host(name, roles, address.split()[0])
    if lab_address := variables.get("lab_address"):
        host.known_as = str(lab_address).split()
    for reader in (_read_copy, _read_target, _read_assistant, _read_services):
        try:
            reader(host, variables)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            host.objections.append(str(error))
    return host


def _read_copy(host: Host, variables: Mapping[str, Any]) -> None:
    if "copy" not in host.roles:
        return
    options = variables.get("copytool_copy_options") or {}
    for item in items(variables.get("copytool_copy_map")):
        match = _MAPPING.fullmatch(item)
        if match is None:
            raise ValueError(f"copytool_copy_map: {item!r} is not [online-ip:]port-target-ip:port")
        online, target = (_bare(match[name] or "") for name in ("online", "target"))
        host.maps.append(Mapped(online, int(match["port"]), target, int(match["target_port"])))
    for item in items(variables.get("copytool_copy_intercept")):
        match = _ENDPOINT.fullmatch(item)
        if match is None:
            raise ValueError(f"copytool_copy_intercept: {item!r} is not host[:port]")
        host.intercepts.append((_bare(match["host"]), int(match["port"] or options.get("port") or LINK_PORT)))
    if not options.get("keep_client_addresses"):
        host.client_networks = networks_of(variables.get("copytool_copy_client_network"))
    host.upstreams = networks_of(options.get("upstreams"))


def _read_target(host: Host, variables: Mapping[str, Any]) -> None:
    if "target" not in host.roles:
        return
    usual = "here" if "assistant" in host.roles else "assistant"
    host.ends_here = (variables.get("mirror_route_end") or usual) == "here"
    assistants = variables.get("mirror_route_assistants") or [
        {
            "address": variables.get("mirror_route_assistant_address") or "",
            "client_network": variables.get("mirror_route_client_network") or [],
        }
    ]
    host.routes = [
        Route(network, "" if host.ends_here else str(assistant["address"]))
        for assistant in assistants
        for network in networks_of(assistant["client_network"])
        if host.ends_here or assistant["address"]
    ]


def _read_assistant(host: Host, variables: Mapping[str, Any]) -> None:
    if "assistant" not in host.roles:
        return
    host.bind = str(variables.get("copytool_intercept_bind") or "")
    host.port = int(variables.get("copytool_intercept_port") or LINK_PORT)
    host.known_as += [address for address in items(variables.get("copytool_tls_addresses")) if is_address(address)]
    if is_address(host.bind):
        host.known_as.append(host.bind)


def _read_services(host: Host, variables: Mapping[str, Any]) -> None:
    if "echo" in host.roles:
        host.service_ports = [int(port) for port in items(variables.get("echo_server_port", 1025))]
    host.exporter = str(variables.get("copytool_exporter_listen") or "")
    if "monitoring" in host.roles:
        host.monitoring = str(variables.get("monitoring_listen") or "127.0.0.1:9090")


def _bare(text: str) -> str:
    return text.removeprefix("[").removesuffix("]")
