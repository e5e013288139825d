"""The hosts under test and what the inventory says about them."""

from __future__ import annotations

import ipaddress
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["KINDS", "REPOSITORY", "Topology", "read_topology"]

REPOSITORY = Path(__file__).resolve().parents[2]
KINDS = ("online", "target", "assistant", "client")


@dataclass(frozen=True, slots=True)
class Topology:
    """The hosts of each kind, by their names in the inventory, and what they share."""

    ssh_config: Path
    names: dict[str, list[str]]
    """Kind of host to the hosts' names."""
    addresses: dict[str, str]
    """Each host's address."""
    client_networks: dict[str, ipaddress.IPv4Network]
    """Each online host's part of the client network."""
    assistants: dict[str, str]
    """Each online host's assistant, the one that answers to its part go to."""
    service_ports: list[int]
    target_ports: list[int]
    """Ports of the test copies, which are others where a test copy is beside its service."""
    link_addresses: dict[str, str]
    """Where each assistant's intercept listens."""
    prometheus: str
    """The host that runs Prometheus, "" if none does."""
    sudo: bool
    """Whether tests log in as a user who is not root, and become it."""

    @property
    def bystanders(self) -> list[str]:
        """The hosts that nothing of mirrored sessions may reach from others; one that answers are sent to is none."""
        return [
            name
            for kind in ("online", "client")
            for name in self.names[kind]
            if name not in self.names["assistant"] or self.ends_at(name)
        ]

    @property
    def services(self) -> dict[str, set[int]]:
        """The ports of echo services on each host that has one."""
        ports: dict[str, set[int]] = {}
        for kind, own in (("online", self.service_ports), ("target", self.target_ports)):
            for name in self.names[kind]:
                ports.setdefault(name, set()).update(own)
        return ports

    def ends_at(self, name: str) -> bool:
        """Whether answers end at this target itself."""
        return name in self.names["target"] and name in self.names["assistant"]


def read_topology(inventory: Path | None = None, ssh_config: Path | None = None) -> Topology:
    """Read an inventory, by default the one that COPYTOOL_INVENTORY names, else the lab's.

    The ssh_config is by default the one that COPYTOOL_SSH_CONFIG names, else that of the inventory's lab.
    """
    chosen = inventory or Path(os.environ.get("COPYTOOL_INVENTORY", "inventory/lab"))
    program = Path(sys.executable).with_name("ansible-inventory")
    listing = subprocess.run(
        [program, "-i", chosen, "--list"], cwd=REPOSITORY, stdout=subprocess.PIPE, check=True
    ).stdout
    values: dict[str, Any] = json.loads(listing)
    variables: dict[str, dict[str, Any]] = values["_meta"]["hostvars"]
    names = {kind: values[f"{kind}_hosts"]["hosts"] for kind in KINDS}
    first = variables[names["online"][0]]
    ports = _ports(first["copytool_service_port"])
    default_config = os.environ.get("COPYTOOL_SSH_CONFIG", REPOSITORY / f".{chosen.name}" / "ssh_config")
    return Topology(
        ssh_config=ssh_config or Path(default_config),
        names=names,
        addresses={name: variables[name]["lab_address"] for own in names.values() for name in own},
        client_networks={
            name: ipaddress.IPv4Network(variables[name]["copytool_client_network"]) for name in names["online"]
        },
        assistants={name: variables[name].get("copytool_assistant", names["assistant"][0]) for name in names["online"]},
        service_ports=ports,
        target_ports=_ports(first.get("copytool_test_copy_port", ports)),
        link_addresses={name: _link_address(variables[name]) for name in names["assistant"]},
        prometheus=next(iter(values.get("monitoring_hosts", {}).get("hosts", [])), ""),
        sudo=variables[names["online"][0]].get("ansible_user") != "root",
    )


def _ports(given: int | list[int]) -> list[int]:
    return given if isinstance(given, list) else [given]


def _link_address(variables: dict[str, Any]) -> str:
    """Where intercept listens: at the host's address, as a template says, or at one that is given."""
    given = str(variables["copytool_intercept_bind"])
    return str(variables["lab_address"]) if "{{" in given else given
