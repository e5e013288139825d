"""What a fuzz target is, and how its inputs are told apart."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from random import Random
from typing import Protocol

__all__ = ["Mutator", "Parser", "Target"]


class Parser(Protocol):
    """One instance of what is tested; it may live through many inputs, each of which must leave it sound."""

    def __call__(self, data: bytes) -> Hashable:
        """Take in one input; return what it led to, coarsely: an input that leads to something new is kept.

        Raises whatever must not happen: AssertionError for a broken invariant, anything else for an unforeseen error.
        """
        ...

    def finish(self) -> None:
        """Check what must hold at the end of its life."""
        ...


Mutator = Callable[[bytes, Random], bytes]
"""Returns an input that is like the given one, but for a few changes."""


@dataclass(frozen=True, slots=True)
class Target:
    """One reader of octets."""

    name: str
    """As on the command line, and the name of its directories of inputs."""

    states: str
    """What must hold, in a line."""

    make: Callable[[], Parser]
    """Makes a fresh one."""

    seeds: Callable[[], list[bytes]]
    """Valid inputs to begin with."""

    mutate: Mutator
    """Changes an input."""

    lives: int = 1000
    """How many inputs one parser lives through."""
