"""What is compiled, and what is said about it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from copytool import flavour as module
from copytool.flavour import COMPILED, IN_C, flavour, is_compiled

SOURCES = Path(__file__).parents[2]
EXTENSION = "_testcapi" if sys.flags.debug else "_ctypes"  # any module of Python itself that comes as a .so


@pytest.fixture
def compiled_list(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Lets a test say what the list is."""
    flavour.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    flavour.cache_clear()


def test_what_is_compiled_is_what_has_a_pxd() -> None:
    """The list and the .pxd files say the same, and each stands beside a .py."""
    paths = [path.relative_to(SOURCES) for path in sorted((SOURCES / "copytool").rglob("*.pxd"))]
    assert sorted(COMPILED + IN_C) == [str(path.with_suffix("")).replace("/", ".") for path in paths]
    assert [path for path in paths if not (SOURCES / path.with_suffix(".py")).is_file()] == []


def test_c_functions_have_no_literal_that_becomes_an_object() -> None:
    """Cython computes with an integer literal beyond 31 bits as Python does, whatever C type stands beside it."""
    literals = re.compile(r"\b(?:0x[0-9A-Fa-f_]+|[0-9][0-9_]*)\b")
    large = [
        f"{path.name}: {literal}"
        for path in sorted((SOURCES / "copytool").rglob("*.pxd"))
        for literal in literals.findall(path.read_text())
        if int(literal, 0) > 0x7FFFFFFF
    ]
    assert large == []


def test_the_list_is_sorted() -> None:
    """So that two changes to it meet."""
    assert list(COMPILED) == sorted(set(COMPILED))


def test_the_source_tree_is_pure() -> None:
    """Extension modules would hide every change of their sources."""
    assert [path for suffix in ("so", "c") for path in (SOURCES / "copytool").rglob(f"*.{suffix}")] == []


def test_flavour_that_runs() -> None:
    """It is one of two, and the one that COPYTOOL_FLAVOUR asks for."""
    assert flavour() == os.environ.get("COPYTOOL_FLAVOUR", flavour())
    assert flavour() in ("compiled", "pure")
    assert is_compiled() == (flavour() == "compiled")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ((EXTENSION,), "compiled"),
        (("copytool.errors", "copytool.cli.main"), "pure"),
        ((EXTENSION, "copytool.errors", "copytool.gone"), "mixed: copytool.errors, copytool.gone not compiled"),
    ],
)
def test_flavour_of_a_list(compiled_list: pytest.MonkeyPatch, names: tuple[str, ...], said: str) -> None:
    """All, none, or some with the names of the others."""
    compiled_list.setattr(module, "COMPILED", names)
    assert flavour() == said
    assert is_compiled() == (said == "compiled")


def test_asking_loads_nothing() -> None:
    """`copytool --version` does not load what only the daemons need."""
    code = "import sys, copytool.flavour as f; f.flavour(); print(sorted(set(f.COMPILED) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
