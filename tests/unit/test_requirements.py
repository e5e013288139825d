"""What is installed is what the locks say: exact versions of files with known contents, and nothing else."""

from __future__ import annotations

import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = sorted(ROOT.glob("requirements-*.txt"))
ENTRY = re.compile(r"([A-Za-z0-9][\w.-]*)==([\w.!+-]+)((?: --hash=sha256:[0-9a-f]{64})+)")


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _lines(path: Path) -> list[str]:
    """Return a requirements file's entries, one a line, without comments."""
    text = re.sub(r" *\\\n *", " ", path.read_text())
    return [line for line in (re.sub(r"(^|\s)#.*", "", line).rstrip() for line in text.splitlines()) if line]


def _pinned(path: Path) -> dict[str, str]:
    found = [ENTRY.fullmatch(line) for line in _lines(path)]
    return {_canonical(match[1]): match[2] for match in found if match}


def _name(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9][\w.-]*", requirement)
    assert match
    return _canonical(match[0])


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_every_entry_is_an_exact_version_with_hashes(lock: Path) -> None:
    """No ranges, no addresses, no options, no paths."""
    assert [line for line in _lines(lock) if not ENTRY.fullmatch(line)] == []
    assert len(_pinned(lock)) == len(_lines(lock))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_every_requirement_is_in_its_lock(lock: Path) -> None:
    assert {_name(line) for line in _lines(lock.with_suffix(".in"))} <= set(_pinned(lock))


def test_what_copytool_runs_and_builds_with_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    assert {_name(line) for line in needed} <= set(_pinned(ROOT / "requirements-dev.txt"))


def test_nothing_is_installed_that_is_not_locked() -> None:
    """In the environment that runs this; `scripts/setup` makes it anew when .venv is removed."""
    assert sys.prefix != sys.base_prefix, "not in .venv"
    locked = _pinned(ROOT / "requirements-dev.txt")
    site = Path(sys.prefix)
    installed = {
        _canonical(found.metadata["Name"]): found.version
        for found in importlib.metadata.distributions()
        if Path(str(found.locate_file(""))).is_relative_to(site)
    }
    installed.pop("copytool", None)
    assert {name: version for name, version in installed.items() if locked.get(name) != version} == {}
