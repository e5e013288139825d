"""Changes to JSON documents: values of other types, keys that go, numbers at the edge; and to the text of one."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from .mutation import below, mutate_octets

__all__ = ["mutate_document", "mutate_text"]

_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 0.5, -0.5, 1 << 31, 1 << 63, -(1 << 64), 1e300, float("nan"), float("inf"), 10**400,
    "",
    "x", "a\nb", "\x1b[2J", "\ud800", "x" * 300, [], {}, [[]], {"a": 1}, [None], "active", "running", "established",
    "copy",
    "intercept", "2026-01-01T00:00:00+00:00", "nan", "1e400", "0.1", "inf",
)  # fmt: skip
_WORDS = (
    b"null",
    b"true",
    b"{}",
    b"[]",
    b"[",
    b"{",
    b'"',
    b"1e999",
    b"-0",
    b"NaN",
    b"\\ud800",
    b"\\n",
    b"\xff",
    b",",
    b":",
    b"\n",
    b"0" * 50,
)


def mutate_text(data: bytes, random: Random) -> bytes:
    """Change the octets of a text that should be JSON."""
    made = bytearray(data)
    for _ in range(1 + below(random, 3)):
        mutate_octets(made, random, _WORDS)
    return bytes(made)


def mutate_document(data: bytes, random: Random) -> bytes:
    """Change one or two places of a JSON document; if it is none, or sometimes, its text."""
    if random.random() < 0.15:
        return mutate_text(data, random)
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return mutate_text(data, random)
    for _ in range(1 + below(random, 2)):
        document = _change(document, random)
    return json.dumps(document).encode()


def _change(value: Any, random: Random, depth: int = 0) -> Any:
    if not isinstance(value, (dict, list)) or not value or (depth and random.random() < 0.1):
        return _VALUES[below(random, len(_VALUES))]
    if isinstance(value, list):
        at = below(random, len(value))
        kind = random.random()
        if kind < 0.1:
            return value[:at] + value[at + 1 :]
        if kind < 0.2:
            return [*value, value[at]]
        return [*value[:at], _change(value[at], random, depth + 1), *value[at + 1 :]]
    key = list(value)[below(random, len(value))]
    kind = random.random()
    made = dict(value)
    if kind < 0.08:
        del made[key]
    elif kind < 0.14:
        made[("", "x", "inf", "nan", "a\nb", "\ud800", "0.1", "active")[below(random, 8)]] = made.pop(key)
    else:
        made[key] = _change(value[key], random, depth + 1)
    return made
