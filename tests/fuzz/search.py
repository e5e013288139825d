"""The driver that needs nothing: mutations of what is known, keeping what leads to something new.

It runs either flavour. Compiled it makes a hundred thousand inputs a second of the cheap targets; what coverage could
tell there comes from the corpus, which was found with coverage.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from .inputs import Life, live
from .mutation import below
from .target import Target

__all__ = ["Found", "Search", "minimise"]

_MAX_POOL = 3000
_MAX_SEEN = 20_000
_MAX_INPUT = 60_000
_TRIES_AT_MINIMISING = 2000


@dataclass(slots=True)
class Found:
    """An input, with those before it in the same life, that breaks something."""

    life: Life
    error: Exception


@dataclass
class Search:
    """A run of one target. executions: how many inputs were taken in. fresh: those that led to something new."""

    target: Target
    random: Random
    pool: list[bytes]
    executions: int = 0
    fresh: list[bytes] = field(default_factory=list)
    _seen: set[Hashable] = field(default_factory=set)

    def run(self, executions: int, until: float = float("inf")) -> Found | None:
        """Make so many more executions, as long as the clock (time.monotonic) shows less; return what was found."""
        goal = self.executions + executions
        while self.executions < goal and time.monotonic() < until:
            found = self._live(min(goal - self.executions, self.target.lives), until)
            if found is not None:
                return found
        return None

    def _live(self, inputs: int, until: float) -> Found | None:
        target, random, pool, seen = self.target, self.random, self.pool, self._seen
        parser = target.make()
        mutate = target.mutate
        lived: Life = []
        done = 0
        data = b""
        try:
            for done in range(1, inputs + 1):
                model, other = pool[below(random, len(pool))], pool[below(random, len(pool))]
                data = mutate(model if len(model) < len(other) else other, random)  # small ones are taken in sooner
                lived.append(data)
                feature = parser(data)
                if not done & 255 and time.monotonic() > until:
                    break
                if feature not in seen and len(seen) < _MAX_SEEN:
                    seen.add(feature)
                    self._keep(data)
            parser.finish()
        except Exception as error:
            return Found(lived, error)
        finally:
            self.executions += done
        return None

    def _keep(self, data: bytes) -> None:
        if len(data) <= _MAX_INPUT:
            self.fresh.append(data)
            if len(self.pool) < _MAX_POOL:
                self.pool.append(data)
            else:
                self.pool[below(self.random, _MAX_POOL)] = data


def minimise(target: Target, found: Found) -> Life:
    """Return a smaller life that ends in the same kind of error, and at the same place."""
    wanted = _place(found.error)

    def breaks(life: Life) -> bool:
        try:
            live(target, life)
        except Exception as error:
            return _place(error) == wanted
        return False

    life = found.life
    if breaks(life[-1:]):
        life = life[-1:]
    elif not breaks(life):
        return life  # it depends on chance or time; all that is known is kept
    else:
        life = _shorten(life, breaks)
    for index in range(len(life)):

        def breaks_with(data: list[int], index: int = index) -> bool:
            return breaks([*life[:index], bytes(data), *life[index + 1 :]])

        life[index] = bytes(_shorten(list(life[index]), breaks_with))
    return life


def _shorten(parts: list[Any], breaks: Callable[[list[Any]], bool]) -> list[Any]:
    """Leave out ever smaller stretches as long as it still breaks."""
    tries = 0
    size = len(parts) // 2
    while size and tries < _TRIES_AT_MINIMISING:
        at = 0
        while at < len(parts) and tries < _TRIES_AT_MINIMISING:
            tries += 1
            shorter = parts[:at] + parts[at + size :]
            if breaks(shorter):
                parts = shorter
            else:
                at += size
        size //= 2
    return parts


def _place(error: BaseException) -> tuple[type, int]:
    trace = error.__traceback__
    line = 0
    while trace is not None and not isinstance(error, RecursionError):
        line, trace = trace.tb_lineno, trace.tb_next
    return type(error), line
