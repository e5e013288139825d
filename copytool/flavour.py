"""Which flavour of copytool runs: pure Python, or with its hot modules compiled to C."""

from __future__ import annotations

import functools
from importlib.machinery import ExtensionFileLoader
from importlib.util import find_spec

__all__ = ["COMPILED", "flavour", "is_compiled"]

COMPILED = (
    "copytool.mirror.congestion",
    "copytool.mirror.rtt",
    "copytool.wire.checksum",
    "copytool.wire.segment",
    "copytool.wire.seq",
)
"""The modules that setup.py compiles; each has a .pxd beside it. This list decides, nothing is compiled by pattern."""


@functools.cache
def flavour() -> str:
    """Return "compiled" or "pure"; "mixed: ... not compiled" if only some of COMPILED are extension modules."""
    pure = [name for name in COMPILED if not _is_extension(name)]
    if not pure:
        return "compiled"
    return "pure" if len(pure) == len(COMPILED) else f"mixed: {', '.join(pure)} not compiled"


def is_compiled() -> bool:
    """Return whether every module of COMPILED is an extension module."""
    return flavour() == "compiled"


def _is_extension(name: str) -> bool:
    spec = find_spec(name)
    return spec is not None and isinstance(spec.loader, ExtensionFileLoader)
