"""Runs playbooks on the inventory under test, as people do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from .topology import REPOSITORY

__all__ = ["changed_tasks", "play"]

_TASK = re.compile(r"^(?:TASK|RUNNING HANDLER) \[(?:[^]:]* : )?([^]]*)\]", re.MULTILINE)


def play(playbook: str, *options: str, status: int = 0) -> str:
    """Run a playbook; return what it printed. status: how it has to end."""
    inventory = os.environ.get("COPYTOOL_INVENTORY", "inventory/lab")
    words = [str(Path(sys.executable).with_name("ansible-playbook")), playbook, "-i", inventory, *options]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, stdin=subprocess.DEVNULL, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def changed_tasks(output: str) -> set[str]:
    """The names of the tasks that changed something, of what a playbook printed."""
    name = ""
    names = set()
    for line in output.splitlines():
        found = _TASK.match(line)
        if found:
            name = found[1]
        elif line.startswith("changed:"):
            names.add(name)
    return names
