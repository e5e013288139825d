"""setup.py builds what the environment asks for. One module is compiled, so that it does not take long."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INPUTS = ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")
MODULE = "copytool/mirror/rtt"
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """The sources with one module to compile."""
    directory = tmp_path / "sources"
    shutil.copytree(ROOT / "copytool", directory / "copytool", ignore=shutil.ignore_patterns("__pycache__"))
    for name in INPUTS:
        shutil.copy(ROOT / name, directory)
    flavour = directory / "copytool/flavour.py"
    text, count = re.subn(
        r"COMPILED = \(.*?\n\)", f"COMPILED = ({MODULE.replace('/', '.')!r},)", flavour.read_text(), flags=re.S
    )
    assert count == 1
    flavour.write_text(text)
    return directory


def build(sources: Path, command: str = "bdist_wheel", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of setup.py."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("SKIP_CYTHON", "REQUIRE_CYTHON")}
    return subprocess.run(
        [sys.executable, "setup.py", "-q", command],
        cwd=sources,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def wheel(sources: Path) -> Path:
    """The wheel that was built."""
    (path,) = (sources / "dist").iterdir()
    return path


def modules(path: Path) -> set[str]:
    """What a wheel has in the package, without suffix .py."""
    with zipfile.ZipFile(path) as archive:
        return {name.removesuffix(".py") for name in archive.namelist() if name.startswith("copytool/")}


def said(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The lines that setup.py itself has printed."""
    return [line for line in done.stderr.splitlines() if line.startswith("copytool: ")]


def files(sources: Path) -> set[Path]:
    """All that is in the package's directory but caches."""
    return {path for path in (sources / "copytool").rglob("*") if "__pycache__" not in path.parts}


def test_compiled_wheel(sources: Path) -> None:
    """It has both forms of the module, no C and no .pxd, and leaves the source tree as it was."""
    before = files(sources)
    done = build(sources, REQUIRE_CYTHON="1")
    assert done.returncode == 0, done.stderr
    assert said(done) == []
    assert re.search(r"-cp3\d+-cp3\d+-linux_", wheel(sources).name)
    package = {str(path.relative_to(sources).with_suffix("")) for path in before if path.suffix == ".py"}
    assert modules(wheel(sources)) == package | {MODULE + SUFFIX}
    assert files(sources) == before


def test_pure_wheel(sources: Path) -> None:
    """SKIP_CYTHON=1 fits every Python and machine."""
    done = build(sources, SKIP_CYTHON="1")
    assert (done.returncode, said(done)) == (0, [])
    assert wheel(sources).name.endswith("-py3-none-any.whl")
    assert MODULE in modules(wheel(sources)) and not [name for name in modules(wheel(sources)) if ".so" in name]


def test_both_set(sources: Path) -> None:
    """Which is meant cannot be known."""
    done = build(sources, SKIP_CYTHON="1", REQUIRE_CYTHON="1")
    assert done.returncode != 0
    assert said(done) == ["copytool: both SKIP_CYTHON and REQUIRE_CYTHON are set: unset one"]


def test_set_to_no_is_not_set(sources: Path) -> None:
    """0 and the empty string do not say yes."""
    assert build(sources, "--version", SKIP_CYTHON="0", REQUIRE_CYTHON="1").returncode == 0
    assert build(sources, "--version", SKIP_CYTHON="1", REQUIRE_CYTHON="").returncode == 0


def hide_cython(directory: Path) -> dict[str, str]:
    """An environment without Cython."""
    (directory / "Cython").mkdir()
    (directory / "Cython" / "__init__.py").write_text("raise ImportError('hidden')\n")
    return {"PYTHONPATH": str(directory)}


def break_compiler(directory: Path) -> dict[str, str]:
    """An environment without a C compiler that works."""
    return {"CC": "false"}


def break_source(directory: Path) -> dict[str, str]:
    """Sources that are Python but that Cython refuses."""
    pxd = directory / "sources" / f"{MODULE}.pxd"
    pxd.write_text("cdef class RttEstimator:\n    cdef int rto_s(self, str other)\n")
    return {}


Obstruct = Callable[[Path], dict[str, str]]

OBSTACLES: list[tuple[Obstruct, str]] = [
    (hide_cython, "no Cython: hidden"),
    (break_compiler, "false ended with status 1, see its messages"),
    (break_source, f"CompileError: {MODULE}.py"),
]


@pytest.mark.parametrize(("obstruct", "why"), OBSTACLES)
def test_required_but_impossible(sources: Path, obstruct: Obstruct, why: str) -> None:
    """REQUIRE_CYTHON=1 fails, at whichever step, and says why."""
    done = build(sources, REQUIRE_CYTHON="1", **obstruct(sources.parent))
    assert done.returncode != 0
    (line,) = said(done)
    assert re.fullmatch(f"copytool: REQUIRE_CYTHON is set, but it cannot be compiled: {why}", line)
    assert not (sources / "dist").exists()


@pytest.mark.parametrize(("obstruct", "why"), OBSTACLES)
def test_falls_back_to_pure(sources: Path, obstruct: Obstruct, why: str) -> None:
    """Without a wish it builds pure instead, and says why in one line."""
    done = build(sources, **obstruct(sources.parent))
    assert done.returncode == 0, done.stderr
    (line,) = said(done)
    assert re.fullmatch(f"copytool: building it pure, because it cannot be compiled: {why}", line)
    assert wheel(sources).name.endswith("-py3-none-any.whl")
    assert not [name for name in modules(wheel(sources)) if ".so" in name]


def test_editable_install_is_pure(sources: Path) -> None:
    """It leaves no extension module in the tree, and refuses to be made compiled."""
    before = files(sources)
    done = build(sources, "editable_wheel")
    assert done.returncode == 0, done.stderr
    assert files(sources) == before
    done = build(sources, "editable_wheel", REQUIRE_CYTHON="1")
    assert done.returncode != 0
    assert "always pure" in said(done)[0]
