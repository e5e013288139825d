"""Rules of nft's JSON: certain to take a packet, possible, or none of its business."""

from __future__ import annotations

from typing import Any

import pytest

from copytool.io.checks.firewall import Packet, suspects

SYN = Packet(("prerouting", "input"), "ens18", "192.168.60.1", 40000, "192.168.50.101", 1025, True)
ANSWER = Packet(("output",), "ens18", "192.168.50.101", 1025, "192.168.60.1", 40000, False)
SYN6 = Packet(("input",), "ens18", "fd60::1", 40000, "fd50::101", 1025, True)


def match(left: dict[str, Any], right: Any, operator: str = "==") -> dict[str, Any]:
    return {"match": {"op": operator, "left": left, "right": right}}


def payload(protocol: str, field: str, right: Any, operator: str = "==") -> dict[str, Any]:
    return match({"payload": {"protocol": protocol, "field": field}}, right, operator)


def meta(key: str, right: Any) -> dict[str, Any]:
    return match({"meta": {"key": key}}, right)


def prefix(address: str, length: int) -> dict[str, Any]:
    return {"prefix": {"addr": address, "len": length}}


SADDR = payload("ip", "saddr", prefix("192.168.60.0", 24))
DROP, ACCEPT, REJECT = {"drop": None}, {"accept": None}, {"reject": {}}
STATE = {"ct": {"key": "state"}}


def ruleset(*rules: list[dict[str, Any]], policy: str = "accept", family: str = "inet", hook: str = "input") -> Any:
    """A table with one chain."""
    own = {"family": family, "table": "t", "name": "c", "hook": hook, "policy": policy, "type": "filter"}
    return {"nftables": [{"metainfo": {}}, {"chain": own}, *_rules("c", family, *rules)]}


def _rules(chain: str, family: str, *rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"rule": {"family": family, "table": "t", "chain": chain, "handle": number, "expr": expr}}
        for number, expr in enumerate(rules, 1)
    ]


def found(rules: Any, packet: Packet = SYN) -> list[tuple[str, bool]]:
    """Where, and whether for certain."""
    return [(suspect.where.removeprefix("nft rule inet t "), suspect.certain) for suspect in suspects(rules, packet)]


@pytest.mark.parametrize(
    "conditions",
    [
        [],
        [SADDR],
        [{"counter": {}}, SADDR, {"log": None}],
        [payload("ip", "saddr", "192.168.60.1")],
        [payload("ip", "saddr", {"range": ["192.168.60.0", "192.168.60.9"]})],
        [payload("ip", "saddr", {"set": ["10.0.0.1", prefix("192.168.0.0", 16)]})],
        [payload("ip", "saddr", prefix("192.168.50.0", 24), "!=")],
        [payload("tcp", "dport", 1025)],
        [payload("tcp", "dport", {"range": [1000, 2000]})],
        [payload("tcp", "dport", {"set": [80, 1025]})],
        [payload("th", "dport", 1025)],
        [payload("ip", "protocol", "tcp")],
        [meta("iifname", "ens18"), meta("l4proto", "tcp")],
        [meta("iifname", {"set": ["lo", "ens*"]}), meta("l4proto", {"set": ["tcp", "udp"]})],
        [match(STATE, "new", "in"), SADDR],
        [match(STATE, ["invalid", "new"], "in")],
    ],
)
def test_certain(conditions: list[dict[str, Any]]) -> None:
    """All that the rule asks is understood, and holds."""
    assert found(ruleset([*conditions, DROP])) == [("c handle 1", True)]
    assert found(ruleset([*conditions, REJECT])) == [("c handle 1", True)]


@pytest.mark.parametrize(
    "condition",
    [
        payload("ip", "saddr", "@blocked"),
        payload("ip", "ttl", 3),
        meta("mark", 7),
        meta("oifname", "lo"),
        meta("iif", 3),
        payload("tcp", "flags", "syn"),
        {"limit": {"rate": 1}},
        match(STATE, "untracked", "in"),
        payload("ip", "saddr", "192.168.60.1", "<"),
        match({"&": [1, 2]}, 1),
    ],
)
def test_possible(condition: dict[str, Any]) -> None:
    """What is not understood may be true."""
    assert found(ruleset([condition, DROP])) == [("c handle 1", False)]


@pytest.mark.parametrize(
    "condition",
    [
        payload("ip", "saddr", prefix("10.0.0.0", 8)),
        payload("ip", "daddr", "192.168.50.102"),
        payload("tcp", "dport", 22),
        payload("tcp", "sport", {"range": [1, 1023]}),
        payload("udp", "dport", 1025),
        meta("iifname", "lo"),
        meta("iif", "eth*"),
        meta("l4proto", "udp"),
        match(STATE, ["established", "related"], "in"),
        match(STATE, "invalid", "in"),
    ],
)
def test_none_of_its_business(condition: dict[str, Any]) -> None:
    """One condition that does not hold is enough."""
    assert found(ruleset([condition, SADDR, DROP])) == []


def test_policy() -> None:
    """A chain that drops by default does so unless a rule accepts."""
    assert found(ruleset(policy="drop")) == [("policy of inet t c", True)]
    assert found(ruleset([SADDR, ACCEPT], policy="drop")) == []
    assert found(ruleset([meta("mark", 7), ACCEPT], policy="drop")) == [("policy of inet t c", False)]
    assert found(ruleset([match(STATE, ["established"], "in"), ACCEPT], [SADDR, DROP])) == [("c handle 2", True)]


def test_accepted_before() -> None:
    """A rule that certainly accepts ends the chain; one that may accept leaves the drop possible."""
    assert found(ruleset([payload("tcp", "dport", 1025), ACCEPT], [SADDR, DROP])) == []
    assert found(ruleset([payload("ip", "saddr", "@good"), ACCEPT], [SADDR, DROP])) == [("c handle 2", False)]


def test_jumps() -> None:
    """A rule of another chain applies under the conditions of the jump."""
    jumping = ruleset([payload("tcp", "dport", 1025), {"jump": {"target": "other"}}])
    jumping["nftables"] += _rules("other", "inet", [SADDR, DROP], [{"jump": {"target": "other"}}])
    assert found(jumping) == [("other handle 1", True)]
    elsewhere = ruleset([payload("tcp", "dport", 22), {"goto": {"target": "other"}}])
    elsewhere["nftables"] += _rules("other", "inet", [SADDR, DROP])
    assert found(elsewhere) == []


def test_other_hooks_and_families() -> None:
    """Only chains that the packet passes count."""
    assert found(ruleset([DROP], hook="output")) == []
    assert found(ruleset([DROP], hook="output"), ANSWER) == [("c handle 1", True)]
    assert found(ruleset([DROP], family="ip6")) == []
    assert [suspect.certain for suspect in suspects(ruleset([DROP], family="ip6"), SYN6)] == [True]
    assert found(ruleset([SADDR, DROP]), SYN6) == []


def test_rewriting_counts() -> None:
    """What redirects a session takes it from the service as well."""
    assert found(ruleset([SADDR, {"redirect": {"port": 8080}}], hook="prerouting")) == [("c handle 1", True)]
