"""The control machine may be a Mac, from which hosts elsewhere are set up: nothing there may need Linux.

There is none to test on. What can be had here: the script finds only the commands that macOS has, and the code that
runs on the control machine finds nothing that only Linux's Python has.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# An editable install needs a backend, and this one needs no other package.
PYPROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
BACKEND = """\
import zipfile

def build_editable(directory, settings=None, metadata=None):
    with zipfile.ZipFile(f"{directory}/copytool-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("copytool-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: copytool\\nVersion: 1\\n")
        wheel.writestr("copytool-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        wheel.writestr("copytool-1.dist-info/RECORD", "")
    return "copytool-1-py3-none-any.whl"
"""
COMMANDS = ("bash", "cat", "dirname", "id", "rm")
SHASUM = shutil.which("sha256sum")
PYTHON = Path(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}")

# Of what the control machine's code might use. Missing in Python's own modules, too, as on macOS.
LINUX_ONLY = {
    "os": ["pipe2", "memfd_create", "sched_getaffinity", "sched_setaffinity", "setns", "unshare", "pidfd_open"],
    "select": ["epoll"],
    "socket": ["AF_NETLINK", "AF_PACKET", "SO_BINDTODEVICE"],
}


class Machine:
    """A checkout with what scripts/setup needs, and a PATH that has nothing but what is put there."""

    def __init__(self, directory: Path, system: str) -> None:
        self.checkout, self._bin = directory / "checkout", directory / "bin"
        (self.checkout / "scripts").mkdir(parents=True)
        self._bin.mkdir()
        shutil.copy(ROOT / "scripts/setup", self.checkout / "scripts")
        (self.checkout / "requirements-dev.txt").touch()
        (self.checkout / "pyproject.toml").write_text(PYPROJECT)
        (self.checkout / "backend.py").write_text(BACKEND)
        for name in COMMANDS:
            (self._bin / name).symlink_to(shutil.which(name) or name)
        self.add("uname", f"echo {system}")

    def add(self, name: str, line: str) -> None:
        """Give it a command."""
        path = self._bin / name
        path.write_text(f"#!/bin/bash\n{line}\n")
        path.chmod(0o755)

    def setup(self) -> subprocess.CompletedProcess[str]:
        """Run scripts/setup."""
        return subprocess.run(
            ["bash", "scripts/setup"],
            cwd=self.checkout,
            env={"PATH": str(self._bin), "HOME": str(self.checkout), "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            check=False,
        )


def test_setup_makes_the_venv_with_what_macos_has(tmp_path: Path) -> None:
    """It looks for no package of Linux, and the second time it does nothing."""
    machine = Machine(tmp_path, "Darwin")
    machine.add("shasum", f'[ "$1 $2" = "-a 256" ] && shift 2 && exec {SHASUM} "$@"')
    machine.add(PYTHON.name, f'exec {PYTHON} "$@"')
    first = machine.setup()
    assert first.returncode == 0, first.stderr
    assert "Python.h" not in first.stdout
    stamp = machine.checkout / ".venv/.lock-installed"
    made = stamp.stat().st_mtime_ns
    second = machine.setup()
    assert (second.returncode, second.stdout, stamp.stat().st_mtime_ns) == (0, "", made), second.stderr


def test_setup_says_where_python_comes_from(tmp_path: Path) -> None:
    refused = Machine(tmp_path, "Darwin").setup()
    assert refused.returncode == 1
    assert refused.stderr.startswith("setup: need Python 3.11 or newer")
    assert "'brew install python'" in refused.stderr


def test_setup_refuses_other_systems(tmp_path: Path) -> None:
    refused = Machine(tmp_path, "FreeBSD").setup()
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "setup: this needs Linux, or macOS to set up hosts elsewhere, not FreeBSD\n"


@pytest.mark.parametrize(
    "newer",
    [r"\bmapfile\b", r"\breadarray\b", r"declare -A", r"local -n", r"\$\{\w+(,,|\^\^|@)", r"&>>", r"\|&", r"coproc",
     r"inherit_errexit", r"wait -n", r"\[\[ -v", r"globstar", r"EPOCH", r"%\(.*\)T"],
)  # fmt: skip
def test_setup_keeps_to_what_bash_3_has(newer: str) -> None:
    """Apple's bash has been 3.2 since 2007."""
    assert re.findall(newer, (ROOT / "scripts/setup").read_text()) == []


@pytest.mark.parametrize(
    "path",
    [
        "fabfile",
        "setup.py",
        *(str(path.relative_to(ROOT)) for part in ("action_plugins", "filter_plugins", "module_utils", "library")
          for path in sorted(ROOT.glob(f"roles/*/{part}/*.py")) if "roles/lab/" not in str(path)),
    ],
)  # fmt: skip
def test_the_control_machines_code_loads_without_linux(path: str) -> None:
    """The lab's role is left out: it says itself that it needs Linux."""
    program = f"""
import importlib, os, select, socket, sys
sys.path.insert(0, "tests")
from support.loading import load
for module, names in {LINUX_ONLY!r}.items():
    for name in names:
        if hasattr(sys.modules[module], name):
            delattr(sys.modules[module], name)
sys.argv = ["setup.py", "--name"]
for shared in ("authority", "interpreter"):
    load(f"copytool/module_utils/copytool_{{shared}}.py", f"ansible.module_utils.copytool_{{shared}}")
loaded = importlib.import_module("fabfile") if "{path}" == "fabfile" else load("../{path}")
if hasattr(loaded, "processors"):
    assert loaded.processors() == os.cpu_count()
"""
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False,
                            env={**os.environ, "PYTHONPATH": str(ROOT)})  # fmt: skip
    assert result.returncode == 0, result.stderr
