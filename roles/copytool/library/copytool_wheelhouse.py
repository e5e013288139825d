#!/usr/bin/python
"""Ansible module: keep copytool's wheel and those it depends on, for one kind of host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: copytool_wheelhouse
short_description: Build a wheelhouse of copytool for one kind of host
description:
  - Builds copytool's wheel from its sources and fetches the wheels it depends on, for a Python version and a
    machine architecture, into a directory named after all that decides about the content.
  - When that directory is there already, nothing is built and nothing is fetched. The newest few are kept.
  - Meant to run on the control machine, with C(delegate_to=localhost).
options:
  source_dir:
    description: copytool's sources, where C(pyproject.toml) is.
    type: path
    required: true
  cache_dir:
    description: Where wheelhouses are kept.
    type: path
    required: true
  lock_file:
    description: Requirements file with exact versions and, best, hashes. Empty takes the newest that fit.
    type: str
    default: ""
  python_version:
    description: The host's Python, such as C(3.11).
    type: str
    required: true
  machine:
    description: The host's architecture, such as C(x86_64).
    type: str
    required: true
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
"""

EXAMPLES = r"""
- name: Build the wheelhouse
  copytool_wheelhouse:
    source_dir: /home/me/copytool
    cache_dir: /home/me/copytool/.build/wheelhouse
    lock_file: /home/me/copytool/requirements-dev.txt
    python_version: "3.11"
    machine: x86_64
  delegate_to: localhost
"""

RETURN = r"""
key:
  description: Names the content; the same sources, lock, Python and architecture have the same key.
  returned: always
  type: str
path:
  description: The directory with the wheels.
  returned: always
  type: str
wheels:
  description: The names of the wheels, empty in check mode while there are none.
  returned: always
  type: list
  elements: str
"""

import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import sys
import tempfile
import tomllib
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

PACKAGE = "copytool"
PLATFORMS = ("manylinux_2_17", "manylinux2014", "manylinux_2_28", "manylinux_2_34")
SOURCE_SUFFIXES = {".py", ".pxd", ".pyx", ".typed"}
KEPT_WHEELHOUSES = 8
BUILD_FILES = ("pyproject.toml", "setup.py", "build_ext.py", "MANIFEST.in")


def source_files(source_dir: Path) -> list[Path]:
    """The files that decide what the wheel has in it."""
    package = [path for path in sorted((source_dir / PACKAGE).rglob("*")) if path.suffix in SOURCE_SUFFIXES]
    return [source_dir / name for name in BUILD_FILES if (source_dir / name).is_file()] + package


