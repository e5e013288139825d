"""What the hosts of a lab are like, to be compared with what they were like before."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from support.snapshot import differences
from support.topology import REPOSITORY

from .conftest import Lab

__all__ = ["assert_unchanged", "changes", "states"]

SNAPSHOT = REPOSITORY / "tests" / "support" / "snapshot.py"


def states(lab: Lab, hosts: Iterable[str]) -> dict[str, Any]:
    """The state of each host."""
    names = list(hosts)
    with ThreadPoolExecutor() as pool:
        return dict(zip(names, pool.map(lambda name: _state(lab, name), names), strict=True))


def changes(lab: Lab, before: dict[str, Any]) -> dict[str, list[str]]:
    """What is different now on each host, one a line."""
    return {host: differences(before[host], own) for host, own in states(lab, before).items()}


def assert_unchanged(lab: Lab, before: dict[str, Any]) -> None:
    """Nothing is different now; else what is, host by host."""
    left = changes(lab, before)
    print(f"since before: {json.dumps(left, indent=1)}")
    assert not any(left.values()), json.dumps(left, indent=1)


def _state(lab: Lab, host: str) -> dict[str, Any]:
    command = ["ssh", "-F", str(lab.user_dir / "ssh_config"), host, "python3 -"]
    done = subprocess.run(command, stdin=SNAPSHOT.open(), stdout=subprocess.PIPE, check=True)
    state: dict[str, Any] = json.loads(done.stdout)
    return state
