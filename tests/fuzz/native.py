"""The driver for what packets go through, in C (native_loop.pyx): fifty times as fast as the one in Python.

It needs the compiled flavour and a C compiler. Each packet or record counts as an execution. What it finds is known by
its seed: the same run finds it again.
"""

from __future__ import annotations

import atexit
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

from copytool.flavour import is_compiled
from copytool.wire.segment import DROP_REASONS

from .mutation import decode_items
from .packets import SEEDS
from .targets import captured, records

__all__ = ["NATIVE", "run_native"]

_CHUNK = 50_000
_SCRIPT = 250
_LIFE = 400

Round = Callable[[], int]
"""Makes some executions and checks what must hold after them; returns how many."""


def _load(work: Path) -> ModuleType:
    if not is_compiled():
        raise SystemExit("this driver needs the compiled flavour: scripts/flavour compiled scripts/fuzz …")
    import pyximport

    pyximport.install(build_dir=str(work / "pyximport"), language_level=3)
    from . import native_loop

    return native_loop


def _parse(loop: Any, _random: Random) -> Round:
    pool = SEEDS + [data[1:] for data in captured.TARGETS[1].seeds()]
    reasons = array("l", [0] * len(DROP_REASONS))
    atexit.register(lambda: print("packet:", dict(zip(DROP_REASONS, reasons, strict=True))))

    def once() -> int:
        broken = loop.parse(pool, _CHUNK, reasons)
        assert broken is None, f"the packet {broken.hex()}"
        return _CHUNK

    return once


def _collect(loop: Any, _random: Random) -> Round:
    pool = [data[1:] for data in captured.TARGETS[1].seeds()]
    collector = captured.ResponseCollector()
    owner = captured.Owner()
    collector.add_owner(owner, owner.share)

    def once() -> int:
        before = dict(collector.counters)
        broken = loop.collect(pool, _CHUNK // 10, collector)
        assert broken is None, f"the packet {broken.hex()}"
        grown = {key: count - before[key] for key, count in collector.counters.items()}
        assert grown.pop("packets") == _CHUNK // 10 >= sum(grown.values())
        while captured.check_records(collector, owner):
            pass
        return _CHUNK // 10

    return once


def _drive(loop: Any, random: Random) -> Round:
    seeds = records.TARGETS[0].seeds()
    items = [item for data in seeds for item in decode_items(data, 8)]
    packets = [body for kind, body in items if kind == 0 and len(body) < 1500]
    answers = [body for kind, body in items if kind == 2 and len(body) == 56]
    parser = records.Drive()
    rounds = 0

    def once() -> int:
        nonlocal parser, rounds
        rounds += 1
        if rounds % _LIFE == 0:
            parser.finish()
            parser = records.Drive()
        if random.random() < 0.3:
            parser(seeds[int(random.random() * len(seeds))])
        broken = loop.mirror(packets, _SCRIPT, parser.engine, parser.now)
        assert broken is None, f"the packet {broken.hex()}"
        parser.send()
        loop.answer(answers, _SCRIPT, parser.engine, parser.now, records.fail)
        parser.send()
        parser.let_pass(random.choice(records.TIMES_S) if random.random() < 0.2 else 0.001)
        parser.check()
        return 2 * _SCRIPT

    return once


NATIVE: dict[str, Callable[[Any, Random], Round]] = {"packet": _parse, "response": _collect, "engine": _drive}


def run_native(name: str, seed: int, executions: int, seconds: float, work: Path) -> tuple[int, Exception | None]:
    """Run a target; return the number of executions, and what was found."""
    loop = _load(work)
    loop.seed(seed * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF)
    once = NATIVE[name](loop, Random(seed))
    done = 0
    until = time.monotonic() + seconds
    try:
        while done < executions and time.monotonic() < until:
            done += once()
    except Exception as error:
        return done, error
    return done, None
