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
  - A compiled wheel fits one Python and architecture, so it needs the host's Python on the control machine too, with
    its headers and a C compiler. If the Python that runs Ansible is another one, C(python3.13), or whichever the
    host's is, is looked for.
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
  flavour:
    description: C(compiled) fails when it cannot be done, C(auto) then makes a pure wheel and says why.
    type: str
    choices: [auto, compiled, pure]
    default: auto
  abi:
    description: What the host's Python calls its ABI (SOABI). Compiled modules run where it is the same.
    type: str
    default: ""
  glibc:
    description: The host's glibc, such as C(2.36). Compiled modules must not need a newer one.
    type: str
    default: ""
  build_python:
    description: The control machine's Python that compiles. Empty finds one.
    type: str
    default: ""
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
    abi: cpython-311-x86_64-linux-gnu
    glibc: "2.36"
  delegate_to: localhost
"""

RETURN = r"""
flavour:
  description: C(compiled) or C(pure).
  returned: always
  type: str
reason:
  description: Why it is pure, empty if it is not or was meant to be.
  returned: always
  type: str
key:
  description: Names the content; the same sources, lock, flavour, Python and architecture have the same key.
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
import importlib.metadata
import importlib.util
import os
import re
import shutil
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.copytool_interpreter import for_host

PACKAGE = "copytool"
PLATFORMS = ("manylinux_2_17", "manylinux2014", "manylinux_2_28", "manylinux_2_34")
SOURCE_SUFFIXES = {".py", ".pxd", ".pyx", ".typed"}
KEPT_WHEELHOUSES = 8
LAYOUT = "wheels, and their hashes"
REQUIREMENTS = "requirements.txt"
BUILD_FILES = ("pyproject.toml", "setup.py", "MANIFEST.in")
BUILD_TOOLS = {"pure": ("setuptools",), "compiled": ("setuptools", "Cython")}
CHOICES = {"pure": {"SKIP_CYTHON": "1", "REQUIRE_CYTHON": ""}, "compiled": {"SKIP_CYTHON": "", "REQUIRE_CYTHON": "1"}}


class CannotCompileError(Exception):
    """Says why there is no compiled wheel."""


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
    digest.update(f"\0{lock_text}\0{host}\0{LAYOUT}".encode())
    return digest.hexdigest()[:16]


def pinned_versions(lock_text: str) -> list[str]:
    """The lock's `name==version` lines, without hashes and environment markers."""
    return re.findall(r"^([A-Za-z0-9._-]+==[^\s;\\]+)", lock_text, flags=re.MULTILINE)


def locked_entries(names: tuple[str, ...], lock_text: str) -> str:
    """The lock's entries for these packages, with their hashes; empty if it has not all of them."""
    found = [re.search(rf"^{name}==(?:.*\\\n)*.*", lock_text, flags=re.MULTILINE | re.IGNORECASE) for name in names]
    return "".join(f"{entry[0]}\n" for entry in found if entry) if all(found) else ""


