"""TCP sequence number arithmetic modulo 2**32 (RFC 9293, section 3.4)."""

from __future__ import annotations

__all__ = ["SEQ_MASK", "seq_add", "seq_diff", "seq_lt"]

SEQ_MASK = 0xFFFFFFFF
_HALF = 0x80000000


def seq_add(seq: int, count: int) -> int:
    """Return the sequence number `count` octets after `seq`; `count` may be negative."""
    return (seq + count) & SEQ_MASK


def seq_diff(a: int, b: int) -> int:
    """Return the signed distance a - b, in -2**31 .. 2**31 - 1."""
    distance = (a - b) & SEQ_MASK
    return distance - 0x100000000 if distance >= _HALF else distance


def seq_lt(a: int, b: int) -> bool:
    """Return whether `a` precedes `b`; numbers exactly 2**31 apart precede each other."""
    return ((a - b) & SEQ_MASK) >= _HALF
