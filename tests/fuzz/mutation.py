"""Changes to octets, without an idea of what they mean, and to sequences of framed items."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

__all__ = ["Items", "below", "decode_items", "encode_items", "mutate_items", "mutate_octets"]

_ODD = bytes((0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0x0A, 0x0F, 0x10, 0x1F, 0x20, 0x40, 0x45, 0x46, 0x4F, 0x50, 0x60, 0x7F,
              0x80, 0x81, 0xF0, 0xFE, 0xFF))  # fmt: skip
_MAX_BYTES = 4096


def below(random: Random, limit: int) -> int:
    """Return a number in 0..limit-1; much faster than randrange()."""
    return int(random.random() * limit)


def mutate_octets(data: bytearray, random: Random, words: Sequence[bytes] = ()) -> bytearray:
    """Change `data` in one place: an octet, a number, a stretch that goes, comes or repeats, or a word put in."""
    size = len(data)
    kind = below(random, 11 if words else 9)
    if not size or (kind == 0 and size < _MAX_BYTES):
        at = below(random, size + 1)
        data[at:at] = random.randbytes(1 + below(random, 4))
        return data
    at = below(random, size)
    if kind < 3:
        data[at] ^= 1 << below(random, 8)
    elif kind == 3:
        data[at] = _ODD[below(random, len(_ODD))]
    elif kind == 4:
        data[at] = (data[at] + below(random, 9) - 4) & 0xFF
    elif kind == 5:
        del data[at : at + 1 + below(random, 8)]
    elif kind == 6:
        del data[at:]
    elif kind == 7:
        count = 1 + below(random, 3)
        data[at : at + count] = (b"\xff" if random.random() < 0.5 else b"\0") * count
    elif kind == 8:
        if size < _MAX_BYTES:
            stretch = data[at : at + 1 + below(random, 16)]
            to = below(random, size)
            data[to:to] = stretch
    else:
        word = words[below(random, len(words))]
        data[at : at + (len(word) if kind == 9 else 0)] = word
    return data


# -- sequences of items ------------------------------------------------------------------------------------------------

Items = list[tuple[int, bytes]]
"""(kind, octets) each; as octets a kind, a 16-bit length and the body, the last one as far as it is there."""


def encode_items(items: Items) -> bytes:
    """Return the items as octets; of octets beyond 65535 only so many."""
    return b"".join(
        [b"%c%b%b" % (kind, min(len(body), 0xFFFF).to_bytes(2, "big"), body[:0xFFFF]) for kind, body in items]
    )


def decode_items(data: bytes, kinds: int) -> Items:
    """Return the items in any octets; kinds are taken modulo `kinds`."""
    items = []
    at, end = 0, len(data)
    while at + 3 <= end:
        body = at + 3
        after = body + (data[at + 1] << 8 | data[at + 2])
        items.append((data[at] % kinds, data[body:after]))
        at = after
    return items


def mutate_items(
    data: bytes, random: Random, change: Callable[[int, bytes, Random], tuple[int, bytes]], most: int = 24
) -> bytes:
    """Change a sequence: an item, by `change`, one that goes, comes twice, or changes places; or the bare octets."""
    if random.random() < 0.02:
        return bytes(mutate_octets(bytearray(data), random))
    items = decode_items(data, 256)
    if not items:
        return bytes(mutate_octets(bytearray(data), random))
    for _ in range(1 + below(random, 3)):
        at = below(random, len(items))
        kind = below(random, 10)
        if kind < 6:
            items[at] = change(*items[at], random)
        elif kind == 6 and len(items) > 1:
            del items[at]
        elif kind == 7 and len(items) < most:
            items.insert(at, items[below(random, len(items))])
        elif kind == 8 and len(items) < most:
            items.insert(at, change(*items[at], random))
        else:
            other = below(random, len(items))
            items[at], items[other] = items[other], items[at]
    while len(items) > most:
        del items[below(random, len(items))]
    return encode_items(items)
