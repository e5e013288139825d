#!/usr/bin/python
"""Ansible module: have a host's own firewall let pass what a mirror needs, and take that back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: copytool_firewall_rules
short_description: Let TCP pass through the firewall that the host has
description:
  - With ufw it adds C(ufw allow) rules, with firewalld permanent rich rules. Where neither runs it puts rules at the
    head of the nft chains that would drop the packets, by a service that does so again whenever nftables.service loads
    its rules. Each kind of rule is marked or recorded as this module's, and nothing else is ever removed.
options:
  state:
    description: Whether the rules are to be there.
    type: str
    choices: [present, absent]
    default: present
  keeper:
    description: Who keeps the host's rules. With O(state=absent) the rules of all of them go.
    type: str
    choices: [ufw, firewalld, nft]
    default: nft
  rules:
    description: What to let in, each with C(source), C(destination), C(port), and the C(interface) it comes in on.
    type: list
    elements: dict
    default: []
  statements:
    description: For nft, what to insert, each with C(chain) (family, table and name) and C(statement).
    type: list
    elements: dict
    default: []
  comment:
    description: What rules are marked with.
    type: str
    default: copytool mirror
attributes:
  check_mode:
    support: full
    description: Says what it would change.
  diff_mode:
    support: full
    description: Shows the rules that are added or removed.
author:
  - copytool
"""

EXAMPLES = r"""
- name: Let the link in
  copytool_firewall_rules:
    keeper: ufw
    rules:
      - {source: 192.0.2.10, destination: 192.0.2.102, port: 36524, interface: eth0}
"""

RETURN = r"""
added:
  description: The rules that were added.
  returned: always
  type: list
removed:
  description: The rules that were removed.
  returned: always
  type: list
"""

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

UNIT = "copytool-firewall.service"
UNIT_FILE = Path("/etc/systemd/system", UNIT)
SCRIPT = Path("/usr/local/lib/copytool_firewall/rules")
RECORD = Path("/var/lib/copytool_firewall/firewalld")
UNIT_TEXT = f"""\
[Unit]
Description=Let pass what the copytool mirror needs
# The rules go into the admin's chains, so they have to come back after those were loaded anew.
After=nftables.service netfilter-persistent.service
PartOf=nftables.service netfilter-persistent.service
ReloadPropagatedFrom=nftables.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={SCRIPT} add
ExecReload={SCRIPT} add
ExecStop={SCRIPT} remove

[Install]
WantedBy=multi-user.target
"""
SCRIPT_TEXT = """\
#!/bin/sh
# add or remove: the rules that the copytool mirror needs, marked by their comment.
comment={comment}
remove() {{
    nft -a list chain $1 | sed -n 's/.* comment "'"$comment"'" .*# handle \\([0-9]*\\)$/\\1/p' |
        while read -r handle; do nft delete rule $1 handle "$handle"; done
}}
add() {{ nft insert rule "$@" || status=1; }}

status=0
{removals}
[ "$1" = add ] || exit 0
{additions}
exit "$status"
"""


class RuleError(Exception):
    """A command of a firewall failed; the message says which."""


