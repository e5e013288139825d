"""Builds copytool pure, or with the modules of copytool.flavour.COMPILED as C extensions made by Cython.

SKIP_CYTHON=1     pure
REQUIRE_CYTHON=1  compiled; whatever is in the way is an error
neither           compiled if that can be done, else pure after one line that says why
"""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
COMPILED: tuple[str, ...] = runpy.run_path(str(ROOT / "copytool" / "flavour.py"))["COMPILED"]
COMPILER_ARGUMENTS = ["-O3", "-g0"]
DIRECTIVES = {"language_level": "3", "annotation_typing": False}  # the .pxd alone says what is C


class CannotCompileError(Exception):
    """Says in one line why there are no extension modules."""


def extensions() -> list[Extension]:
    """Return an extension for each module of COMPILED, with its .py as source."""
    return [
        Extension(name, [name.replace(".", "/") + ".py"], extra_compile_args=COMPILER_ARGUMENTS) for name in COMPILED
    ]


def processors() -> int:
    """Return how many processors may be used. Only Linux says how many of them are for us."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def to_c(modules: list[Extension], directory: str, **options: Any) -> list[Extension]:
    """Return `modules` with C files as sources, made below `directory` where they are missing or too old."""
    try:
        from Cython.Build import cythonize
    except ImportError as error:
        raise CannotCompileError(f"no Cython: {error}") from None
    return cythonize(modules, build_dir=directory, compiler_directives=DIRECTIVES, nthreads=processors(), **options)


class BuildExtensions(build_ext):
    """Translates and compiles, on all processors; raises CannotCompileError."""

    def build_extensions(self) -> None:
        """Make what is missing or out of date in the build directory, and nothing in the source tree."""
        self.parallel = processors()
        headers = Path(sysconfig.get_path("include"), "Python.h")
        if not headers.is_file():
            raise CannotCompileError(f"no {headers}: on Debian it is in python3-dev")
        try:
            made = to_c(self.extensions, self.build_temp)
            for extension, translated in zip(self.extensions, made, strict=True):
                extension.sources = translated.sources
            self._remove_stale()
            super().build_extensions()
        except CannotCompileError:
            raise
        except Exception as error:  # Cython and setuptools have many, with no common base
            raise CannotCompileError(in_one_line(error)) from error

    def _remove_stale(self) -> None:
        wanted = {Path(self.get_ext_fullpath(extension.name)) for extension in self.extensions}
        for path in Path(self.build_lib, "copytool").rglob("*.so"):
            if path not in wanted:
                path.unlink()


def in_one_line(error: BaseException) -> str:
    """Return what went wrong; of a compiler only which one, as its command is long and its own messages are shown."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, subprocess.CalledProcessError):
            return f"{cause.cmd[0]} ended with status {cause.returncode}, see its messages"
        cause = cause.__cause__ or cause.__context__
    return " ".join(f"{type(error).__name__}: {error}".split())


def is_set(name: str) -> bool:
    """Return whether the environment variable `name` says yes."""
    return os.environ.get(name, "").lower() not in ("", "0", "no", "false")


def main() -> None:
    """Build what the environment asks for."""
    skip, require = is_set("SKIP_CYTHON"), is_set("REQUIRE_CYTHON")
    if skip and require:
        sys.exit("copytool: both SKIP_CYTHON and REQUIRE_CYTHON are set: unset one")
    if "editable_wheel" in sys.argv:  # its extension modules would hide every later change of the sources
        if require:
            sys.exit("copytool: REQUIRE_CYTHON is set, but an editable install is always pure: install without -e")
        skip = True
    if skip:
        setup()
        return
    try:
        setup(ext_modules=extensions(), cmdclass={"build_ext": BuildExtensions})
    except CannotCompileError as error:
        if require:
            sys.exit(f"copytool: REQUIRE_CYTHON is set, but it cannot be compiled: {error}")
        print(f"copytool: building it pure, because it cannot be compiled: {error}", file=sys.stderr)
        setup()


if __name__ == "__main__":
    main()
