"""Finds the interfaces to capture on in a host's facts, and copy's peers in its configuration, and writes TOML."""

from __future__ import annotations

import json
import re
from ipaddress import ip_address
from typing import Any

from ansible.errors import AnsibleFilterError


def copytool_interfaces(facts: dict[str, Any], address: str = "") -> list[str]:
    """The interface with `address`, else the one with the default route, else the only one; [] when unclear."""
    names = [name for name in facts.get("interfaces", []) if name != "lo"]
    with_ipv4 = {name: addresses(facts, name) for name in names}
    if address and address not in ("0.0.0.0", "::"):
        return sorted(name for name, own in with_ipv4.items() if address in own)
    if device := facts.get("default_ipv4", {}).get("interface"):
        return [device]
    usable = sorted(name for name, own in with_ipv4.items() if own)
    return usable if len(usable) == 1 else []


def addresses(facts: dict[str, Any], name: str) -> list[str]:
    """The addresses of an interface; the facts' keys have every "-" of its name as "_"."""
    details = facts.get(name.replace("-", "_"), {})
    entries = [details.get("ipv4") or {}, *details.get("ipv4_secondaries", []), *details.get("ipv6", [])]
    return [entry["address"] for entry in entries if entry.get("address")]


def copytool_toml_value(value: Any) -> str:
    """A TOML value: string, boolean, number, or a list of these."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(copytool_toml_value(item) for item in value) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    raise AnsibleFilterError(f"copytool's configuration takes no {type(value).__name__}: {value!r}")


def copytool_peer(peer: dict[str, Any]) -> list[str]:
    """The items of intercept's option `peers` for a copy (key) and its client networks (value: one, or a list)."""
    return [f"{peer['key']}={network}" for network in _items(peer["value"])]


def copytool_far_ends(config: dict[str, Any]) -> list[str]:
    """The addresses that copy and forward connect to, and of copy's targets; [] where one of them has a name only."""
    ends = [*_items(config.get("intercept", [])), *(item.partition("-")[2] for item in _items(config.get("map", [])))]
    ends += _items(config.get("to", []))
    hosts = {re.sub(r":\d+$", "", end).removeprefix("[").removesuffix("]") for end in ends}
    try:
        return sorted(str(ip_address(host)) for host in hosts)
    except ValueError:
        return []


def copytool_ailment(result: dict[str, Any], wants_link: bool) -> str:
    """What is wrong with a daemon, by the result of `copytool status --json`; "" if nothing is."""
    if result.get("rc") != 0:
        lines = (result.get("stderr") or result.get("msg") or "it does not answer").strip().splitlines()
        return str(lines[-1])
    links = json.loads(result["stdout"]).get("link", [])
    broken = [link for link in links if link.get("state") != "established"]
    if not wants_link or (links and not broken):
        return ""
    if not links:
        return "it has no link"
    return f"the link to {broken[0].get('peer', 'the intercept')} is {broken[0].get('state')}"


def _items(value: str | list[str]) -> list[str]:
    """The items of an option that is a list, of strings that may be lists themselves."""
    return [item.strip() for text in ([value] if isinstance(value, str) else value) for item in text.split(",")]


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        """The filters that this file brings."""
        return {
            "copytool_ailment": copytool_ailment,
            "copytool_interfaces": copytool_interfaces,
            "copytool_peer": copytool_peer,
            "copytool_far_ends": copytool_far_ends,
            "copytool_toml_value": copytool_toml_value,
        }
