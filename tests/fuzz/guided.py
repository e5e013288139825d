"""The driver that goes by coverage: atheris (libFuzzer) with our mutators, on the pure flavour.

libFuzzer ends the process that it runs in, so each target gets one of its own.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from pathlib import Path
from random import Random

from copytool.flavour import flavour

from . import tally
from .inputs import CORPUS, CRASHES, kept, store
from .search import Found, minimise
from .target import Parser, Target

__all__ = ["run_guided"]

_MAX_INPUT = 8192


def run_guided(name: str, executions: int, seconds: float, seed: int, work: Path) -> bool:
    """Run a target in another process; return whether something was found."""
    pid = os.fork()
    if pid == 0:
        try:
            _fuzz(name, executions, seconds, seed, work)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0


class _Run:
    """Counts, and has parsers that live as long as the target says."""

    def __init__(self, target: Target, work: Path) -> None:
        self._target, self._work = target, work
        self._parser: Parser = target.make()
        self._life: list[bytes] = []
        self.executions = 0
        self._begun = time.monotonic()

    def take(self, data: bytes) -> None:
        """Take one input in."""
        self.executions += 1
        self._life.append(data)
        try:
            self._parser(data)
            if len(self._life) >= self._target.lives:
                self._parser.finish()
                self._parser, self._life = self._target.make(), []
        except Exception as error:
            traceback.print_exception(error)
            path = store(CRASHES, self._target, minimise(self._target, Found(self._life, error)))
            print(f"{self._target.name}: FOUND {error!r}, kept in {path}", flush=True)
            self.end(True)
            os._exit(1)

    def end(self, found: bool = False) -> None:
        """Note what was done."""
        seconds = time.monotonic() - self._begun
        tally.add(self._work, self._target.name, "atheris", flavour(), self.executions, seconds, found)
        rate = self.executions / max(seconds, 0.001)
        print(f"{self._target.name}: {self.executions:,} executions, {rate:,.0f} a second", flush=True)


def _fuzz(name: str, executions: int, seconds: float, seed: int, work: Path) -> None:
    import atheris

    for module in [module for module in sys.modules if module.split(".")[0] == "copytool" or "fuzz.targets" in module]:
        del sys.modules[module]
    with atheris.instrument_imports(include=["copytool"]):
        from .targets import TARGETS
    target = TARGETS[name]
    own = work / "corpus" / name
    own.mkdir(parents=True, exist_ok=True)
    seeds = work / "seeds"
    for data in [*target.seeds(), *(data for life in kept(CORPUS, target).values() for data in life)]:
        store(seeds, target, [data])
    run = _Run(target, work)

    def change(data: bytes, most: int, number: int) -> bytes:
        return target.mutate(bytes(data), Random(number))[:most]

    until = time.monotonic() + seconds

    def take(data: bytes) -> None:
        run.take(bytes(data))
        if run.executions >= executions or time.monotonic() > until:
            run.end()
            os._exit(0)

    options = [f"-seed={seed % (1 << 31) or 1}", f"-max_len={_MAX_INPUT}", "-print_final_stats=0", "-verbosity=0"]
    atheris.Setup([sys.argv[0], *options, str(own), str(seeds / name)], take, custom_mutator=change)
    atheris.Fuzz()