def requirements(wheels: list[Path]) -> str:
    """A requirements file that has pip install these very wheels."""
    lines = []
    for wheel in wheels:
        name, version, _ = wheel.name.split("-", 2)
        lines.append(f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    return "".join(lines)


def unlocked_wheels(wheels: list[Path], lock_text: str) -> list[str]:
    """The wheels whose content is none of those that the lock allows; nothing when it has no hashes."""
    allowed = set(re.findall(r"--hash=sha256:([0-9a-f]{64})", lock_text))
    if not allowed:
        return []
    return [wheel.name for wheel in wheels if hashlib.sha256(wheel.read_bytes()).hexdigest() not in allowed]


def version_tuple(text: str) -> tuple[int, ...]:
    """A version's numbers."""
    return tuple(int(number) for number in re.findall(r"\d+", text))


def needed_glibc(wheel: Path) -> str:
    """The newest version of glibc whose symbols the wheel's extension modules use; empty if it has none."""
    needed = {""}
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.endswith(".so"):
                needed |= {found.decode() for found in re.findall(rb"GLIBC_(\d+(?:\.\d+)+)", archive.read(name))}
    return max(needed, key=version_tuple)


class Wheelhouse:
    """Builds one wheelhouse in a directory beside its place, then moves it there whole."""

    def __init__(self, module: AnsibleModule, flavour: str, builder: str = sys.executable) -> None:
        self._module = module
        self.flavour = flavour
        self._builder = builder
        self._source_dir = Path(module.params["source_dir"])
        self._python_version = module.params["python_version"]
        self._machine = module.params["machine"]
        lock_file = module.params["lock_file"]
        if lock_file and not Path(lock_file).is_file():
            module.fail_json(msg=f"copytool_lock_file {lock_file} is not there on the control machine")
        self._lock_text = Path(lock_file).read_text() if lock_file else ""
        self.key = content_key(self._source_dir, self._lock_text, " ".join(self._host()))
        self.path = Path(module.params["cache_dir"]) / self.key

    def _host(self) -> list[str]:
        host = [self._python_version, self._machine, self.flavour]
        if self.flavour == "compiled":
            # Another Python takes the lock's Cython, and the lock is in the key.
            own = self._builder == sys.executable and importlib.util.find_spec("Cython")
            cython = importlib.metadata.version("cython") if own else ""
            host += [self._module.params["abi"], self._module.params["glibc"], cython]
        return host

    def wheels(self) -> list[str]:
        """The names of the wheels there are."""
        return sorted(path.name for path in self.path.glob("*.whl"))

    def ensure(self) -> bool:
        """Make the wheelhouse unless it is there; return whether it was not. Raises CannotCompileError."""
        if self.path.is_dir():
            return False
        if self._module.check_mode:
            return True
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Several hosts may ask for the same one at once.
        with (self.path.parent / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            missing = not self.path.is_dir()
            if missing:
                self._build()
        return missing

    def _build(self) -> None:
        with tempfile.TemporaryDirectory(dir=self.path.parent, prefix=".building-") as scratch:
            wheels = Path(scratch) / "wheels"
            self._fetch_dependencies(wheels, Path(scratch) / "pins.txt")
            if wrong := unlocked_wheels(sorted(wheels.glob("*.whl")), self._lock_text):
                self._module.fail_json(
                    msg=f"These wheels have none of the hashes in {self._module.params['lock_file']}: {wrong}. "
                    "Remake the lock when the dependency was meant to change."
                )
            self._build_package(wheels, Path(scratch))
            (wheels / REQUIREMENTS).write_text(requirements(sorted(wheels.glob("*.whl"))))
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

    def _isolation(self, scratch: Path) -> tuple[list[str], dict[str, str]]:
        """Arguments and environment that have pip build with the tools that are there, else with those in the lock."""
        names = BUILD_TOOLS[self.flavour]
        if self._builder == sys.executable and all(importlib.util.find_spec(name) for name in names):
            return ["--no-build-isolation"], {}
        entries = locked_entries(names, self._lock_text)
        if not entries:
            return [], {}  # pip fetches the newest
        pins, tools = scratch / "tools.txt", scratch / "tools"
        pins.write_text(entries)
        hashes = ["--require-hashes"] if "--hash=" in entries else []
        self._pip(
            ["install", *hashes, "--no-deps", f"--target={tools}", f"--requirement={pins}"],
            "fetch what builds copytool's wheel (this needs a package index once)",
            python=self._builder,
        )
        return ["--no-build-isolation"], {"PYTHONPATH": os.fspath(tools)}

    def _build_package(self, wheels: Path, scratch: Path) -> None:
        source = scratch / "source"
        # A copy, so that the build's leavings do not land in the checkout.
        texts = [path for pattern in ("README*", "LICENSE*") for path in self._source_dir.glob(pattern)]
        for path in [*source_files(self._source_dir), *texts]:
            target = source / path.relative_to(self._source_dir)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        isolation, environment = self._isolation(scratch)
        self._pip(
            ["wheel", "--no-deps", *isolation, f"--wheel-dir={wheels}", str(source)],
            "build copytool's wheel",
            environment,
            python=self._builder,
        )
        needed = needed_glibc(next(wheels.glob(f"{PACKAGE}-*.whl")))
        if version_tuple(needed) > version_tuple(self._module.params["glibc"]):
            raise CannotCompileError(
                f"what the control machine compiles needs glibc {needed}, the host has {self._module.params['glibc']}"
            )

    def _pip(
        self,
        arguments: list[str],
        purpose: str,
        environment: dict[str, str] | None = None,
        python: str = sys.executable,
    ) -> None:
        # The pip that is here also runs with another Python, which need not have one.
        other = [] if python == sys.executable else [f"--python={python}"]
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *other, *arguments]
        status, out, err = self._module.run_command(
            command, environ_update={**CHOICES[self.flavour], **(environment or {})}
        )
        if status == 0:
            return
        if said := re.search(r"copytool: .*cannot be compiled: (.*)", out + err):
            raise CannotCompileError(said[1])
        last = (err.strip() or out.strip()).splitlines()[-1:] or ["no message"]
        self._module.fail_json(msg=f"Could not {purpose}: {last[0]}", cmd=command, stdout=out, stderr=err)


def choose(module: AnsibleModule) -> tuple[Wheelhouse, bool, str]:
    """The wheelhouse, whether it was made just now, and why it is not compiled though it may be."""
    flavour, reason = module.params["flavour"], ""
    if flavour != "pure":
        try:
            builder, reason = for_host(*(module.params[name] for name in ("abi", "python_version", "build_python")))
            if builder is None or reason:
                raise CannotCompileError(reason)
            wheelhouse = Wheelhouse(module, "compiled", builder.path)
            return wheelhouse, wheelhouse.ensure(), ""
        except CannotCompileError as error:
            reason = str(error)
            if flavour == "compiled":
                module.fail_json(msg=f"copytool_flavour is compiled, but it cannot be compiled for this host: {reason}")
    wheelhouse = Wheelhouse(module, "pure")
    return wheelhouse, wheelhouse.ensure(), reason


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "source_dir": {"type": "path", "required": True},
            "cache_dir": {"type": "path", "required": True},
            "lock_file": {"type": "str", "default": ""},
            "python_version": {"type": "str", "required": True},
            "machine": {"type": "str", "required": True},
            "flavour": {"type": "str", "choices": ["auto", "compiled", "pure"], "default": "auto"},
            "build_python": {"type": "str", "default": ""},
            "abi": {"type": "str", "default": ""},
            "glibc": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    wheelhouse, changed, reason = choose(module)
    module.exit_json(
        changed=changed,
        flavour=wheelhouse.flavour,
        reason=reason,
        key=wheelhouse.key,
        path=os.fspath(wheelhouse.path),
        wheels=wheelhouse.wheels(),
    )


if __name__ == "__main__":
    main()
