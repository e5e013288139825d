"""pyroute2 loads without a word where the unit hides all of /proc but processes."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import builtins
tried = []

def open_what_is_there(path, *arguments, open=open, **options):
    if str(path).startswith("/proc/net/"):
        tried.append(path)
        raise FileNotFoundError(2, "No such file or directory", path)
    return open(path, *arguments, **options)

builtins.open = open_what_is_there
import copytool.io.netlink
print(tried)
"""


def test_quiet() -> None:
    done = subprocess.run([sys.executable, "-P", "-c", PROGRAM], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "['/proc/net/psched']\n", "if it needs none any more, copytool.io.netlink has no purpose"
