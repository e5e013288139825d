"""Kernel packet filters as conditions: programs of classic BPF, 8 bytes an instruction, joined by `and` and `or`.

A program passes what it returns anything but zero for.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

__all__ = ["JUMP", "RETURN", "Instruction", "all_of", "any_of", "assemble"]

Instruction = tuple[int, int, int, int]
"""Operation, jumps if true and if false, operand (struct sock_filter)."""

JUMP, RETURN = 0x05, 0x06

_INSTRUCTION = struct.Struct("=HBBI")


def assemble(instructions: Iterable[Instruction]) -> bytes:
    """Return the program."""
    return b"".join(_INSTRUCTION.pack(*instruction) for instruction in instructions)


def all_of(first: bytes, *others: bytes) -> bytes:
    """Return the program that passes what all of them pass; it keeps as much of a packet as `first` does."""
    keep = max(value for operation, _, _, value in _INSTRUCTION.iter_unpack(first) if operation == RETURN)
    joined = _join((first, *others), goes_on=True)
    return assemble(
        (operation, if_true, if_false, keep if operation == RETURN and value else value)
        for operation, if_true, if_false, value in joined
    )


def any_of(*programs: bytes) -> bytes:
    """Return the program that passes what one of them passes."""
    return assemble(_join(programs, goes_on=False))


def _join(programs: tuple[bytes, ...], goes_on: bool) -> list[Instruction]:
    """Return the programs in a row; where one but the last passes a packet (or not: goes_on) the next one decides."""
    joined: list[Instruction] = []
    for number, program in enumerate(programs, 1):
        instructions = list(_INSTRUCTION.iter_unpack(program))
        for index, (operation, _, _, value) in enumerate(instructions, 1):
            if number < len(programs) and operation == RETURN and bool(value) == goes_on:
                instructions[index - 1] = (JUMP, 0, 0, len(instructions) - index)
        joined += instructions
    return joined
