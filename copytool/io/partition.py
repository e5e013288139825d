"""Gives each worker its part of the captured packets, in the kernel: by a hash of the client's address and port.

Every worker has a packet socket of its own, whose filter ends in this hash, and keeps only what is its part. So a
connection belongs to one worker from its first packet to its last, whichever of the others run, are about to start or
have died: there is no group of sockets that could become a member fewer, as with PACKET_FANOUT, whose flows would then
move. The hash is flow_hash() of the mirror, in the operations of classic BPF.
"""

from __future__ import annotations

import struct

__all__ = ["keep_part"]

_INSTRUCTION = struct.Struct("=HBBI")

# linux/bpf_common.h
_LD_BYTE, _LD_HALF, _LD_WORD = 0x30, 0x28, 0x20
_LD_HALF_INDEXED = 0x48
_LDX_HEADER_BYTES = 0xB1
_TAX = 0x07
_ALU_MUL, _ALU_RSH, _ALU_MOD, _ALU_XOR_X = 0x24, 0x74, 0x94, 0xAC
_JUMP, _JUMP_IF_EQUAL = 0x05, 0x15
_RET = 0x06

_Instruction = tuple[int, int, int, int]

_PORT_FACTOR, _FACTOR_1, _FACTOR_2 = 0x9E3779B1, 0x85EBCA6B, 0xC2B2AE35
_IPV4_CLIENT = (12,)
_IPV6_CLIENT = (8, 12, 16, 20)
_IPV6_PORT = 40  # the filter passes only IPv6 packets without extension headers


def keep_part(code: bytes, part: int, parts: int) -> bytes:
    """Return `code`, a filter of TCP packets, narrowed to those whose flow_hash(client, port) % parts is `part`.

    The filter sees packets from the IP header on, like compile_filter()'s. What it returns on a match stays.
    """
    program = list(_INSTRUCTION.iter_unpack(code))
    keep = max(value for operation, _, _, value in program if operation == _RET)
    end = len(program)
    for index, (operation, _, _, value) in enumerate(program):
        if operation == _RET and value:
            program[index] = (_JUMP, 0, 0, end - index - 1)
    ipv4 = [(_LDX_HEADER_BYTES, 0, 0, 0), (_LD_HALF_INDEXED, 0, 0, 0), *_hash(_IPV4_CLIENT)]
    ipv6 = [(_LD_HALF, 0, 0, _IPV6_PORT), *_hash(_IPV6_CLIENT)]
    choose = [(_ALU_MOD, 0, 0, parts), (_JUMP_IF_EQUAL, 0, 1, part), (_RET, 0, 0, keep), (_RET, 0, 0, 0)]
    program += [(_LD_BYTE, 0, 0, 0), (_ALU_RSH, 0, 0, 4), (_JUMP_IF_EQUAL, 0, len(ipv4) + 1, 4)]
    program += [*ipv4, (_JUMP, 0, 0, len(ipv6)), *ipv6, *choose]
    return b"".join(_INSTRUCTION.pack(*instruction) for instruction in program)


def _hash(words: tuple[int, ...]) -> list[_Instruction]:
    """Return the steps from the client's port to the hash; `words` are the places of its address."""
    steps: list[_Instruction] = [(_ALU_MUL, 0, 0, _PORT_FACTOR)]
    for place in words:
        steps += [(_TAX, 0, 0, 0), (_LD_WORD, 0, 0, place), (_ALU_XOR_X, 0, 0, 0)]
        for shift, factor in ((16, _FACTOR_1), (13, _FACTOR_2)):
            steps += [*_fold(shift), (_ALU_MUL, 0, 0, factor)]
        steps += _fold(16)
    return steps


def _fold(shift: int) -> list[_Instruction]:
    return [(_TAX, 0, 0, 0), (_ALU_RSH, 0, 0, shift), (_ALU_XOR_X, 0, 0, 0)]