def run(*command: str, check: bool = True) -> str:
    """What a command prints."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        if check:
            raise RuleError(f"{command[0]} is not there") from None
        return ""
    if check and done.returncode != 0:
        raise RuleError(f"{shlex.join(command)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


class Ufw:
    """`ufw allow` rules with our comment."""

    def __init__(self, comment: str) -> None:
        self._comment = comment
        self.ours, self.others = [], []
        for line in run("ufw", "show", "added", check=False).splitlines():
            match = re.match(r"ufw (allow .*?)(?: comment '(.*)')?$", line.strip())
            if match:
                (self.ours if match[2] == comment else self.others).append(match[1])

    def wanted(self, given: dict[str, Any]) -> list[str]:
        """The rules as ufw shows them; not those that somebody else has added already."""
        rules = [
            f"allow from {rule['source']} to {rule['destination']} port {rule['port']} proto tcp"
            for rule in given["rules"]
        ]
        return [rule for rule in rules if rule not in self.others]

    def add(self, rule: str) -> None:
        """Add one, now and for later."""
        run("ufw", *rule.split(), "comment", self._comment)

    def remove(self, rule: str) -> None:
        """Remove one, now and for later."""
        run("ufw", "delete", *rule.split())


class Firewalld:
    """Rich rules, which have no comment: ours are recorded. Each line has zone and rule."""

    def __init__(self, comment: str) -> None:
        self.ours = RECORD.read_text().splitlines() if RECORD.exists() else []

    def wanted(self, given: dict[str, Any]) -> list[str]:
        """Zone and rule of each, but for what somebody else has added already."""
        found = []
        for rule in given["rules"]:
            family = "ipv6" if ":" in rule["source"] else "ipv4"
            text = (
                f'rule family="{family}" source address="{rule["source"]}" destination address="{rule["destination"]}" '
                f'port port="{rule["port"]}" protocol="tcp" accept'
            )
            line = f"{self._zone(rule.get('interface', ''))} {text}"
            if line in self.ours or not self._stands(line):
                found.append(line)
        return found

    @staticmethod
    def _zone(interface: str) -> str:
        zone = run("firewall-cmd", f"--get-zone-of-interface={interface}", check=False).strip() if interface else ""
        return zone if zone and " " not in zone else run("firewall-cmd", "--get-default-zone").strip()

    @staticmethod
    def _stands(line: str) -> bool:
        zone, _, rule = line.partition(" ")
        return (
            run("firewall-cmd", "--permanent", f"--zone={zone}", f"--query-rich-rule={rule}", check=False).strip()
            == "yes"
        )

    def add(self, line: str) -> None:
        """Add one, now and for later."""
        RECORD.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        self.ours.append(line)
        RECORD.write_text("".join(f"{one}\n" for one in self.ours))  # before it is there: a killed run is undone, too
        self._change("add", line)

    def remove(self, line: str) -> None:
        """Remove one, now and for later."""
        self._change("remove", line)
        self.ours.remove(line)
        RECORD.write_text("".join(f"{one}\n" for one in self.ours))
        if not self.ours:
            RECORD.unlink()
            RECORD.parent.rmdir()

    @staticmethod
    def _change(verb: str, line: str) -> None:
        zone, _, rule = line.partition(" ")
        for when in ((), ("--permanent",)):
            run("firewall-cmd", *when, f"--zone={zone}", f"--{verb}-rich-rule={rule}")


class Nft:
    """Rules at the head of the admin's chains, put there by a service. Each line is a chain and a statement."""

    def __init__(self, comment: str) -> None:
        self._comment = comment
        self.ours = []
        if SCRIPT.exists():
            self.ours = [
                line[4:].replace("'", "") for line in SCRIPT.read_text().splitlines() if line.startswith("add ")
            ]

    def wanted(self, given: dict[str, Any]) -> list[str]:
        """Chain and statement of each."""
        return [f'{one["chain"]} {one["statement"]} comment "{self._comment}"' for one in given["statements"]]

    def stands(self, lines: list[str]) -> bool:
        """Whether as many rules of ours are in the chains as there should be."""
        text = run("nft", "-j", "list", "ruleset", check=False) or "{}"
        entries = json.loads(text).get("nftables", [])
        return sum(entry.get("rule", {}).get("comment") == self._comment for entry in entries) == len(lines)

    def write(self, lines: list[str]) -> None:
        """Have exactly these rules, now and after each start."""
        if not lines:
            self._forget()
            return
        chains = dict.fromkeys(" ".join(line.split()[:3]) for line in lines)
        text = SCRIPT_TEXT.format(
            comment=shlex.quote(self._comment),
            removals="\n".join(f"remove {shlex.quote(chain)}" for chain in chains),
            additions="\n".join(f"add {shlex.quote(line)}" for line in lines),
        )
        if UNIT_FILE.exists():
            run("systemctl", "stop", UNIT)  # by the script before, which knows the chains of then
        SCRIPT.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        SCRIPT.write_text(text)
        SCRIPT.chmod(0o755)
        UNIT_FILE.write_text(UNIT_TEXT)
        UNIT_FILE.chmod(0o644)
        run("systemctl", "daemon-reload")
        run("systemctl", "enable", "--quiet", UNIT)
        run("systemctl", "restart", UNIT)

    @staticmethod
    def _forget() -> None:
        if UNIT_FILE.exists():
            run("systemctl", "disable", "--quiet", "--now", UNIT)
            UNIT_FILE.unlink()
            run("systemctl", "daemon-reload")
            run("systemctl", "reset-failed", UNIT, check=False)
        SCRIPT.unlink(missing_ok=True)
        if SCRIPT.parent.exists():
            SCRIPT.parent.rmdir()


def change(given: dict[str, Any], check_mode: bool) -> tuple[list[str], list[str]]:
    """Add and remove rules; return which."""
    added, removed = [], []
    present = given["state"] == "present"
    for name, kind in (("ufw", Ufw), ("firewalld", Firewalld)):
        keeper = kind(given["comment"])
        wanted = keeper.wanted(given) if present and given["keeper"] == name else []
        more, less = [r for r in wanted if r not in keeper.ours], [r for r in keeper.ours if r not in wanted]
        added, removed = [*added, *more], [*removed, *less]
        if not check_mode:
            for rule in list(less):
                keeper.remove(rule)
            for rule in more:
                keeper.add(rule)
    nft = Nft(given["comment"])
    wanted = nft.wanted(given) if present and given["keeper"] == "nft" else []
    shown = [line.replace("'", "") for line in wanted]
    more, less = [r for r in shown if r not in nft.ours], [r for r in nft.ours if r not in shown]
    lost = bool(wanted) and not more and not less and not nft.stands(wanted)
    if more or less or lost:
        added, removed = [*added, *(wanted if lost else more)], [*removed, *less]
        if not check_mode:
            nft.write(wanted)
    return added, removed


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "keeper": {"type": "str", "choices": ["ufw", "firewalld", "nft"], "default": "nft"},
            "rules": {"type": "list", "elements": "dict", "default": []},
            "statements": {"type": "list", "elements": "dict", "default": []},
            "comment": {"type": "str", "default": "copytool mirror"},
        },
        supports_check_mode=True,
    )
    try:
        added, removed = change(module.params, module.check_mode)
    except (OSError, RuleError, ValueError) as error:
        module.fail_json(msg=f"the host's firewall: {error}")
    diff = {"before": "".join(f"{rule}\n" for rule in removed), "after": "".join(f"{rule}\n" for rule in added)}
    module.exit_json(changed=bool(added or removed), added=added, removed=removed, diff=diff)


if __name__ == "__main__":
    main()
