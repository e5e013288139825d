"""Judges of the client network and of the routes to it: it must be nobody's, and lead to the assistant."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import Any

from .finding import Finding, failed, ok, warning
from .inventory import Host, Network, is_address

__all__ = ["judge_network"]

Hosts = dict[str, Host]
ORDINARY_TABLES = ("local", "main", "default")


def judge_network(hosts: Hosts) -> Iterator[Finding]:
    """All that concerns the client network."""
    yield from addresses(hosts)
    for host in hosts.values():
        if host.seen is not None and host.roles & {"copy", "online", "target", "assistant"}:
            yield from routes(host, hosts)
    yield from shares(hosts)
    for host in having(hosts, "target"):
        yield from coverage(host, hosts)
        if host.seen is not None:
            yield from next_hops(host, hosts)
            yield from policy(host)


def having(hosts: Hosts, role: str) -> list[Host]:
    """The hosts that are that."""
    return [host for host in hosts.values() if role in host.roles]


def client_networks(hosts: Hosts) -> list[Network]:
    """Those of all copies, and what targets route, each once."""
    found = [network for host in having(hosts, "copy") for network in host.client_networks]
    found += [route.network for host in having(hosts, "target") for route in host.routes]
    return list(dict.fromkeys(found))


def addresses(hosts: Hosts) -> Iterator[Finding]:
    """No host of the inventory has an address in the client network."""
    for host in hosts.values():
        inside = [
            (address, network)
            for network in client_networks(hosts)
            for address in host.addresses
            if ip_address(address) in network
        ]
        if inside:
            address, network = inside[0]
            cause = f"{address} is in the client network {network}, whose addresses must exist nowhere"
            fix = "choose another client network (copytool_client_network): a private one that nobody uses"
            yield failed(host.name, "client network", f"has {address}", cause, fix)


def overlapping(host: Host, network: Network) -> Iterator[tuple[dict[str, Any], Network]]:
    """The host's routes that concern a network, but for default routes."""
    for route in host.routes_seen(network.version):
        if route["dst"] == "default":
            continue
        routed = ip_network(route["dst"], strict=False)
        if routed.version == network.version and routed.prefixlen > 0 and routed.overlaps(network):
            yield route, routed


def is_ours(host: Host, route: dict[str, Any], routed: Network) -> bool:
    """Whether it is a route of mirror_route: as planned, or of its unit that is there already."""
    if "target" not in host.roles:
        return False
    planned = [one for one in host.routes if one.network == routed]
    if any(one.gateway and one.gateway == route.get("gateway") for one in planned):
        return True
    return bool(planned and (host.seen or {}).get("route_unit"))


def routes(host: Host, hosts: Hosts) -> Iterator[Finding]:
    """No real route leads into the client network."""
    found = [
        (network, route, routed)
        for network in client_networks(hosts)
        for route, routed in overlapping(host, network)
        if not is_ours(host, route, routed)
    ]
    # What is inside of the client network first: it is certain to be somebody's.
    found.sort(key=lambda one: not (one[2].subnet_of(one[0]) or "gateway" not in one[1]))
    if not found:
        if client_networks(hosts):
            yield ok(host.name, "client network", "no address and no route of this host is in it")
        return
    network, route, routed = found[0]
    way = f"via {route['gateway']}" if "gateway" in route else f"on {route.get('dev', 'no interface')}"
    fix = "choose another client network (copytool_client_network): one that is not in your routing tables"
    if routed.subnet_of(network) or "gateway" not in route:
        cause = f"the client network {network} is one that hosts are really on: {routed} {way}"
        yield failed(host.name, "client network", f"has a route to {routed}", cause, fix)
    else:
        cause = f"the client network {network} is a part of {routed}, which is routed {way}: hosts may be there"
        yield warning(host.name, "client network", f"has a route to {routed}", cause, f"if they are, {fix}")


