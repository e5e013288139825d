"""The control command `log-level`."""

from __future__ import annotations

import logging
from typing import Any

from ..errors import ConfigError

__all__ = ["LOG_LEVELS", "set_log_level"]

LOG_LEVELS = ("debug", "info", "warning", "error")


def set_log_level(request: dict[str, Any]) -> dict[str, Any]:
    """Log what is at least as grave as request["level"] from now on."""
    level = request.get("level")
    if level not in LOG_LEVELS:
        raise ConfigError(f"log-level: {repr(level)[:40]} is not one of {', '.join(LOG_LEVELS)}")
    logging.getLogger().setLevel(level.upper())
    return {"log_level": level}
