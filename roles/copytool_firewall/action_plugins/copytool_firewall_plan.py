"""Action: what a host's firewall has to let pass, and by which rules. It changes nothing.

It judges as roles/safety does, from what look.py of that role has seen on the host.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

ROLES = Path(__file__).resolve().parents[2]
for path in (ROLES / "safety", ROLES / "safety" / "action_plugins", ROLES.parent):
    if str(path) not in sys.path:
        sys.path.append(str(path))

from copytool.io.checks.firewall import suspects
from safety_judges.firewall import Need, needs, without_ours
from safety_judges.inventory import Host
from safety_report import gather

Json = dict[str, Any]


def plan(host: Host, wanted: list[Need]) -> Json:
    """Who keeps the rules, what to let in, and for nft which statements go into which chains."""
    seen = (host.seen or {})["firewall"]
    rules = [
        {"source": need.source, "destination": need.destination, "port": need.port, "interface": need.interface}
        for need in wanted
    ]
    if seen["keepers"]:
        return {"keeper": seen["keepers"][0], "rules": rules, "statements": []}
    return {"keeper": "nft", "rules": rules, "statements": list(statements(seen["nft"] or {}, wanted))}


def statements(ruleset: Json, wanted: list[Need]) -> Iterator[dict[str, str]]:
    """What to insert into each base chain that takes a packet, or may take it."""
    given: set[tuple[str, str]] = set()
    for need in wanted:
        for number, packet in enumerate(need.packets()):
            chains = dict.fromkeys(suspect.chain for suspect in suspects(without_ours(ruleset), packet))
            for chain in chains:
                one = (" ".join(chain), statement(need, answer=number == 1))
                if one not in given:
                    given.add(one)
                    yield {"chain": one[0], "statement": one[1]}


def statement(need: Need, *, answer: bool) -> str:
    """The rule that accepts what comes in, or the answers to it."""
    family = "ip6" if ":" in need.source else "ip"
    if answer:
        return f"{family} saddr {need.destination} {family} daddr {need.source} tcp sport {need.port} counter accept"
    return f"{family} saddr {need.source} {family} daddr {need.destination} tcp dport {need.port} counter accept"


class ActionModule(ActionBase):
    """Ansible's entry point."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: Json | None = None) -> Json:
        """Return the plan for this host."""
        result: Json = super().run(tmp, task_vars)
        assert task_vars is not None
        hosts, _ = gather(self._templar, task_vars["groups"], task_vars["hostvars"])
        host = hosts[task_vars["inventory_hostname"]]
        if host.seen is None:
            result.update(failed=True, msg=f"the host's firewall cannot be looked at: {host.why_not or 'not asked'}")
            return result
        legacy = host.seen["firewall"]["legacy"]
        result.update(changed=False, legacy=legacy, **plan(host, list(needs(host, hosts))))
        return result
