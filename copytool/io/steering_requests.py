"""What the control commands that steer a copy may ask for."""

from __future__ import annotations

import math
from typing import Any

from ..errors import ConfigError

__all__ = ["MAX_COPIES", "MAX_RAMP_S", "read_copies", "read_ratio"]

MAX_COPIES = 1024
MAX_RAMP_S = 86400.0


def read_ratio(request: dict[str, Any]) -> tuple[float, float]:
    """Return the share in per cent, and the seconds to get there, of a request {"percent": …, "ramp_s": …}."""
    percent = _number(request, "percent", None)
    ramp_s = _number(request, "ramp_s", 0.0)
    if not 0 < percent <= 100:
        raise ConfigError(f"ratio: {percent:g} per cent is not above 0 and up to 100; to mirror nothing, pause")
    if not 0 <= ramp_s <= MAX_RAMP_S:
        raise ConfigError(f"ratio: a ramp of {ramp_s:g} s is not from 0 to {MAX_RAMP_S:g} s")
    return percent, ramp_s


def read_copies(request: dict[str, Any]) -> int:
    """Return the number of copies of a request {"count": …}."""
    count = _number(request, "count", None)
    if count != int(count) or not 1 <= count <= MAX_COPIES:
        raise ConfigError(f"copies: {count:g} is not a whole number in 1..{MAX_COPIES}")
    return int(count)


def _number(request: dict[str, Any], key: str, default: float | None) -> float:
    value = request.get(key, default)
    number = math.nan
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
    if not math.isfinite(number):
        raise ConfigError(f"{key}: {str(value)[:40]!r} is not a number that is possible here")
    return number
