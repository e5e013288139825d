"""The hosts of an inventory: which a task works on, and how each is reached."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from invoke import Exit

REPOSITORY = Path(__file__).resolve().parent.parent
LAB_INVENTORY = "inventory/lab"
KINDS = {kind: f"{kind}_hosts" for kind in ("online", "target", "assistant", "client", "copy", "forward")}
"""Short for the groups, where no host or group has that name."""
DAEMONS = {"intercept": ("assistant_hosts",), "copy": ("copy_hosts", "online_hosts"), "forward": ("forward_hosts",)}
"""In the order of starting, with the groups that run them: the first that has hosts."""


@dataclass(frozen=True, slots=True)
class Host:
    """A host, and how Ansible reaches it."""

    name: str
    connection: str = "ssh"
    address: str = ""
    user: str = ""
    port: str = ""
    key: str = ""
    arguments: str = ""
    """More arguments of ssh, as a shell would read them."""
    ssh: str = "ssh"
    check_host_key: bool = True
    become_method: str = "sudo"
    become_password: str = field(default="", repr=False)
    problem: str = ""
    """Why it cannot be reached at all."""

    @classmethod
    def read(cls, name: str, values: Mapping[str, Any]) -> Host:
        """From what ask_ansible says about it."""

        def text(key: str) -> str:
            return str(values.get(key) or "")

        return cls(
            name=name,
            connection=text("connection").rpartition(".")[2],
            address=text("host") or name,
            user=text("remote_user"),
            port=text("port"),
            key=text("private_key_file"),
            arguments=f"{text('ssh_common_args')} {text('ssh_extra_args')}".strip(),
            ssh=text("ssh_executable") or "ssh",
            check_host_key=bool(values.get("host_key_checking", True)),
            become_method=text("become_method").rpartition(".")[2],
            become_password=text("become_password"),
            problem=text("problem"),
        )


@dataclass(frozen=True, slots=True)
class Fleet:
    """The hosts that a task may work on, and the groups of the whole inventory."""

    inventory: Path
    selection: str
    """What --hosts was."""
    hosts: dict[str, Host]
    """The selected ones, in the order of the inventory."""
    groups: dict[str, list[str]]
    forks: int = 5
    """How many hosts are connected to at a time."""
    connect_timeout_s: int = 10

    def of_group(self, *groups: str) -> list[Host]:
        """The selected hosts of the first of the groups that has any in the inventory."""
        names = next((self.groups[group] for group in groups if self.groups.get(group)), [])
        return [host for name, host in self.hosts.items() if name in names]

    def daemons(self, wanted: str = "") -> list[str]:
        """The daemons that are meant, in the order of starting."""
        if wanted and wanted not in DAEMONS:
            raise Exit(f"no daemon {wanted!r}; there are {', '.join(DAEMONS)}")
        return [wanted] if wanted else list(DAEMONS)

    def running(self, wanted: str = "") -> dict[Host, list[str]]:
        """The daemons on each host, in the order of the hosts; of one daemon or of all."""
        found = {own: self.of_group(*DAEMONS[own]) for own in self.daemons(wanted)}
        running = {host: [own for own, hosts in found.items() if host in hosts] for host in self.hosts.values()}
        return {host: own for host, own in running.items() if own}

    def which_run(self, wanted: str = "") -> dict[Host, list[str]]:
        """As running(); it is a mistake if there is no such host."""
        return self.running(wanted) or self.fail(f"runs {wanted or 'one of ' + ', '.join(DAEMONS)}")

    def everybody(self) -> list[Host]:
        """The selected hosts; without a selection, those in one of the project's groups."""
        if self.selection:
            return list(self.hosts.values())
        known = {name for group, names in self.groups.items() if group.endswith("_hosts") for name in names}
        return [host for name, host in self.hosts.items() if name in known]

    def fail(self, what: str) -> NoReturn:
        """Say that none of the hosts does what it takes."""
        among = f"no host of --hosts {self.selection}" if self.selection else "no host"
        raise Exit(f"{among} {what} in {self.inventory}")

    @property
    def hint(self) -> str:
        """What to try when hosts do not answer."""
        if "lab_hosts" in self.groups:
            ours = self.inventory.resolve() == REPOSITORY / LAB_INVENTORY
            return f"Is the lab up? make lab{'' if ours else f' INVENTORY={shown(self.inventory)}'}"
        if self.inventory.resolve() == REPOSITORY / "inventory/vagrant":
            return "Are the machines up? vagrant up"
        return f"Does Ansible reach them? ansible all -m ping -i {shown(self.inventory)}"


def shown(path: Path) -> str:
    """A path as people type it in the repository."""
    resolved = path.resolve()
    return str(resolved.relative_to(REPOSITORY)) if resolved.is_relative_to(REPOSITORY) else str(path)


def read_fleet(inventory: str, selection: str = "", overrides: Mapping[str, Any] | None = None) -> Fleet:
    """Ask Ansible about an inventory; overrides are values that take the place of its own for all hosts."""
    chosen = Path(inventory or os.environ.get("COPYTOOL_INVENTORY") or REPOSITORY / LAB_INVENTORY)
    if not chosen.exists():
        raise Exit(f"no inventory {chosen}")
    values = ask(chosen.resolve(), selection)
    overrides = dict(overrides or {})
    timeout_s = int(overrides.pop("connect_timeout_s", 0) or values["timeout_s"])
    hosts = {name: Host.read(name, {**own, **overrides}) for name, own in values["hosts"].items()}
    if not hosts:
        raise Exit(f"no host of {chosen} matches {selection!r}" if selection else f"no hosts in {chosen}")
    return Fleet(chosen, selection, hosts, values["groups"], int(values["forks"]), timeout_s)


def ask(inventory: Path, selection: str) -> dict[str, Any]:
    """Have Ansible read an inventory, with the settings that playbooks have here."""
    program = Path(__file__).with_name("ask_ansible.py")
    command = [sys.executable, "-P", str(program), str(inventory), selection, json.dumps(KINDS)]
    environment = {**os.environ, "ANSIBLE_INVENTORY_UNPARSED_FAILED": "true"}
    asked = subprocess.run(
        command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, process_group=0, check=False
    )
    if asked.returncode != 0:
        raise Exit(f"could not read the inventory {inventory}")
    return dict(json.loads(asked.stdout))