def shares(hosts: Hosts) -> Iterator[Finding]:
    """Copies that share an assistant or a target have client networks that do not overlap."""
    copies = having(hosts, "copy")
    for position, one in enumerate(copies):
        for other in copies[:position]:
            shared = {host for host, _ in one.intercepts} & {host for host, _ in other.intercepts}
            shared |= {mapped.target for mapped in one.maps} & {mapped.target for mapped in other.maps}
            twice = [
                (mine, theirs)
                for mine in one.client_networks
                for theirs in other.client_networks
                if mine.version == theirs.version and mine.overlaps(theirs)
            ]
            if twice and shared:
                cause = f"{other.name} has {twice[0][1]}, and both use {sorted(shared)[0]}"
                fix = "give each online host a part of its own (copytool_copy_client_network; docs/scaling.md)"
                yield failed(one.name, "client network", f"its own is {twice[0][0]}", cause, fix)


def coverage(target: Host, hosts: Hosts) -> Iterator[Finding]:
    """The target routes what copies mirror to it from."""
    if not target.routes:
        return
    for copy in having(hosts, "copy"):
        if not {mapped.target for mapped in copy.maps} & set(target.addresses):
            continue
        for network in copy.client_networks:
            if not covered(network, [route.network for route in target.routes]):
                shown = ", ".join(str(route.network) for route in target.routes)
                cause = f"{copy.name} mirrors to it from {network}: the answers to that would go astray"
                fix = "have mirror_route_client_network, or mirror_route_assistants, name what copies have as theirs"
                yield failed(target.name, "route", f"is to have {shown}", cause, fix)


def covered(network: Network, by: list[Network]) -> bool:
    """Whether one of these networks holds it, or two of them its halves, and so on."""
    same = [one for one in by if one.version == network.version]
    if any(network.subnet_of(one) for one in same):  # type: ignore[arg-type]
        return True
    if not any(one.subnet_of(network) for one in same):  # type: ignore[arg-type]
        return False
    return all(covered(half, same) for half in network.subnets())


def next_hops(target: Host, hosts: Hosts) -> Iterator[Finding]:
    """The assistants can be the next hops of the target's routes."""
    assistants = having(hosts, "assistant")
    for gateway in dict.fromkeys(route.gateway for route in target.routes):
        if not is_address(gateway) or gateway in target.addresses:
            continue
        owners = [host.name for host in assistants if gateway in host.addresses]
        if not owners and all(host.seen is not None for host in assistants):
            cause = f"{gateway} is no address of {named(assistants)}: answers would go to a host that may forward them"
            fix = "correct mirror_route_assistant_address"
            yield failed(target.name, "route", f"is to go via {gateway}", cause, fix)
            continue
        holding = [
            (name, entry)
            for name, entry in target.attached
            if ip_address(gateway) in ip_network(f"{entry['local']}/{entry['prefixlen']}", strict=False)
        ]
        if holding:
            yield ok(target.name, "route", f"can go via {gateway} on {holding[0][0]}")
        else:
            cause = f"no network that the target is attached to holds {gateway}, so that it cannot be the next hop"
            fix = "use the assistant's address on a network of the target, or give both a network of their own"
            yield failed(target.name, "route", f"is to go via {gateway}", cause, fix)


def named(hosts: list[Host]) -> str:
    """Their names, for a sentence."""
    return " or ".join(host.name for host in hosts) or "any assistant"


def policy(target: Host) -> Iterator[Finding]:
    """Routing goes by destination, so that the route holds for all answers."""
    rules = (target.seen or {}).get("rules") or []
    others = [rule for rule in rules if str(rule.get("table", "main")) not in ORDINARY_TABLES]
    if others:
        shown = ", ".join(str(rule["table"]) for rule in others[:3])
        cause = "`ip rule` sends some packets to other tables: there the route to the assistant may not be found"
        fix = "if the answers of the service are among them, add the same route to these tables yourself"
        yield warning(target.name, "policy routing", f"there are rules for table {shown}", cause, fix)
