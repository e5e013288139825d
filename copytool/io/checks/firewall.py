"""Firewall rules that may take a packet: found in nft's list of rules, without playing the whole firewall.

What a rule asks that is not understood here may be true. So a rule is certain to drop a packet only where everything
it asks is understood and holds; the others are candidates, worth a look when the probe stops on this host.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from ...errors import HostError
from . import host
from .result import Result, failed, ok, warning

__all__ = ["Packet", "check_firewall", "read_ruleset", "suspects"]

_YES, _MAYBE, _NO = "yes", "maybe", "no"
_DROPS = ("drop", "reject")
_REWRITES = ("dnat", "snat", "redirect", "masquerade", "tproxy")
_ADDRESSES = {("ip", "saddr"): "source", ("ip6", "saddr"): "source",
              ("ip", "daddr"): "destination", ("ip6", "daddr"): "destination"}  # fmt: skip
_PORTS = {("tcp", "sport"): "source_port", ("tcp", "dport"): "destination_port",
          ("th", "sport"): "source_port", ("th", "dport"): "destination_port"}  # fmt: skip
_IN, _OUT = ("iifname", "iif"), ("oifname", "oif")
_INTERFACE_KEYS = {"output": _OUT, "postrouting": _OUT}
_ANOTHER_PROTOCOL = ("udp", "icmp", "icmpv6", "sctp")


@dataclass(frozen=True, slots=True)
class Packet:
    """A TCP packet as the firewall of a host sees it; addresses as text. opens: whether it is a SYN."""

    hooks: tuple[str, ...]
    interface: str
    source: str
    source_port: int
    destination: str
    destination_port: int
    opens: bool


@dataclass(frozen=True, slots=True)
class Suspect:
    """A rule, or a chain's policy, that takes the packet or may do so; chain: family, table, name of the base chain."""

    where: str
    verdict: str
    certain: bool
    chain: tuple[str, str, str]


def check_firewall(packets: list[Packet]) -> Result:
    """Whether a rule of this host drops, rejects or rewrites one of the packets."""
    legacy = _legacy_tables()
    try:
        ruleset = read_ruleset()
    except HostError as error:
        if not legacy and "no command" in str(error):
            return ok("firewall", "no nft, and no iptables in use")
        raise
    more = f"; tables of iptables-legacy ({', '.join(legacy)}) were not looked at" if legacy else ""
    found = [suspect for packet in packets for suspect in suspects(ruleset, packet)]
    if not found:
        return ok("firewall", f"no nft rule drops it{more}")
    found.sort(key=lambda suspect: not suspect.certain)
    worst = found[0]
    seen = "; ".join(dict.fromkeys(suspect.where for suspect in found[:3])) + more
    verb = "takes" if worst.certain else "may take"
    packet = packets[0]
    cause = f"{worst.where} {verb} what the mirror needs ({worst.verdict})"
    way = f"{packet.source} to {packet.destination} port {packet.destination_port}"
    fix = f"let TCP pass from {way}, and its answers; see `nft -a list ruleset`"
    return (failed if worst.certain else warning)("firewall", seen, cause, fix)


def read_ruleset() -> dict[str, Any]:
    """Return what `nft -j list ruleset` prints."""
    ruleset: dict[str, Any] = json.loads(host.output_of("nft", "-j", "list", "ruleset"))
    return ruleset


def _legacy_tables() -> list[str]:
    found = []
    for name in ("ip_tables_names", "ip6_tables_names"):
        try:
            found += Path("/proc/net", name).read_text().split()
        except OSError:
            continue
    return list(dict.fromkeys(found))


def suspects(ruleset: dict[str, Any], packet: Packet) -> Iterator[Suspect]:
    """Yield the rules and policies of `nft -j list ruleset` that take the packet, or may do so."""
    family = "ip" if ip_address(packet.source).version == 4 else "ip6"
    entries = ruleset.get("nftables", [])
    rules: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for entry in entries:
        if "rule" in entry:
            rule = entry["rule"]
            rules.setdefault((rule["family"], rule["table"], rule["chain"]), []).append(rule)
    for entry in entries:
        chain = entry.get("chain")
        if chain and chain.get("hook") in packet.hooks and chain["family"] in ("inet", family):
            yield from _walk(rules, (chain["family"], chain["table"], chain["name"]), chain.get("policy", ""), packet)


def _walk(
    rules: dict[tuple[str, str, str], list[dict[str, Any]]], key: tuple[str, str, str], policy: str, packet: Packet
) -> Iterator[Suspect]:
    """Yield the suspects of one base chain and of the chains that it jumps to."""
    certain = True
    for rule in _rules_in_order(rules, key, ()):
        answer, verdict = _judge(rule, packet)
        if answer == _NO or not verdict:
            continue
        if verdict == "accept":
            if answer == _YES and certain:
                return
            certain = False
        elif verdict in _DROPS or verdict in _REWRITES:
            yield Suspect(_place(rule), verdict, certain and answer == _YES, key)
            if answer == _YES:
                return
            certain = False
    if policy == "drop":
        yield Suspect(f"policy of {' '.join(key)}", "drop", certain, key)


