"""Plans the routes of client networks from a host's facts, and judges those that there are."""

from __future__ import annotations

import ipaddress
import json
from typing import Any

Facts = dict[str, Any]

LOOPBACK = "lo"
DEFAULT_MTU = 1500


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


def mirror_route_plan(
    facts: Facts, assistants: list[dict[str, Any]], interface: str = "", source: str = "", end: str = "assistant"
) -> list[dict[str, str]]:
    """The route of each client network, via its assistant: `network`, `gateway`, `interface` and `source`.

    An assistant has an `address` and a `client_network`, which may be a list. Interface and source are empty where
    neither the arguments nor the facts tell them. end: `here` for routes to the loopback, which have no gateway, but an
    `mtu`.
    """
    if end == "here":
        return routes_to_here(facts, assistants, source)
    planned = []
    for assistant in assistants:
        found = mirror_route_towards(facts, assistant["address"]) if assistant["address"] else {}
        route = {
            "gateway": assistant["address"],
            "interface": interface or found.get("interface", ""),
            "source": source or found.get("address", ""),
        }
        planned += [{"network": network, **route} for network in networks_of(assistant)]
    return planned


def routes_to_here(facts: Facts, assistants: list[dict[str, Any]], source: str) -> list[dict[str, str]]:
    """The routes of client networks whose answers end on this host itself.

    The loopback takes larger packets than the interface that clients come in on. The route's MTU is that interface's,
    so that the target announces the same MSS to mirrored sessions, and cuts its answers alike.
    """
    attached = [str(interface.ip) for interface, name in attached_networks(facts) if name != LOOPBACK]
    named = [assistant["address"] for assistant in assistants if assistant["address"] in attached]
    default = facts.get("default_ipv4", {}).get("address", "")
    own = next((address for address in (source, *named, default, *attached) if address), "")
    found = mirror_route_towards(facts, own) if own else {}
    details = facts.get(found.get("interface", "").replace("-", "_"), {})
    route = {"gateway": "", "interface": LOOPBACK, "source": own, "mtu": str(details.get("mtu", DEFAULT_MTU))}
    return [{"network": network, **route} for assistant in assistants for network in networks_of(assistant)]


def networks_of(assistant: dict[str, Any]) -> list[str]:
    """An assistant's client networks."""
    networks = assistant["client_network"]
    return [networks] if isinstance(networks, str) else networks


def mirror_route_words(route: dict[str, str]) -> str:
    """A planned route as `ip route` takes it."""
    keys = {"via": "gateway", "dev": "interface", "src": "source", "mtu": "mtu"}
    return " ".join([route["network"], *(f"{word} {route[key]}" for word, key in keys.items() if route.get(key))])


def mirror_route_stand(results: list[dict[str, Any]]) -> bool:
    """Whether each planned route, the `item` of a result of `ip -json route show`, is the only one to its network."""
    return all(is_only_route(json.loads(result["stdout"]), result["item"]) for result in results)


def is_only_route(shown: list[dict[str, Any]], planned: dict[str, str]) -> bool:
    """Whether the routes to a network are the planned one."""
    keys = [(route.get("gateway", ""), route.get("dev"), route.get("prefsrc", ""), mtu_of(route)) for route in shown]
    return keys == [(planned["gateway"], planned["interface"], planned["source"], planned.get("mtu", ""))]


def mtu_of(route: dict[str, Any]) -> str:
    """The MTU that a route has of its own, "" if it has none."""
    return next((str(metrics["mtu"]) for metrics in route.get("metrics", []) if "mtu" in metrics), "")


def mirror_route_arrivals(facts: Facts, online: list[str] | str, planned: list[dict[str, str]]) -> list[str]:
    """Interfaces that mirrored packets arrive on and that not all planned routes lead out of.

    What this host sends to itself, because it is the online host, too, is not filtered.
    """
    own = {str(interface.ip) for interface, _ in attached_networks(facts)}
    addresses = [address for address in ([online] if isinstance(online, str) else online) if address not in own]
    found = (mirror_route_towards(facts, address) for address in addresses if address)
    interfaces = {towards["interface"] for towards in found if towards}
    return sorted(name for name in interfaces if any(route["interface"] != name for route in planned))


def mirror_route_loosened(values: list[str], names: list[str]) -> dict[str, str]:
    """What to set so that no interface filters strictly; {} when none does.

    `values` are what `net/ipv4/conf/all/rp_filter` and then the settings `names` are. The larger one counts.
    """
    everywhere, *own = (int(value) for value in values)
    effective = {name: max(everywhere, value) for name, value in zip(names, own, strict=True)}
    return {name: "2" for name, value in effective.items() if value} if 1 in effective.values() else {}


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        """The filters that this file brings."""
        return {
            "mirror_route_arrivals": mirror_route_arrivals,
            "mirror_route_loosened": mirror_route_loosened,
            "mirror_route_plan": mirror_route_plan,
            "mirror_route_stand": mirror_route_stand,
            "mirror_route_words": mirror_route_words,
        }
