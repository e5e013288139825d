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
    prometheus: str
    """The host that runs Prometheus, "" if none does."""

    @property
    def services(self) -> list[str]:
        """The hosts with an echo service."""
        return [*self.names["online"], *self.names["target"]]


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
    ports = variables[names["online"][0]]["copytool_service_port"]
    default_config = os.environ.get("COPYTOOL_SSH_CONFIG", REPOSITORY / f".{chosen.name}" / "ssh_config")
    return Topology(
        ssh_config=ssh_config or Path(default_config),
        names=names,
        addresses={name: variables[name]["lab_address"] for own in names.values() for name in own},
        client_networks={
            name: ipaddress.IPv4Network(variables[name]["copytool_client_network"]) for name in names["online"]
        },
        assistants={name: variables[name].get("copytool_assistant", names["assistant"][0]) for name in names["online"]},
        service_ports=ports if isinstance(ports, list) else [ports],
        prometheus=next(iter(values.get("monitoring_hosts", {}).get("hosts", [])), ""),
    )
