"""Looks at packets on their way in and out of a host, for some seconds: what tcpdump is used for by hand."""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...errors import HostError
from ...wire.flow import flow_ends
from ...wire.segment import Segment, parse_segment
from ..bpf import attach_filter
from ..filter_logic import JUMP, RETURN, Instruction, all_of, assemble
from ..packet_socket import bind_capture, open_capture

__all__ = ["Seen", "Tap", "handshake_filter", "handshakes_of", "watch"]

_PACKET_HOST, _PACKET_OUTGOING = 0, 4  # linux/if_packet.h
_RECEIVE_BYTES = 1 << 16
_BATCH = 256
_SYN_OR_RST = 0x06
_SNAP_BYTES = 128

# linux/bpf_common.h
_LD_BYTE, _LD_HALF, _LD_BYTE_INDEXED, _LDX_HEADER_BYTES = 0x30, 0x28, 0x50, 0xB1
_ALU_RSH = 0x74
_JUMP_IF_EQUAL, _JUMP_IF_SET = 0x15, 0x45
_TCP = 6


def handshake_filter() -> bytes:
    """Return the program that passes TCP segments with SYN or RST; IPv6 without extension headers."""
    ipv4: list[Instruction] = [
        (_LD_BYTE, 0, 0, 9), (_JUMP_IF_EQUAL, 0, 5, _TCP),
        (_LD_HALF, 0, 0, 6), (_JUMP_IF_SET, 3, 0, 0x1FFF),
        (_LDX_HEADER_BYTES, 0, 0, 0), (_LD_BYTE_INDEXED, 0, 0, 13), (_JUMP_IF_SET, 1, 0, _SYN_OR_RST),
        (RETURN, 0, 0, 0), (RETURN, 0, 0, _SNAP_BYTES),
    ]  # fmt: skip
    ipv6: list[Instruction] = [
        (_LD_BYTE, 0, 0, 6), (_JUMP_IF_EQUAL, 0, 2, _TCP),
        (_LD_BYTE, 0, 0, 53), (_JUMP_IF_SET, 1, 0, _SYN_OR_RST),
        (RETURN, 0, 0, 0), (RETURN, 0, 0, _SNAP_BYTES),
    ]  # fmt: skip
    version: list[Instruction] = [(_LD_BYTE, 0, 0, 0), (_ALU_RSH, 0, 0, 4), (_JUMP_IF_EQUAL, 1, 0, 4)]
    return assemble([*version, (JUMP, 0, 0, len(ipv4)), *ipv4, *ipv6])


@dataclass(frozen=True, slots=True)
class Seen:
    """A captured segment. Addresses are packed; `interface` is where it came in, or went out."""

    interface: str
    is_outgoing: bool
    source: bytes
    source_port: int
    destination: bytes
    destination_port: int
    flags: int


class Tap:
    """A packet socket on one interface ("" for all), with a filter.

    on_packet gets each segment that is seen; it sees what leaves as well.
    """

    def __init__(self, interface: str, code: bytes, on_packet: Callable[[Seen], None]) -> None:
        self._on_packet = on_packet
        self._segment = Segment()
        self._socket = open_capture()
        try:
            attach_filter(self._socket, code)
            bind_capture(self._socket, interface)
        except OSError as error:
            self._socket.close()
            raise HostError(f"cannot capture on {interface or 'all interfaces'}: {error.strerror}") from None

    def fileno(self) -> int:
        """Return the descriptor that becomes readable."""
        return self._socket.fileno()

    def read(self) -> None:
        """Take in what has come."""
        segment = self._segment
        for _ in range(_BATCH):
            try:
                data, address = self._socket.recvfrom(_RECEIVE_BYTES)
            except OSError:
                return
            kind = address[2]  # what is for other hosts comes up, too, where somebody captures promiscuously
            if kind not in (_PACKET_HOST, _PACKET_OUTGOING) or parse_segment(segment, data):
                continue
            src, sport, dst, dport = flow_ends(segment.key)
            self._on_packet(Seen(address[0], kind == _PACKET_OUTGOING, src, sport, dst, dport, segment.flags))

    def close(self) -> None:
        """Stop capturing."""
        self._socket.close()


def watch(taps: Sequence[Tap], is_done: Callable[[], bool], wait_s: float) -> None:
    """Serve the taps until is_done() or for `wait_s` seconds."""
    deadline = time.monotonic() + wait_s
    with selectors.DefaultSelector() as selector:
        for tap in taps:
            selector.register(tap, selectors.EVENT_READ, tap)
        while not is_done() and (rest_s := deadline - time.monotonic()) > 0:
            for key, _events in selector.select(min(rest_s, 0.1)):
                key.data.read()


def handshakes_of(code: bytes) -> bytes:
    """Return the program that passes what is a handshake's segment and passes the filter `code`, too."""
    return all_of(handshake_filter(), code)
