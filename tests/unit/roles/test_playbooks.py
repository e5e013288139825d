"""Which hosts the plays run on: those of copy_hosts, where an inventory has that group, instead of the online hosts."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.topology import REPOSITORY

INVENTORY = """\
all:
  children:
    online_hosts: {{hosts: {{online: }}}}
    target_hosts: {{hosts: {{target: }}}}
    assistant_hosts: {{hosts: {{assistant: }}}}
    client_hosts: {{hosts: {{client: }}}}
    copy_hosts: {{hosts: {copy}}}
"""
OTHERS = {"assistant", "target"}


def hosts_of(names: tuple[str, ...], inventory: Path, *options: str) -> dict[str, list[set[str]]]:
    """The hosts of each play of playbooks, as Ansible lists them."""
    program = Path(sys.executable).with_name("ansible-playbook")
    words = [program, *(f"playbooks/{name}.yml" for name in names), "-i", inventory, "--list-hosts", *options]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    listed = re.split(r"^playbook: playbooks/(\w+)\.yml$", done.stdout, flags=re.MULTILINE)[1:]
    return {
        name: [
            set(re.findall(r"^      (\S+)$", play, re.MULTILINE))
            for play in re.split(r"^  play #\d+", plays, flags=re.MULTILINE)[1:]
        ]
        for name, plays in zip(listed[::2], listed[1::2], strict=True)
    }


@pytest.mark.parametrize(("copy", "runs_copy"), [("{}", "online"), ("{sender: }", "sender")])
def test_plays_for_copy(tmp_path: Path, copy: str, runs_copy: str) -> None:
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(INVENTORY.format(copy=copy))
    plays = hosts_of(("check", "copy", "remove", "steer", "stop", "verify"), inventory)
    both = {"online", runs_copy, *OTHERS}
    assert plays["copy"] == plays["steer"] == [{runs_copy}]
    assert [play for play in plays["stop"] if play] == [{runs_copy}, {"assistant"}]
    assert {runs_copy} in plays["remove"]
    checks = [play for play in plays["check"] if play in ({runs_copy}, OTHERS)]
    assert checks == [{runs_copy}, OTHERS, {runs_copy}, OTHERS]
    assert plays["verify"][:3] == [both, {"client"}, both]


def test_teardown_undoes_what_is_not_destroyed(tmp_path: Path) -> None:
    """Also on hosts of a lab, if that is asked for; remove.yml undoes on all hosts."""
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(INVENTORY.format(copy="{}"))
    with_lab = tmp_path / "lab.yml"
    with_lab.write_text(f"{inventory.read_text()}    lab_hosts: {{hosts: {{online: , assistant: , client: }}}}\n")
    plays = ("remove", "teardown")
    undone = hosts_of(plays, inventory)
    assert {"online"} in undone["remove"]
    assert undone["teardown"] == [*undone["remove"], {"localhost"}]
    in_lab = hosts_of(plays, with_lab)
    assert in_lab["remove"] == undone["remove"]
    assert in_lab["teardown"] == [*(play & {"target"} for play in undone["remove"]), {"localhost"}]
    assert hosts_of(plays, with_lab, "-e", "teardown_roles=true") == undone
