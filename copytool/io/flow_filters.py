"""What the kernel decides by the hash of a packet's client address and port: whose part it is, whether it is chosen.

The hash is flow_hash() of the mirror, in the operations of classic BPF. The programs go behind a filter that passes
only whole TCP headers, and IPv6 without extension headers, as libpcap's `tcp dst port` does; they see packets from the
IP header on.

Parts go by the hash's remainder and the sample by its size, so neither says anything of the other: of each part the
same share is chosen.
"""

from __future__ import annotations

from .filter_logic import JUMP, RETURN, Instruction, assemble

__all__ = ["in_part", "in_sample"]

# linux/bpf_common.h
_LD_BYTE, _LD_HALF, _LD_WORD = 0x30, 0x28, 0x20
_LD_HALF_INDEXED = 0x48
_LDX_HEADER_BYTES = 0xB1
_TAX = 0x07
_ALU_MUL, _ALU_RSH, _ALU_MOD, _ALU_XOR_X = 0x24, 0x74, 0x94, 0xAC
_JUMP_IF_EQUAL, _JUMP_IF_NOT_BELOW = 0x15, 0x35

_PORT_FACTOR, _FACTOR_1, _FACTOR_2 = 0x9E3779B1, 0x85EBCA6B, 0xC2B2AE35
_IPV4_CLIENT = (12,)
_IPV6_CLIENT = (8, 12, 16, 20)
_IPV6_PORT = 40


def in_part(part: int, parts: int) -> bytes:
    """Return the program that passes packets whose flow_hash(client, port) % parts is `part`.

    Every worker has a packet socket of its own, which keeps only what is its part. So a connection belongs to one
    worker from its first packet to its last, whichever of the others run, are about to start or have died: there is no
    group of sockets that could become a member fewer, as with PACKET_FANOUT, whose flows would then move.
    """
    return _by_hash((_ALU_MOD, 0, 0, parts), (_JUMP_IF_EQUAL, 0, 1, part))


def in_sample(threshold: int) -> bytes:
    """Return the program that passes packets whose flow_hash(client, port) is below `threshold`, which has 32 bits."""
    return _by_hash((_JUMP_IF_NOT_BELOW, 1, 0, threshold))


def _by_hash(*decide: Instruction) -> bytes:
    """Return a program that computes the hash; `decide` goes on behind its end to pass a packet, or one further."""
    ipv4 = [(_LDX_HEADER_BYTES, 0, 0, 0), (_LD_HALF_INDEXED, 0, 0, 0), *_hash(_IPV4_CLIENT)]
    ipv6 = [(_LD_HALF, 0, 0, _IPV6_PORT), *_hash(_IPV6_CLIENT)]
    version = [(_LD_BYTE, 0, 0, 0), (_ALU_RSH, 0, 0, 4), (_JUMP_IF_EQUAL, 0, len(ipv4) + 1, 4)]
    passes = [(RETURN, 0, 0, 1), (RETURN, 0, 0, 0)]
    return assemble([*version, *ipv4, (JUMP, 0, 0, len(ipv6)), *ipv6, *decide, *passes])


def _hash(words: tuple[int, ...]) -> list[Instruction]:
    """Return the steps from the client's port to the hash; `words` are the places of its address."""
    steps: list[Instruction] = [(_ALU_MUL, 0, 0, _PORT_FACTOR)]
    for place in words:
        steps += [(_TAX, 0, 0, 0), (_LD_WORD, 0, 0, place), (_ALU_XOR_X, 0, 0, 0)]
        for shift, factor in ((16, _FACTOR_1), (13, _FACTOR_2)):
            steps += [*_fold(shift), (_ALU_MUL, 0, 0, factor)]
        steps += _fold(16)
    return steps


def _fold(shift: int) -> list[Instruction]:
    return [(_TAX, 0, 0, 0), (_ALU_RSH, 0, 0, shift), (_ALU_XOR_X, 0, 0, 0)]
