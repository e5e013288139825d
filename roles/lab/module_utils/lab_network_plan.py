"""Plan the lab's network: what to do, in order, to get from what is there to what is wanted.

Pure: no input, no output. Wanted and current state are plain data, and so is the plan, a list of operations of
the form ``{"op": name, ...}``. The network is a star: each host's namespace holds one end of a veth pair, under the
name of the host's interface; the other end, named after the host, is a port of a bridge in the switch's namespace.

Wanted: ``{"switch": netns, "bridge": name, "interface": name, "hosts": {host: {"netns": name, "addresses": [cidr]}}}``
Current: ``{"owned": [netns], "namespaces": {netns: {"mounted": bool, "links": {name: link}}}}`` where a link is
``{"index": int, "kind": str, "up": bool, "master": index or None, "peer": index or None, "addresses": [cidr]}``
and ``owned`` lists the namespaces that this lab made, oldest first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Operation = dict[str, Any]
State = dict[str, Any]

INTERFACE_NAME_MAX = 15
"""Longest interface name that the kernel takes (IFNAMSIZ less the terminating zero)."""


class PlanError(Exception):
    """What is wanted cannot be had; the message says why and what to do."""


def plan_present(wanted: State, current: State) -> list[Operation]:
    """Operations that make the wanted network, none when it is there already."""
    _check_names(wanted)
    namespaces = [wanted["switch"], *(host["netns"] for host in wanted["hosts"].values())]
    _check_ownership(namespaces, current)
    operations = list(_surplus(namespaces, current))
    for netns in namespaces:
        operations += _namespace(netns, current)
    operations += _bridge(wanted, current)
    operations += _surplus_ports(wanted, current)
    for name, host in wanted["hosts"].items():
        operations += _host(name, host, wanted, current)
    return operations


def plan_absent(current: State) -> list[Operation]:
    """Operations that remove every namespace that this lab made, newest first."""
    return [{"op": "remove_netns", "netns": netns} for netns in reversed(current["owned"])]


def describe(operation: Operation) -> str:
    """One line for people."""
    details = " ".join(f"{key}={value}" for key, value in operation.items() if key != "op")
    return f"{operation['op'].replace('_', ' ')} {details}"


def _check_names(wanted: State) -> None:
    for name in [wanted["bridge"], wanted["interface"], *wanted["hosts"]]:
        if len(name) > INTERFACE_NAME_MAX:
            raise PlanError(f"'{name}' names an interface: use at most {INTERFACE_NAME_MAX} characters")
        if name == "lo" or not name.replace("-", "").replace("_", "").isalnum():
            raise PlanError(f"'{name}' names an interface: use letters, digits, '-' and '_', and not 'lo'")
    if wanted["bridge"] in wanted["hosts"]:
        raise PlanError(f"'{wanted['bridge']}' names both the bridge and a host: rename one")


def _check_ownership(namespaces: list[str], current: State) -> None:
    foreign = [netns for netns in namespaces if netns in current["namespaces"] and netns not in current["owned"]]
    if foreign:
        raise PlanError(
            f"network namespace {', '.join(foreign)} exists but this lab did not make it: "
            f"remove it (ip netns del NAME) or choose another lab_prefix"
        )


def _surplus(namespaces: list[str], current: State) -> Iterator[Operation]:
    for netns in reversed(current["owned"]):
        if netns not in namespaces:
            yield {"op": "remove_netns", "netns": netns}


def _namespace(netns: str, current: State) -> Iterator[Operation]:
    existing = current["namespaces"].get(netns)
    if existing is not None and not existing["mounted"]:
        yield {"op": "remove_netns", "netns": netns}
        existing = None
    if existing is None:
        yield {"op": "add_netns", "netns": netns}
    if not _link(current, netns, "lo").get("up"):
        yield {"op": "set_up", "netns": netns, "link": "lo"}


def _bridge(wanted: State, current: State) -> Iterator[Operation]:
    switch, bridge = wanted["switch"], wanted["bridge"]
    link = _link(current, switch, bridge)
    if not link:
        yield {"op": "add_bridge", "netns": switch, "link": bridge}
    if not link.get("up"):
        yield {"op": "set_up", "netns": switch, "link": bridge}


def _surplus_ports(wanted: State, current: State) -> Iterator[Operation]:
    for name, link in _links(current, wanted["switch"]).items():
        if link["kind"] == "veth" and name not in wanted["hosts"]:
            yield {"op": "remove_link", "netns": wanted["switch"], "link": name}


def _host(name: str, host: State, wanted: State, current: State) -> Iterator[Operation]:
    switch, netns, interface = wanted["switch"], host["netns"], wanted["interface"]
    port, end = _link(current, switch, name), _link(current, netns, interface)
    if not _joined(port, end):
        if port:
            yield {"op": "remove_link", "netns": switch, "link": name}
        if end and not (port and port["peer"] == end["index"]):
            yield {"op": "remove_link", "netns": netns, "link": interface}
        yield {"op": "add_veth", "netns": switch, "link": name, "peer_netns": netns, "peer_link": interface}
        port, end = {}, {}
    bridge = _link(current, switch, wanted["bridge"])
    if not bridge or port.get("master") != bridge["index"]:
        yield {"op": "set_master", "netns": switch, "link": name, "master": wanted["bridge"]}
    if not port.get("up"):
        yield {"op": "set_up", "netns": switch, "link": name}
    if not end.get("up"):
        yield {"op": "set_up", "netns": netns, "link": interface}
    yield from _addresses(netns, interface, host["addresses"], end.get("addresses", []))


def _joined(port: State, end: State) -> bool:
    return bool(port and end) and port["peer"] == end["index"] and end["peer"] == port["index"]


def _addresses(netns: str, interface: str, wanted: list[str], present: list[str]) -> Iterator[Operation]:
    for address in present:
        if address not in wanted:
            yield {"op": "remove_address", "netns": netns, "link": interface, "address": address}
    for address in wanted:
        if address not in present:
            yield {"op": "add_address", "netns": netns, "link": interface, "address": address}


def _links(current: State, netns: str) -> dict[str, State]:
    existing = current["namespaces"].get(netns, {})
    return existing["links"] if existing.get("mounted") else {}


def _link(current: State, netns: str, name: str) -> State:
    return _links(current, netns).get(name, {})
