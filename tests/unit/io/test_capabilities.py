"""Giving up capabilities, in processes of their own: it is for good."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from copytool.io.capabilities import held

PROGRAM = """
import json, logging, subprocess, sys
from copytool.io.capabilities import give_up_others, held
logging.basicConfig(format="%(message)s")
give_up_others(json.loads(sys.argv[1]))
status = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True).stdout
print(json.dumps([held(), dict(line.split(":\\t", 1) for line in status.splitlines())]))
"""


@pytest.mark.parametrize("kept", [[], ["CAP_NET_RAW"], ["CAP_NET_ADMIN", "CAP_NET_RAW"]])
def test_only_what_is_kept_is_left_and_nothing_comes_back(kept: list[str]) -> None:
    """Neither this process nor one that it starts has others, even where the user is root."""
    done = subprocess.run([sys.executable, "-P", "-c", PROGRAM, json.dumps(kept)], capture_output=True, text=True)
    assert done.stderr == ""
    left, child = json.loads(done.stdout)
    mine = held()
    assert left == [name for name in kept if name in mine]
    allowed = sum({"CAP_NET_ADMIN": 1 << 12, "CAP_NET_RAW": 1 << 13}[name] for name in left)
    assert int(child["CapEff"], 16) & ~allowed == 0
    assert int(child["CapPrm"], 16) & ~allowed == 0
    assert int(child["CapInh"], 16) == int(child["CapAmb"], 16) == 0
    assert child["NoNewPrivs"] == "1"
