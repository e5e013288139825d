"""Packet sockets inside a namespace that count what a kernel filter selects: observers that cost the traffic nothing.

Filters are compiled through scapy's libpcap binding, so nothing of copytool takes part in observing it.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import scapy.layers.inet
import scapy.layers.inet6  # noqa: F401, what summaries know
from scapy.arch.common import compile_filter
from scapy.layers.l2 import Ether

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000
_SO_ATTACH_FILTER = 26
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_ETH_P_ALL = 3
_LINKTYPE_ETHERNET = 1
_SKF_AD_VLAN_TAG, _SKF_AD_VLAN_TAG_PRESENT = 0xFFFFF000 + 44, 0xFFFFF000 + 48
_SNAP_BYTES = 128


def in_namespace(namespace: str, function: Callable[[], T]) -> T:
    """Call a function in a thread that has entered a network namespace; sockets made there stay in it."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        try:
            with Path(f"/var/run/netns/{namespace}").open() as handle:
                if libc.setns(handle.fileno(), _CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), f"setns {namespace}")
            results.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def send_frame(namespace: str, interface: str, frame: bytes) -> None:
    """Send one Ethernet frame from a namespace."""

    def send() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
            sock.bind((interface, 0))
            sock.send(frame)

    in_namespace(namespace, send)


class Tap:
    """Counts the packets on one interface that match a libpcap expression, and keeps the first of them.

    The words `inbound` and `outbound` in the expression mean as seen from the namespace of the interface. With `vlan`
    only packets match that arrive with that tag, which the kernel has put aside before filters see the packet.
    """

    def __init__(self, namespace: str, interface: str, expression: str, vlan: int = 0) -> None:
        self._packets = 0
        self._summaries: list[str] = []
        self._socket = in_namespace(namespace, lambda: open_tap(interface, expression, vlan))

    def count(self) -> int:
        """Return how many packets have matched so far, those included that no buffer had room for."""
        answer = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        self._packets += struct.unpack("II", answer)[0]
        return self._packets

    def summaries(self, limit: int = 3) -> list[str]:
        """Describe the first packets that matched, each in one line."""
        while len(self._summaries) < limit:
            try:
                self._summaries.append(Ether(self._socket.recv(_SNAP_BYTES)).summary())
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENETDOWN:  # said once when the interface goes down
                    raise
        return self._summaries

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def open_tap(interface: str, expression: str, vlan: int = 0) -> socket.socket:
    """Return a packet socket, which does not wait, in this namespace for what the expression selects."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # protocol 0: nothing arrives before bind()
    try:
        program = compile_filter(expression, linktype=_LINKTYPE_ETHERNET)
        code = (_only_tagged(vlan) if vlan else b"") + ctypes.string_at(program.bf_insns, program.bf_len * 8)
        buffer = ctypes.create_string_buffer(code, len(code))
        words = struct.pack("HxxxxxxQ", len(code) // 8, ctypes.addressof(buffer))
        sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, words)
        sock.setblocking(False)
        sock.bind((interface, _ETH_P_ALL))
    except BaseException:
        sock.close()
        raise
    return sock


def _only_tagged(vlan: int) -> bytes:
    """Return BPF instructions that reject packets without this tag and go on with the next instruction for others."""
    load, mask, equal, leave = 0x20, 0x54, 0x15, 0x06  # ld, and, jeq, ret
    program = (
        (load, 0, 0, _SKF_AD_VLAN_TAG_PRESENT),
        (equal, 0, 3, 1),
        (load, 0, 0, _SKF_AD_VLAN_TAG),
        (mask, 0, 0, 0xFFF),
        (equal, 1, 0, vlan),
        (leave, 0, 0, 0),
    )
    return b"".join(struct.pack("HBBI", *instruction) for instruction in program)
