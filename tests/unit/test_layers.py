"""Dependencies point downwards only, and the engine layers know no clock, socket or chance."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import copytool

ROOT = Path(copytool.__file__).parent

MAY_IMPORT = {
    "wire": {"wire"},
    "link": {"link", "wire"},
    "mirror": {"mirror", "wire", "link.records"},
    "io": {"io", "mirror", "link", "wire"},
    "cli": {"cli", "io", "mirror", "link", "wire"},
}
"""What a layer may import from the package; errors, the version and the flavour belong to all."""

COMMON = {"errors", "flavour", ""}

SANS_IO = ("wire", "link", "mirror")

NOT_IN_SANS_IO = {
    "asyncio",
    "ctypes",
    "fcntl",
    "logging",
    "mmap",
    "os",
    "pathlib",
    "pyroute2",
    "random",
    "secrets",
    "select",
    "selectors",
    "signal",
    "socket",
    "ssl",
    "subprocess",
    "sys",
    "threading",
    "time",
}

MODULES = [path for layer in MAY_IMPORT for path in sorted((ROOT / layer).rglob("*.py"))]


def imports(path: Path) -> set[str]:
    """Return the absolute dotted names of all modules, and members of modules, that the file imports."""
    package = ["copytool", *path.relative_to(ROOT).parent.parts]
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names |= {f"{module}.{alias.name}" for alias in node.names} if _is_package(module) else {module}
    return names


def _is_package(module: str) -> bool:
    return module.split(".")[0] == "copytool" and ROOT.parent.joinpath(*module.split(".")).is_dir()


def inside(names: set[str]) -> set[str]:
    """Return the names below copytool, without that prefix; members of the package itself (the version) as ''."""
    found = set()
    for name in names:
        if name.split(".")[0] == "copytool":
            inner = name.split(".")[1:]
            path = ROOT.joinpath(*inner)
            found.add(".".join(inner) if path.is_dir() or path.with_suffix(".py").exists() else ".".join(inner[:-1]))
    return found


def is_allowed(name: str, layer: str) -> bool:
    """Return whether `layer` may import the module `name`."""
    return name in COMMON or any(name == prefix or name.startswith(prefix + ".") for prefix in MAY_IMPORT[layer])


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_downwards(path: Path) -> None:
    """cli imports io, io imports mirror and link, those import wire; never the other way round."""
    layer = path.relative_to(ROOT).parts[0]
    assert [name for name in sorted(inside(imports(path))) if not is_allowed(name, layer)] == []


@pytest.mark.parametrize(
    "path",
    [path for path in MODULES if path.relative_to(ROOT).parts[0] in SANS_IO],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_sans_io_layers_touch_nothing(path: Path) -> None:
    """Time, chance, sockets and logs come in as parameters or not at all."""
    assert {name.split(".")[0] for name in imports(path)} & NOT_IN_SANS_IO == set()


def test_errors_and_version_stand_alone() -> None:
    """What every layer may import imports no layer."""
    for name in ("errors.py", "flavour.py", "__init__.py"):
        assert inside(imports(ROOT / name)) == set()


def test_every_directory_is_a_known_layer() -> None:
    """A new directory must be given its place in the order."""
    directories = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert directories == set(MAY_IMPORT)


def test_the_check_sees_imports() -> None:
    """The check itself: relative, absolute, package and nested imports are all found."""
    assert imports(ROOT / "mirror" / "session.py") >= {"copytool.link.records", "copytool.mirror.sender"}
    assert "copytool.link.frames" in imports(ROOT / "link" / "connection.py")
    assert not is_allowed("link.connection", "mirror")
    assert not is_allowed("io", "link")
    assert is_allowed("link.records", "mirror") and is_allowed("errors", "wire")
