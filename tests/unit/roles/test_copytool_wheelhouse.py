"""The module that builds wheels for hosts, on sources with one module to compile."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from support.loading import ROLES, load

load("copytool/module_utils/copytool_interpreter.py", "ansible.module_utils.copytool_interpreter")
wheelhouse = load("copytool/library/copytool_wheelhouse.py")

ABI = sysconfig.get_config_var("SOABI")
GLIBC = platform.libc_ver()[1]
OTHER_ABI = "cpython-399-x86_64-linux-gnu"
NO_PYTHON = (
    f"its Python is {OTHER_ABI}, the control machine has {sys.executable} {ABI}; "
    r"install python3\.99 there with its headers, or name one in copytool_build_python"
)
PROJECT = """\
[build-system]
requires = ["setuptools", "cython"]
build-backend = "setuptools.build_meta"
[project]
name = "copytool"
version = "1"
dependencies = []
[tool.setuptools]
packages = ["copytool"]
"""


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A package that needs no other, built by our setup.py."""
    package = tmp_path / "sources" / "copytool"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "flavour.py").write_text('COMPILED = ("copytool.half",)\n')
    (package / "half.py").write_text("def half(x):\n    return x / 2\n")
    (package.parent / "pyproject.toml").write_text(PROJECT)
    shutil.copy(ROLES.parent / "setup.py", package.parent)
    return package.parent


class Run:
    """Runs the module on one set of sources."""

    def __init__(self, sources: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._sources = sources
        self._capsys = capsys

    def __call__(self, **parameters: object) -> dict[str, Any]:
        """What the module returned."""
        given = {
            "source_dir": str(self._sources),
            "cache_dir": str(self._sources.parent / "cache"),
            "python_version": f"3.{sys.version_info[1]}",
            "machine": platform.machine(),
            "abi": ABI,
            "glibc": GLIBC,
            **parameters,
        }
        with patch_module_args(given), pytest.raises(SystemExit):
            wheelhouse.main()
        result: dict[str, Any] = json.loads(self._capsys.readouterr().out)
        return {name: value for name, value in result.items() if name != "invocation"}


@pytest.fixture
def run(sources: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(sources, capsys)


def test_compiled_for_a_host_with_the_same_python(run: Run) -> None:
    """The second time nothing is built; check mode says the same as what then happens."""
    expected = run(_ansible_check_mode=True)
    assert (expected["changed"], expected["flavour"], expected["wheels"]) == (True, "compiled", [])
    made = run()
    assert (made["changed"], made["flavour"], made["reason"]) == (True, "compiled", "")
    assert made["key"] == expected["key"]
    (name,) = made["wheels"]
    assert re.fullmatch(rf"copytool-1-cp3\d+-cp3\d+-linux_{platform.machine()}.whl", name)
    with zipfile.ZipFile(Path(made["path"]) / name) as wheel:
        assert f"copytool/half.{ABI}.so" in wheel.namelist()
    assert run() == {**made, "changed": False}
    assert run(_ansible_check_mode=True) == {**made, "changed": False}


def test_hosts_install_nothing_but_these_wheels(run: Run) -> None:
    """Beside the wheels there is what makes pip refuse others of the same names."""
    made = run(flavour="pure")
    (wheel,) = Path(made["path"]).glob("*.whl")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert (Path(made["path"]) / "requirements.txt").read_text() == f"copytool==1 --hash=sha256:{digest}\n"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--dry-run", "--no-index", "--no-deps", "--require-hashes"]
    install = [
        *pip,
        f"--find-links={made['path']}",
        f"--requirement={made['path']}/requirements.txt",
        "--ignore-installed",
    ]
    assert subprocess.run(install, check=False).returncode == 0
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("copytool/more.py", "")
    refused = subprocess.run(install, check=False, capture_output=True, text=True)
    assert refused.returncode != 0
    assert "DO NOT MATCH THE HASHES" in refused.stderr


def test_pure_when_asked(run: Run) -> None:
    """That needs no reason, and is another wheelhouse."""
    made = run(flavour="pure")
    assert (made["flavour"], made["reason"], made["wheels"]) == ("pure", "", ["copytool-1-py3-none-any.whl"])


@pytest.mark.parametrize(
    ("parameters", "environment", "reason"),
    [
        ({"abi": OTHER_ABI, "python_version": "3.99"}, {}, NO_PYTHON),
        ({"glibc": "2.1"}, {}, r"what the control machine compiles needs glibc 2\.[\d.]+, the host has 2\.1"),
        ({}, {"CC": "/nowhere/cc"}, "the control machine has no C compiler /nowhere/cc .*"),
        ({}, {"CC": "false"}, "false ended with status 1, see its messages"),
    ],
    ids=["other Python", "older glibc", "no compiler", "broken compiler"],
)
def test_what_cannot_be_compiled(
    run: Run, monkeypatch: pytest.MonkeyPatch, parameters: dict[str, str], environment: dict[str, str], reason: str
) -> None:
    """`auto` is pure then and says why; `compiled` fails with the same reason."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    made = run(**parameters)
    assert (made["flavour"], made["wheels"]) == ("pure", ["copytool-1-py3-none-any.whl"])
    assert re.fullmatch(reason, made["reason"])
    failed = run(flavour="compiled", **parameters)
    assert failed["failed"]
    assert re.fullmatch(
        f"copytool_flavour is compiled, but it cannot be compiled for this host: {reason}", failed["msg"]
    )


def test_the_reason_is_said_each_time(run: Run) -> None:
    """Also when the pure wheelhouse is there already."""
    made = run(abi=OTHER_ABI, python_version="3.99")
    assert run(abi=OTHER_ABI, python_version="3.99") == {**made, "changed": False}


def test_sources_that_do_not_build_at_all(run: Run, sources: Path) -> None:
    """That is no reason for a pure wheel: it fails."""
    (sources / "pyproject.toml").write_text(PROJECT.replace('version = "1"', "version = 1"))
    assert "Could not build copytool's wheel" in run()["msg"]


@pytest.mark.parametrize(
    ("older", "newer"), [("2.9", "2.36"), ("2.36", "2.36.1"), ("", "2.2.5")], ids=["numeric", "longer", "none"]
)
def test_versions_compare_as_numbers(older: str, newer: str) -> None:
    assert wheelhouse.version_tuple(older) < wheelhouse.version_tuple(newer)


def test_needed_glibc_is_the_newest_in_any_module(tmp_path: Path) -> None:
    """Other files do not count, nor do the names of private symbols."""
    path = tmp_path / "a.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("a.so", b"\0GLIBC_2.4\0GLIBC_2.14\0GLIBC_PRIVATE\0")
        wheel.writestr("b.so", b"\0GLIBC_2.2.5\0GLIBC_2.9\0")
        wheel.writestr("c.py", b"\0GLIBC_2.99\0")
    assert wheelhouse.needed_glibc(path) == "2.14"
