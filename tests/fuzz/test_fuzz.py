"""All inputs that are kept, and a short run of new ones, which are the same each time."""

from __future__ import annotations

import os
from random import Random

import pytest

from copytool.flavour import is_compiled

from .inputs import CORPUS, CRASHES, kept, live
from .search import Search, minimise
from .targets import TARGETS

EFFORT = int(os.environ.get("COPYTOOL_EFFORT", "1"))
SHORT_RUN = dict.fromkeys(TARGETS, 10000) | {
    "packet": 100_000, "response": 50_000, "frames": 50_000, "forward_end": 30_000, "feed_end": 5000, "tunnel": 20_000,
    "intercept_end": 50_000, "hello": 50_000,
    "config": 4000, "arguments": 4000, "request": 5000, "answer": 2000,
}  # fmt: skip
"""New inputs of each target, compiled; pure a quarter."""


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_that_was_found_comes_back(name: str) -> None:
    """Each input that once broke something is taken in like any other."""
    for life in kept(CRASHES, TARGETS[name]).values():
        live(TARGETS[name], life)


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_is_taken_in(name: str) -> None:
    """What leads everywhere in the code, one after the other, each in a parser of its own and all in one."""
    target = TARGETS[name]
    lives = list(kept(CORPUS, target).values())
    for life in lives:
        live(target, life)
    live(target, target.seeds() + [data for life in lives for data in life])


@pytest.mark.parametrize("name", TARGETS)
def test_new_inputs(name: str) -> None:
    """Mutations of the corpus; `scripts/fuzz` goes on from there."""
    target = TARGETS[name]
    pool = target.seeds() + [data for life in kept(CORPUS, target).values() for data in life]
    search = Search(target, Random(name), pool)
    executions = EFFORT * SHORT_RUN[name] // (1 if is_compiled() else 4)
    found = search.run(executions)
    assert search.executions == executions or found
    if found is not None:
        raise AssertionError(f"{name}: {minimise(target, found)!r}") from found.error