def _rules_in_order(
    rules: dict[tuple[str, str, str], list[dict[str, Any]]], key: tuple[str, str, str], seen: tuple[str, ...]
) -> Iterator[dict[str, Any]]:
    for rule in rules.get(key, []):
        yield rule
        for statement in rule["expr"]:
            jump = statement.get("jump") or statement.get("goto")
            if jump and jump["target"] not in seen:
                conditions = [part for part in rule["expr"] if "match" in part]
                target = (key[0], key[1], jump["target"])
                for inner in _rules_in_order(rules, target, (*seen, jump["target"])):
                    yield {**inner, "expr": [*conditions, *inner["expr"]]}


def _place(rule: dict[str, Any]) -> str:
    return f"nft rule {rule['family']} {rule['table']} {rule['chain']} handle {rule['handle']}"


def _judge(rule: dict[str, Any], packet: Packet) -> tuple[str, str]:
    """Return whether the rule applies to the packet, and what it then does, "" if that is nothing final."""
    answer, verdict = _YES, ""
    for statement in rule["expr"]:
        name = next(iter(statement))
        if name == "match":
            one = _matches(statement["match"], packet)
            if one == _NO:
                return _NO, ""
            answer = _MAYBE if one == _MAYBE else answer
        elif name in (*_DROPS, *_REWRITES, "accept"):
            verdict = name
        elif name not in ("counter", "log", "comment", "jump", "goto"):
            answer = _MAYBE
    return answer, verdict


def _matches(match: dict[str, Any], packet: Packet) -> str:
    left, right, operator = match["left"], match["right"], match["op"]
    answer = _compare(left, right, packet)
    if operator in ("==", "in"):
        return answer
    if operator == "!=":
        return {_YES: _NO, _NO: _YES}.get(answer, _MAYBE)
    return _MAYBE


def _compare(left: Any, right: Any, packet: Packet) -> str:
    if not isinstance(left, dict):
        return _MAYBE
    if "payload" in left and "protocol" in left["payload"]:
        return _compare_payload(left["payload"], right, packet)
    meta, tracked = left.get("meta", {}).get("key"), left.get("ct", {}).get("key")
    if meta in _INTERFACE_KEYS.get(packet.hooks[-1], _IN):
        return _contains(right, packet.interface, _interface_is)
    if meta == "l4proto":
        return _contains(right, "tcp", lambda value, _own: value in ("tcp", 6))
    if tracked == "state":
        states = set(right if isinstance(right, list) else right.get("set", []) if isinstance(right, dict) else [right])
        if packet.opens:
            return _YES if "new" in states else _MAYBE if "untracked" in states else _NO
        return _MAYBE
    return _MAYBE


def _compare_payload(payload: dict[str, str], right: Any, packet: Packet) -> str:
    place = (payload["protocol"], payload["field"])
    if payload["protocol"] in _ANOTHER_PROTOCOL:
        return _NO
    if place in (("ip", "protocol"), ("ip6", "nexthdr")):
        return _contains(right, "tcp", lambda value, _own: value in ("tcp", 6))
    if place in _ADDRESSES:
        return _contains(right, getattr(packet, _ADDRESSES[place]), _address_in)
    if place in _PORTS:
        return _contains(right, getattr(packet, _PORTS[place]), lambda value, port: value == port)
    return _MAYBE


def _contains(right: Any, own: Any, equals: Any) -> str:
    """Return whether a value, prefix, range or set of them holds the packet's own value."""
    if isinstance(right, dict) and "set" in right:
        right = right["set"]
    if isinstance(right, list):
        answers = {_contains(item, own, equals) for item in right}
        return _YES if _YES in answers else _MAYBE if _MAYBE in answers else _NO
    if isinstance(right, dict) and "range" in right:
        low, high = right["range"]
        try:
            if isinstance(own, int):
                return _YES if low <= own <= high else _NO
            first, address, last = (ip_address(text).packed for text in (low, own, high))
            return _YES if len(first) == len(address) and first <= address <= last else _NO
        except (ValueError, TypeError):
            return _MAYBE
    if isinstance(right, str) and right.startswith("@"):
        return _MAYBE
    try:
        return _YES if equals(right, own) else _NO
    except (ValueError, TypeError, AttributeError):
        return _MAYBE


def _interface_is(right: Any, own: str) -> bool:
    return own.startswith(right[:-1]) if right.endswith("*") else bool(right == own)


def _address_in(right: Any, own: str) -> bool:
    if isinstance(right, dict) and "prefix" in right:
        return ip_address(own) in ip_network(f"{right['prefix']['addr']}/{right['prefix']['len']}", strict=False)
    return ip_address(right) == ip_address(own)