def content_key(source_dir: Path, lock_text: str, host: str) -> str:
    """A name for the wheelhouse that these inputs lead to."""
    digest = hashlib.sha256()
    for path in source_files(source_dir):
        digest.update(f"{path.relative_to(source_dir)}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    digest.update(f"\0{lock_text}\0{host}".encode())
    return digest.hexdigest()[:16]


def pinned_versions(lock_text: str) -> list[str]:
    """The lock's `name==version` lines, without hashes and environment markers."""
    return re.findall(r"^([A-Za-z0-9._-]+==[^\s;\\]+)", lock_text, flags=re.MULTILINE)


def unlocked_wheels(wheels: list[Path], lock_text: str) -> list[str]:
    """The wheels whose content is none of those that the lock allows; nothing when it has no hashes."""
    allowed = set(re.findall(r"--hash=sha256:([0-9a-f]{64})", lock_text))
    if not allowed:
        return []
    return [wheel.name for wheel in wheels if hashlib.sha256(wheel.read_bytes()).hexdigest() not in allowed]


class Wheelhouse:
    """Builds one wheelhouse in a directory beside its place, then moves it there whole."""

    def __init__(self, module: AnsibleModule) -> None:
        self._module = module
        self._source_dir = Path(module.params["source_dir"])
        self._python_version = module.params["python_version"]
        self._machine = module.params["machine"]
        lock_file = module.params["lock_file"]
        if lock_file and not Path(lock_file).is_file():
            module.fail_json(msg=f"copytool_lock_file {lock_file} is not there on the control machine")
        self._lock_text = Path(lock_file).read_text() if lock_file else ""
        self.key = content_key(self._source_dir, self._lock_text, f"{self._python_version} {self._machine}")
        self.path = Path(module.params["cache_dir"]) / self.key

    def wheels(self) -> list[str]:
        """The names of the wheels there are."""
        return sorted(path.name for path in self.path.glob("*.whl"))

    def build(self) -> None:
        """Make the wheelhouse."""
        with tempfile.TemporaryDirectory(dir=self.path.parent, prefix=".building-") as scratch:
            wheels = Path(scratch) / "wheels"
            self._fetch_dependencies(wheels, Path(scratch) / "pins.txt")
            if wrong := unlocked_wheels(sorted(wheels.glob("*.whl")), self._lock_text):
                self._module.fail_json(
                    msg=f"These wheels have none of the hashes in {self._module.params['lock_file']}: {wrong}. "
                    "Remake the lock when the dependency was meant to change."
                )
            self._build_package(wheels, Path(scratch) / "source")
            wheels.rename(self.path)
        self._remove_oldest()

    def _remove_oldest(self) -> None:
        kept = [path for path in self.path.parent.iterdir() if path.is_dir() and not path.name.startswith(".")]
        kept.sort(key=lambda path: path.stat().st_mtime)
        for path in kept[:-KEPT_WHEELHOUSES]:
            shutil.rmtree(path)

    def _fetch_dependencies(self, wheels: Path, pins: Path) -> None:
        wheels.mkdir()
        dependencies = tomllib.loads((self._source_dir / "pyproject.toml").read_text())["project"]["dependencies"]
        if not dependencies:
            return
        pins.write_text("\n".join(pinned_versions(self._lock_text)) + "\n")
        platforms = [f"--platform={name}_{self._machine}" for name in PLATFORMS]
        interpreter = ["--implementation=cp", f"--python-version={self._python_version}"]
        options = ["--only-binary=:all:", f"--dest={wheels}", f"--constraint={pins}"]
        self._pip(
            ["download", *interpreter, *platforms, *options, *dependencies],
            "fetch copytool's dependencies (this needs a package index once)",
        )

    def _build_package(self, wheels: Path, source: Path) -> None:
        # A copy, so that the build's leavings do not land in the checkout.
        texts = [path for pattern in ("README*", "LICENSE*") for path in self._source_dir.glob(pattern)]
        for path in [*source_files(self._source_dir), *texts]:
            target = source / path.relative_to(self._source_dir)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        isolation = ["--no-build-isolation"] if importlib.util.find_spec("setuptools") else []
        self._pip(
            ["wheel", "--no-deps", *isolation, f"--wheel-dir={wheels}", str(source)],
            "build copytool's wheel",
        )

    def _pip(self, arguments: list[str], purpose: str) -> None:
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
        status, out, err = self._module.run_command(command)
        if status != 0:
            last = (err.strip() or out.strip()).splitlines()[-1:] or ["no message"]
            self._module.fail_json(msg=f"Could not {purpose}: {last[0]}", cmd=command, stdout=out, stderr=err)


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "source_dir": {"type": "path", "required": True},
            "cache_dir": {"type": "path", "required": True},
            "lock_file": {"type": "str", "default": ""},
            "python_version": {"type": "str", "required": True},
            "machine": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    wheelhouse = Wheelhouse(module)
    missing = not wheelhouse.path.is_dir()
    if missing and not module.check_mode:
        wheelhouse.path.parent.mkdir(parents=True, exist_ok=True)
        # Several hosts may ask for the same one at once.
        with (wheelhouse.path.parent / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            missing = not wheelhouse.path.is_dir()
            if missing:
                wheelhouse.build()
    module.exit_json(changed=missing, key=wheelhouse.key, path=os.fspath(wheelhouse.path), wheels=wheelhouse.wheels())


if __name__ == "__main__":
    main()
