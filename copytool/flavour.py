"""Which flavour of copytool runs: pure Python, or with its hot modules compiled to C."""

from __future__ import annotations

import functools
from importlib.machinery import ExtensionFileLoader
from importlib.util import find_spec

__all__ = ["COMPILED", "IN_C", "flavour", "is_compiled"]

COMPILED = (
    "copytool.io.channel",
    "copytool.io.copy_path",
    "copytool.io.feeding",
    "copytool.io.link_client",
    "copytool.io.link_server",
    "copytool.io.loop",
    "copytool.io.output",
    "copytool.io.pace",
    "copytool.io.ring",
    "copytool.io.session_log",
    "copytool.link.collector",
    "copytool.link.connection",
    "copytool.link.forwarding",
    "copytool.link.frames",
    "copytool.link.records",
    "copytool.mirror.admission",
    "copytool.mirror.asleep",
    "copytool.mirror.client",
    "copytool.mirror.common",
    "copytool.mirror.config",
    "copytool.mirror.congestion",
    "copytool.mirror.counters",
    "copytool.mirror.emitter",
    "copytool.mirror.engine",
    "copytool.mirror.events",
    "copytool.mirror.habits",
    "copytool.mirror.handshakes",
    "copytool.mirror.histogram",
    "copytool.mirror.mapping",
    "copytool.mirror.path",
    "copytool.mirror.release",
    "copytool.mirror.remembered",
    "copytool.mirror.responses",
    "copytool.mirror.rtt",
    "copytool.mirror.send_buffer",
    "copytool.mirror.send_window",
    "copytool.mirror.sender",
    "copytool.mirror.session",
    "copytool.mirror.stream",
    "copytool.mirror.targets",
    "copytool.mirror.timers",
    "copytool.wire.build",
    "copytool.wire.flow",
    "copytool.wire.segment",
    "copytool.wire.tunnel",
)
"""The modules that setup.py compiles; each has a .pxd beside it. This list decides, nothing is compiled by pattern."""

IN_C = (
    "copytool.io.sending",
    "copytool.io.waiting",
    "copytool.wire.octets",
    "copytool.wire.seq",
)
"""Small modules that are not compiled: their .pxd has the same functions in C, for the modules above to take in."""


@functools.cache
def flavour() -> str:
    """Return "compiled" or "pure"; "mixed: ... not compiled" if only some of COMPILED are extension modules."""
    pure = [name for name in COMPILED if not _is_extension(name)]
    if not pure:
        return "compiled"
    return "pure" if len(pure) == len(COMPILED) else f"mixed: {', '.join(pure)} not compiled"


def is_compiled() -> bool:
    """Return whether every module of COMPILED is an extension module."""
    return flavour() == "compiled"


def _is_extension(name: str) -> bool:
    spec = find_spec(name)
    return spec is not None and isinstance(spec.loader, ExtensionFileLoader)
