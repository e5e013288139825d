"""Which Python of the control machine compiles for a host. The interpreters are real."""

from __future__ import annotations

import json
import sys
import sysconfig
from pathlib import Path

import pytest
from support.loading import load

interpreter = load("copytool/module_utils/copytool_interpreter.py")

ABI = sysconfig.get_config_var("SOABI")
VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"
OTHER_ABI = "cpython-399-x86_64-linux-gnu"


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program on PATH that is called like a Python; it is made by the test."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return tmp_path / "python3.99"


def script(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def test_the_python_that_runs_ansible_is_taken_if_it_is_like_the_hosts() -> None:
    found, reason = interpreter.for_host(ABI, VERSION, "")
    assert (found.path, found.abi, found.version, reason) == (sys.executable, ABI, VERSION, "")


def test_another_one_is_found_by_its_version(program: Path) -> None:
    """One that says that it has the host's ABI; what it is called does not count."""
    said = {"abi": OTHER_ABI, "compiler": "sh -c", "headers": str(program.parent), "version": "3.99"}
    script(program, f"echo '{json.dumps(said)}'")
    found, reason = interpreter.for_host(OTHER_ABI, "3.99", "")
    assert (found.path, found.abi) == (str(program), OTHER_ABI)
    assert reason == f"the control machine has no {program.parent}/Python.h (on Debian it is in python3-dev)"
    (program.parent / "Python.h").touch()
    assert interpreter.for_host(OTHER_ABI, "3.99", "") == (found, "")
    assert interpreter.for_host(OTHER_ABI, "3.99", str(program)) == (found, "")


def test_a_version_managers_script_for_a_version_that_is_not_there(program: Path) -> None:
    """It is on PATH, and does not run."""
    script(program, "echo 'python3.99: command not found' >&2; exit 127")
    found, reason = interpreter.for_host(OTHER_ABI, "3.99", "")
    assert found is None
    assert reason == (
        f"its Python is {OTHER_ABI}, the control machine has {sys.executable} {ABI}; "
        "install python3.99 there with its headers, or name one in copytool_build_python"
    )


@pytest.mark.parametrize(
    ("given", "has"), [("/nowhere/python3", "no working /nowhere/python3"), (sys.executable, f"{sys.executable} {ABI}")]
)
def test_the_one_that_was_named_is_the_only_one(given: str, has: str) -> None:
    found, reason = interpreter.for_host(OTHER_ABI, "3.99", given)
    assert found is None
    assert reason.startswith(f"its Python is {OTHER_ABI}, the control machine has {has};")


def test_elsewhere_than_on_linux_no_python_would_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreter.platform, "system", lambda: "Darwin")
    _, reason = interpreter.for_host(OTHER_ABI, "3.99", "")
    assert reason.endswith(": only Linux compiles for Linux")
