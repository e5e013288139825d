"""Finds a host's interface towards an address in its facts, and judges the route there is."""

from __future__ import annotations

import ipaddress
from typing import Any

Facts = dict[str, Any]


def attached_networks(facts: Facts) -> list[tuple[ipaddress.IPv4Interface, str]]:
    """Each IPv4 address with prefix that the host has, and its interface."""
    found = []
    for name in facts.get("interfaces", []):
        # The facts' keys, unlike the names in `interfaces`, have every "-" as "_".
        details = facts.get(name.replace("-", "_"), {})
        entries = [details["ipv4"]] if details.get("ipv4") else []
        for entry in entries + details.get("ipv4_secondaries", []):
            if entry.get("address") and entry.get("netmask"):
                address = ipaddress.IPv4Interface(f"{entry['address']}/{entry['netmask']}")
                found.append((address, details.get("device", name)))
    return found


def mirror_route_towards(facts: Facts, address: str) -> dict[str, str]:
    """The interface whose network holds `address` and the host's own address there; {} when there is none."""
    wanted = ipaddress.IPv4Address(address)
    candidates = [(own, device) for own, device in attached_networks(facts) if wanted in own.network]
    if not candidates:
        return {}
    own, device = max(candidates, key=lambda candidate: candidate[0].network.prefixlen)
    return {"interface": device, "address": str(own.ip)}


def mirror_route_is(routes: list[dict[str, Any]], gateway: str, device: str, source: str) -> bool:
    """Whether the answer of `ip -json route show NETWORK` is the one route that it should be."""
    shown = [(route.get("gateway"), route.get("dev"), route.get("prefsrc")) for route in routes]
    return shown == [(gateway, device, source)]


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        """The filters that this file brings."""
        return {"mirror_route_is": mirror_route_is, "mirror_route_towards": mirror_route_towards}
