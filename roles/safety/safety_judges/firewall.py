"""Judges of firewalls: what the mirror needs must pass. Which packets these are the role firewall asks here, too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from copytool.io.checks.firewall import Packet, suspects

from .finding import Finding, failed, ok, warning
from .inventory import Host
from .network import Hosts, having

__all__ = ["COMMENT", "GUARD", "Need", "blocked", "judge_firewalls", "needs"]

COMMENT = "copytool mirror"
"""Of the rules that the role firewall adds."""

GUARD = "mirror_route"
"""The table of the role mirror_route, which lets no answer leave a target where answers end."""

_ANY_PORT = 40000


@dataclass(frozen=True, slots=True)
class Need:
    """TCP that must get into a host, and its answers out of it. source: an address or a network."""

    what: str
    source: str
    destination: str
    port: int
    interface: str

    def packets(self) -> list[Packet]:
        """The packet that opens a connection, coming in, and its answer going out."""
        source = self.source.partition("/")[0]
        if "/" in self.source:
            source = str(ip_address(source) + 1)
        there, back = (source, _ANY_PORT), (self.destination, self.port)
        return [
            Packet(("prerouting", "input"), self.interface, *there, *back, opens=True),
            Packet(("output", "postrouting"), self.interface, *back, *there, opens=False),
        ]


def needs(host: Host, hosts: Hosts) -> Iterator[Need]:
    """What must get into a host: the link, or mirrored sessions."""
    copies = having(hosts, "copy")
    if "assistant" in host.roles:
        for copy in copies:
            ends = [(address, port) for address, port in copy.intercepts if address in host.addresses]
            for address, port in ends:
                for own in towards(copy, address):
                    yield Need("the link", own, address, port, interface_with(host, address))
    if "target" in host.roles:
        for copy in copies:
            for mapped in copy.maps:
                if mapped.target in host.addresses:
                    for network in copy.client_networks:
                        way = interface_with(host, mapped.target)
                        yield Need("mirrored sessions", str(network), mapped.target, mapped.target_port, way)


def towards(copy: Host, address: str) -> list[str]:
    """The addresses that a copy may connect from."""
    version = ip_address(address).version
    return [own for own in copy.addresses if ip_address(own).version == version]


def interface_with(host: Host, address: str) -> str:
    """The interface that has an address."""
    return next((name for name, entry in host.attached if entry["local"] == address), "")


def blocked(host: Host, need: Need) -> list[Any]:
    """What takes the packets of a need, or may do so: copytool's Suspects, the certain ones first."""
    ruleset = without_ours((host.seen or {})["firewall"]["nft"] or {})
    found = [suspect for packet in need.packets() for suspect in suspects(ruleset, packet)]
    return sorted(found, key=lambda suspect: not suspect.certain)


def without_ours(ruleset: dict[str, Any]) -> dict[str, Any]:
    """The rules but for those that the roles copytool_firewall and mirror_route added."""
    return {"nftables": [entry for entry in ruleset.get("nftables", []) if not any(map(is_ours, entry.values()))]}


def is_ours(item: dict[str, Any]) -> bool:
    """Whether a rule is one that lets pass, or anything is in the table of the guard."""
    return item.get("comment") == COMMENT or item.get("table", item.get("name")) == GUARD


def judge_firewalls(hosts: Hosts, opened: dict[str, bool]) -> Iterator[Finding]:
    """All hosts that answered. opened: by host, whether the role firewall will let pass, or does, what is needed."""
    for host in hosts.values():
        wanted = list(needs(host, hosts))
        if host.seen is not None and wanted:
            yield judge(host, wanted, opened.get(host.name, False))


def judge(host: Host, wanted: list[Need], opens: bool) -> Finding:
    """Whether a firewall takes what this host needs."""
    seen = (host.seen or {})["firewall"]
    keepers = " and ".join(seen["keepers"])
    if seen["legacy"]:
        shown = f"iptables-legacy has tables: {', '.join(seen['legacy'])}"
        fix = f"see `iptables-legacy-save`: let TCP in: {shown_needs(wanted)}"
        return warning(host.name, "firewall", shown, "its rules are not read here, and may drop what is needed", fix)
    if seen["nft"] is None:
        if not seen["has_nft"] and not keepers:
            return ok(host.name, "firewall", "there is none (no nft)")
        fix = f"look yourself that it lets TCP in: {shown_needs(wanted)}"
        return warning(host.name, "firewall", keepers or "nft", "its rules cannot be read", fix)
    found = [(need, suspect) for need in wanted for suspect in blocked(host, need)]
    if not found:
        return ok(host.name, "firewall", f"{keepers} lets pass" if keepers else "nothing is in the way")
    found.sort(key=lambda pair: not pair[1].certain)
    need, suspect = found[0]
    shown = f"{suspect.where}{f' ({keepers})' if keepers else ''}"
    if opens:
        return ok(host.name, "firewall", f"{shown}; copytool_firewall_mode=open lets pass what is needed")
    cause = f"it {'takes' if suspect.certain else 'may take'} {need.what}: TCP from {need.source} to port {need.port}"
    fix = f"copytool_firewall_mode: open; or let TCP in yourself: {shown_needs(wanted)}"
    return (failed if suspect.certain else warning)(host.name, "firewall", shown, cause, fix)


def shown_needs(wanted: list[Need]) -> str:
    """What to let in, for people."""
    parts = dict.fromkeys(f"from {need.source} to {need.destination} port {need.port}" for need in wanted)
    return ", ".join(list(parts)[:4])
