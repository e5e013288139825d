"""By which rules a firewall is opened."""

from __future__ import annotations

from typing import Any

import pytest
from support.loading import load

plans = load("copytool_firewall/action_plugins/copytool_firewall_plan.py")
inventory = __import__("safety_judges.inventory", fromlist=["Host"])

NEED = plans.Need("the link", "10.0.0.1", "10.0.0.3", 36524, "eth0")
MIRRORED = plans.Need("mirrored sessions", "192.168.60.0/24", "10.0.0.2", 80, "eth0")


def chain(name: str, hook: str, policy: str) -> dict[str, Any]:
    """A base chain."""
    return {"chain": {"family": "inet", "table": "filter", "name": name, "hook": hook, "policy": policy}}


def host(*rules: dict[str, Any], keepers: tuple[str, ...] = ()) -> Any:
    """A host with such a firewall."""
    seen = {"firewall": {"keepers": list(keepers), "nft": {"nftables": list(rules)}, "has_nft": True, "legacy": []}}
    return inventory.Host("h", frozenset({"assistant"}), "10.0.0.3", seen=seen)


def test_nothing_is_planned_where_nothing_drops() -> None:
    assert plans.plan(host(chain("in", "input", "accept")), [NEED])["statements"] == []


def test_each_chain_that_drops_gets_a_rule_for_its_direction() -> None:
    plan = plans.plan(host(chain("in", "input", "drop"), chain("out", "output", "drop")), [NEED, MIRRORED])
    assert plan["keeper"] == "nft"
    assert [(one["chain"], one["statement"]) for one in plan["statements"]] == [
        ("inet filter in", "ip saddr 10.0.0.1 ip daddr 10.0.0.3 tcp dport 36524 counter accept"),
        ("inet filter out", "ip saddr 10.0.0.3 ip daddr 10.0.0.1 tcp sport 36524 counter accept"),
        ("inet filter in", "ip saddr 192.168.60.0/24 ip daddr 10.0.0.2 tcp dport 80 counter accept"),
        ("inet filter out", "ip saddr 10.0.0.2 ip daddr 192.168.60.0/24 tcp sport 80 counter accept"),
    ]


def test_the_plan_is_the_same_when_the_rules_are_there() -> None:
    """Our own rules do not count, or a second run would take them away."""
    ours = {"family": "inet", "table": "filter", "chain": "in", "handle": 9, "comment": "copytool mirror"}
    before = plans.plan(host(chain("in", "input", "drop")), [NEED])
    after = plans.plan(host(chain("in", "input", "drop"), {"rule": {**ours, "expr": [{"accept": None}]}}), [NEED])
    assert before == after


@pytest.mark.parametrize("keeper", ["ufw", "firewalld"])
def test_who_keeps_the_rules_gets_them(keeper: str) -> None:
    plan = plans.plan(host(chain("in", "input", "drop"), keepers=(keeper,)), [NEED])
    assert (plan["keeper"], plan["statements"]) == (keeper, [])
    assert plan["rules"] == [{"source": "10.0.0.1", "destination": "10.0.0.3", "port": 36524, "interface": "eth0"}]


def test_ipv6() -> None:
    need = plans.Need("the link", "fd00::1", "fd00::3", 36524, "eth0")
    assert plans.statement(need, answer=False).startswith("ip6 saddr fd00::1 ip6 daddr fd00::3 tcp dport 36524")
