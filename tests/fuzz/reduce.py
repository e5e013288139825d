"""Chooses the corpus: of all inputs that are known the small ones that together go wherever all of them go."""

from __future__ import annotations

import sys
from collections.abc import Hashable
from types import FrameType
from typing import Any

from .inputs import CORPUS, kept, store
from .target import Target

__all__ = ["reduce_corpus"]

_MAX_BYTES = 4096
_MAX_CANDIDATES = 600
_MAX_KEPT = 30

Places = set[Hashable]


def reduce_corpus(target: Target, candidates: list[bytes]) -> int:
    """Write the corpus of a target anew; return how many inputs it has. Needs the pure flavour."""
    known = [data for life in kept(CORPUS, target).values() for data in life]
    apart = {*known, *candidates} - set(target.seeds())
    inputs = sorted((data for data in apart if len(data) <= _MAX_BYTES), key=lambda data: (len(data), data))
    seen: Places = set()
    for data in target.seeds():
        seen |= _places(target, data)
    chosen = []
    for data in inputs[:_MAX_CANDIDATES]:
        places = _places(target, data)
        if places - seen:
            seen |= places
            chosen.append((len(places), data))
    for path in (CORPUS / target.name).glob("*"):
        path.unlink()
    chosen.sort(key=lambda found: -found[0])
    for _, data in chosen[:_MAX_KEPT]:
        store(CORPUS, target, [data])
    return min(len(chosen), _MAX_KEPT)


def _places(target: Target, data: bytes) -> Places:
    """Return the steps from line to line of copytool that a fresh parser takes with an input."""
    places: Places = set()

    def enter(frame: FrameType, _event: str, _argument: Any) -> Any:
        code = frame.f_code
        if "copytool" not in code.co_filename:
            return None
        before = 0

        def step(frame: FrameType, event: str, _argument: Any) -> Any:
            nonlocal before
            if event == "line":
                places.add((code, before, frame.f_lineno))
                before = frame.f_lineno
            return step

        return step

    parser = target.make()
    sys.settrace(enter)
    try:
        parser(data)
    finally:
        sys.settrace(None)
        parser.finish()
    return places
