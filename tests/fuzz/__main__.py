"""A campaign: `scripts/fuzz TARGET…|all`."""

from __future__ import annotations

import argparse
import logging
import sys
import time
import traceback
from pathlib import Path
from random import Random, SystemRandom

from copytool.flavour import flavour

from . import tally
from .inputs import CORPUS, CRASHES, kept, store
from .native import NATIVE, run_native
from .reduce import reduce_corpus
from .search import Search, minimise
from .target import Target
from .targets import TARGETS

_WORK = Path(__file__).parent.parent.parent / ".build" / "fuzz"


def main() -> int:
    """Run what is asked for; return 1 if something was found."""
    arguments = _arguments()
    names = list(TARGETS) if "all" in arguments.targets else arguments.targets
    found = False
    logging.getLogger("copytool").addHandler(logging.NullHandler())  # not what hostile input has logged
    for name in names:
        if arguments.reduce:
            known = [data for life in kept(_WORK / "corpus", TARGETS[name]).values() for data in life]
            print(f"{name}: {reduce_corpus(TARGETS[name], known)} inputs of {len(known)} make the corpus", flush=True)
        elif arguments.driver == "native":
            found |= _native(name, arguments)
        elif arguments.driver == "atheris":
            from .guided import run_guided

            found |= run_guided(name, arguments.executions, arguments.seconds, arguments.seed, _WORK)
        else:
            found |= _search(TARGETS[name], arguments)
    print(tally.table(_WORK))
    return int(found)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("targets", nargs="+", choices=[*TARGETS, "all"], metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--executions", type=int, default=1 << 60, help="inputs for each target")
    parser.add_argument("--seconds", type=float, default=60.0, help="time for each target (60)")
    parser.add_argument("--driver", choices=("mutations", "atheris", "native"), default="mutations")
    parser.add_argument("--seed", type=int, default=SystemRandom().getrandbits(32), help="to repeat a run")
    parser.add_argument(
        "--reduce", action="store_true", help="instead of fuzzing choose the corpus from all that is known"
    )
    return parser.parse_args()


def _native(name: str, arguments: argparse.Namespace) -> bool:
    if name not in NATIVE:
        return False
    begun = time.monotonic()
    executions, error = run_native(name, arguments.seed, arguments.executions, arguments.seconds, _WORK)
    seconds = time.monotonic() - begun
    tally.add(_WORK, name, "native", flavour(), executions, seconds, error is not None)
    print(f"{name}: {executions:,} executions, {executions / seconds:,.0f} a second, seed {arguments.seed}", flush=True)
    if error is not None:
        traceback.print_exception(error)
    return error is not None


def _search(target: Target, arguments: argparse.Namespace) -> bool:
    lives = [*kept(CORPUS, target).values(), *kept(CRASHES, target).values(), *kept(_WORK / "corpus", target).values()]
    pool = target.seeds() + [data for life in lives for data in life]
    search = Search(target, Random(arguments.seed), pool)
    print(f"{target.name}: {len(pool)} inputs known, seed {arguments.seed}, {flavour()}; {target.states}", flush=True)
    begun = time.monotonic()
    found = search.run(arguments.executions, begun + arguments.seconds)
    seconds = time.monotonic() - begun
    tally.add(_WORK, target.name, "mutations", flavour(), search.executions, seconds, found is not None)
    print(f"{target.name}: {search.executions:,} executions, {search.executions / seconds:,.0f} a second", flush=True)
    for data in search.fresh[:2000]:
        store(_WORK / "corpus", target, [data])
    if found is None:
        return False
    traceback.print_exception(found.error)
    life = minimise(target, found)
    print(f"{target.name}: FOUND {found.error!r}, kept in {store(CRASHES, target, life)}", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
