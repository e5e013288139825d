"""Conditions joined by `and` and `or`, by the kernel itself."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest

from copytool.io.bpf import compile_filter
from copytool.io.filter_logic import RETURN, all_of, any_of, assemble

from .sieve import Sieve

KEEPS, DROPS = (assemble([(RETURN, 0, 0, keep)]) for keep in (5, 0))


def _passes(code: bytes, packet: bytes = b"0123456789") -> int:
    sieve = Sieve(code)
    try:
        return sieve.keeps(packet)
    finally:
        sieve.close()


@pytest.mark.parametrize("programs", [part for count in (1, 2, 3) for part in product((KEEPS, DROPS), repeat=count)])
@pytest.mark.parametrize(("join", "decide"), [(all_of, all), (any_of, any)])
def test_truth(join: Callable[..., bytes], decide: Callable[..., bool], programs: tuple[bytes, ...]) -> None:
    """The joined program passes a packet when all of them do, or when one does."""
    if programs[0] == DROPS and join is all_of:
        programs = (all_of(KEEPS, DROPS), *programs[1:])
    assert bool(_passes(join(*programs))) == decide(_passes(program) for program in programs)


def test_as_much_is_kept_as_the_first_keeps() -> None:
    """Whatever the others would keep of a packet, and wherever in them it is passed."""
    longer, shorter = (assemble([(RETURN, 0, 0, keep)]) for keep in (8, 2))
    assert _passes(all_of(KEEPS, longer)) == _passes(all_of(KEEPS, shorter)) == 5
    assert _passes(all_of(KEEPS, any_of(DROPS, longer), any_of(shorter, longer))) == 5


@pytest.mark.parametrize("ports", list(product((80, 81), repeat=3)))
def test_compiled_expressions_join(ports: tuple[int, int, int]) -> None:
    """Programs with several returns and jumps of their own are joined wherever they return."""
    source, destination, _ = ports
    first, second, third = (
        compile_filter(text, 100) for text in ("udp src port 80", "udp dst port 80", "ip[8] = 64 or ip6[7] = 64")
    )
    udp = bytes(9) + b"\x11" + bytes(10) + source.to_bytes(2, "big") + destination.to_bytes(2, "big") + bytes(4)
    packet = b"\x45" + udp[1:8] + (b"\x40" if ports[2] == 80 else b"\x01") + udp[9:]
    said = [port == 80 for port in ports]
    assert bool(_passes(all_of(first, second, third), packet)) == all(said)
    assert bool(_passes(any_of(first, second, third), packet)) == any(said)
    assert bool(_passes(all_of(first, any_of(second, third)), packet)) == (said[0] and any(said[1:]))
