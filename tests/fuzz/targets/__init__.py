"""The fuzz targets, by name."""

from __future__ import annotations

from ..target import Target
from . import answers, captured, configuration, control, feeds, link, records, tunnels

__all__ = ["TARGETS"]

TARGETS: dict[str, Target] = {
    target.name: target
    for module in (captured, tunnels, records, link, feeds, configuration, control, answers)
    for target in module.TARGETS
}
