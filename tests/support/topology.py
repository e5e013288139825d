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

__all__ = ["REPOSITORY", "Topology", "read_topology"]

REPOSITORY = Path(__file__).resolve().parents[2]
GROUPS = ("online", "target", "assistant", "client")


@dataclass(frozen=True, slots=True)
class Topology:
    """One host of each kind, its address, and what they share."""

    ssh_config: Path
    names: dict[str, str]
    """Kind of host to its name in the inventory."""
    addresses: dict[str, str]
    """Kind of host to its address."""
    client_network: ipaddress.IPv4Network
    service_port: int


def read_topology() -> Topology:
    """Read the inventory that COPYTOOL_INVENTORY names, by default the lab's."""
    inventory = Path(os.environ.get("COPYTOOL_INVENTORY", REPOSITORY / "inventory" / "lab"))
    default_config = REPOSITORY / ".lab" / "ssh_config"
    program = Path(sys.executable).with_name("ansible-inventory")
    listing = subprocess.run(
        [program, "-i", inventory, "--list"], cwd=REPOSITORY, stdout=subprocess.PIPE, check=True
    ).stdout
    values: dict[str, Any] = json.loads(listing)
    names = {kind: values[f"{kind}_hosts"]["hosts"][0] for kind in GROUPS}
    variables = {kind: values["_meta"]["hostvars"][name] for kind, name in names.items()}
    return Topology(
        ssh_config=Path(os.environ.get("COPYTOOL_SSH_CONFIG", default_config)),
        names=names,
        addresses={kind: variables[kind]["lab_address"] for kind in GROUPS},
        client_network=ipaddress.IPv4Network(variables["online"]["copytool_client_network"]),
        service_port=variables["online"]["copytool_service_port"],
    )
