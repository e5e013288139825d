"""What Vagrant's machines and their inventory have to agree on; scripts/test-vagrant runs them for real."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
INVENTORY = "inventory/vagrant"


def listing(inventory: Path) -> dict[str, Any]:
    """An inventory as Ansible reads it."""
    program = Path(sys.executable).with_name("ansible-inventory")
    done = subprocess.run([program, "-i", inventory, "--list"], cwd=REPOSITORY, capture_output=True, check=True)
    assert b"WARNING" not in done.stderr, done.stderr
    return dict(json.loads(done.stdout))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A directory with the inventories and nothing of Vagrant's."""
    shutil.copytree(REPOSITORY / "inventory", tmp_path / "inventory", symlinks=True)
    (tmp_path / ".vagrant").mkdir()
    return tmp_path


def test_same_groups_as_in_the_lab(checkout: Path) -> None:
    ours, lab = listing(checkout / INVENTORY), listing(checkout / "inventory/lab")
    assert set(lab) - {"lab_hosts", "monitoring_hosts"} <= set(ours)
    # playbooks/lab.yml makes the hosts of this group, in containers.
    assert "lab_hosts" not in ours
    for kind in ("online_hosts", "target_hosts", "assistant_hosts"):
        assert ours[kind] == lab[kind]


@pytest.mark.parametrize(("running", "clients"), [((), "assistant"), (("online", "client"), "client")])
def test_who_drives_the_test_sessions(checkout: Path, running: tuple[str, ...], clients: str) -> None:
    if running:
        config = "# Written by the Vagrantfile\n\n" + "\n".join(f"Host {name}\n    Port 22\n" for name in running)
        (checkout / ".vagrant/ssh_config").write_text(config)
    assert listing(checkout / INVENTORY)["client_hosts"]["hosts"] == [clients]


def test_addresses_are_those_of_the_vagrantfile(checkout: Path) -> None:
    text = (REPOSITORY / "Vagrantfile").read_text()
    made = dict(re.findall(r'"(\w+)"\]? (?:=>|=) "(192\.168\.50\.\d+)"', text))
    variables = listing(checkout / INVENTORY)["_meta"]["hostvars"]
    assert made == {name: own["lab_address"] for name, own in variables.items() if name != "localhost"}


def test_vagrantfile_leaves_the_hypervisor_alone() -> None:
    """A driver that it sets would win over that of ~/.vagrant.d/Vagrantfile, and so over the test's."""
    assert not re.search(r"\.(driver|cpu_mode|cpu_model|nested)\b", (REPOSITORY / "Vagrantfile").read_text())
