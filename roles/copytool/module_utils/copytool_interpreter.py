"""The Pythons of the control machine, and whether one of them can compile for a host."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_QUESTION = """\
import json, sys, sysconfig
names = {"abi": "SOABI", "compiler": "CC"}
answer = {key: sysconfig.get_config_var(name) or "" for key, name in names.items()}
print(json.dumps({**answer, "headers": sysconfig.get_path("include"), "version": "%d.%d" % sys.version_info[:2]}))
"""


@dataclass(frozen=True)
class Interpreter:
    """What a Python says of itself."""

    path: str
    """The program."""
    abi: str
    """What it calls its ABI (SOABI); extension modules carry that in their names."""
    version: str
    """Major and minor version."""
    headers: str
    """Where its C headers have to be."""
    compiler: str
    """The C compiler that it was made with."""

    def obstacle(self) -> str:
        """Why it cannot compile; empty if nothing is known against it."""
        if not Path(self.headers, "Python.h").is_file():
            return f"the control machine has no {self.headers}/Python.h (on Debian it is in python3-dev)"
        compiler = (os.environ.get("CC") or self.compiler or "cc").split()[0]
        if shutil.which(compiler) is None:
            return f"the control machine has no C compiler {compiler} (on Debian it is in gcc)"
        return ""


def ask(path: str) -> Interpreter | None:
    """What the Python at ``path`` says of itself; None if it does not run."""
    program = shutil.which(path)
    if program is None:
        return None
    try:
        command = [program, "-I", "-c", _QUESTION]
        result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):  # a version manager may have a script of that name for none
        return None
    return Interpreter(program, **json.loads(result.stdout))


def for_host(abi: str, version: str, given: str) -> tuple[Interpreter | None, str]:
    """The Python that compiles for a host with this ABI: ``given``, else this one, else one that is found by version.

    And why it cannot, or why there is none.
    """
    candidates = [given] if given else [sys.executable, f"python{version}"]
    there = [interpreter for interpreter in map(ask, candidates) if interpreter]
    for interpreter in there:
        if interpreter.abi == abi:
            return interpreter, interpreter.obstacle()
    own = " and ".join(f"{interpreter.path} {interpreter.abi}" for interpreter in there) or f"no working {given}"
    reason = f"its Python is {abi or 'of unknown ABI'}, the control machine has {own}"
    if platform.system() != "Linux":
        return None, f"{reason}: only Linux compiles for Linux"
    return None, f"{reason}; install python{version} there with its headers, or name one in copytool_build_python"
