"""The files that inputs are kept in: a small corpus, and one file for each thing that was ever found.

tests/fuzz/corpus/TARGET/ and tests/fuzz/crashes/TARGET/. A file is one input; one whose name ends in `.life` is a
sequence of them (mutation.encode_items) that one parser lives through.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from .mutation import decode_items, encode_items
from .target import Target

__all__ = ["CORPUS", "CRASHES", "Life", "kept", "live", "store"]

_HERE = Path(__file__).parent
CORPUS = _HERE / "corpus"
CRASHES = _HERE / "crashes"

Life = list[bytes]
"""Inputs that one parser lives through."""


def kept(directory: Path, target: Target) -> dict[str, Life]:
    """Return a target's inputs below a directory, by file name."""
    files = sorted((directory / target.name).glob("*"))
    return {path.name: _read(path) for path in files}


def _read(path: Path) -> Life:
    data = path.read_bytes()
    return [body for _, body in decode_items(data, 1)] if path.suffix == ".life" else [data]


def store(directory: Path, target: Target, life: Sequence[bytes]) -> Path:
    """Write a file, named by its contents, and return its path."""
    data = life[0] if len(life) == 1 else encode_items([(0, data) for data in life])
    name = hashlib.sha256(data).hexdigest()[:12] + (".life" if len(life) > 1 else "")
    path = directory / target.name / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def live(target: Target, life: Sequence[bytes]) -> None:
    """Have a fresh parser live through these inputs, and end; raises what must not happen."""
    parser = target.make()
    for data in life:
        parser(data)
    parser.finish()
