"""The one way to wait: poll until something holds. COPYTOOL_TEST_PATIENCE=6 waits six times as long, for slow hosts."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["PATIENCE", "Unmet", "wait_until"]

_State = TypeVar("_State")
INTERVAL_S = 0.2
PATIENCE = float(os.environ.get("COPYTOOL_TEST_PATIENCE", "1"))


def wait_until(observe: Callable[[], _State], timeout_s: float, describe: str) -> _State:
    """Call `observe` until what it returns is true and return that; fail with the last thing it returned."""
    timeout_s *= PATIENCE
    deadline = time.monotonic() + timeout_s
    while True:
        state = observe()
        if state:
            return state
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {describe}; last seen: {state!r}")
        time.sleep(INTERVAL_S)


class Unmet:
    """A false value that says what was seen instead; for predicates of `wait_until`."""

    def __init__(self, seen: object) -> None:
        self._seen = seen

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return repr(self._seen)
