"""Kernel packet filters, compiled by libpcap from its filter language."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import socket
from collections.abc import Iterator

from ..errors import ConfigError, HostError

__all__ = ["attach_filter", "can_attach", "compile_filter"]

_DLT_RAW = 12  # packets start at the IP header, as a SOCK_DGRAM packet socket delivers them
_SO_ATTACH_FILTER = 26
_NETMASK_UNKNOWN = 0xFFFFFFFF
_INSTRUCTION_SIZE = 8


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint), ("instructions", ctypes.c_void_p))


class _KernelProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def _libpcap_names() -> Iterator[str]:
    yield from ("libpcap.so.0.8", "libpcap.so.1")  # what Debian and most others ship
    if name := ctypes.util.find_library("pcap"):  # starts ldconfig, gcc or ld, which the unit does not allow
        yield name


def _load_libpcap() -> ctypes.CDLL:
    for name in _libpcap_names():
        try:
            library = ctypes.CDLL(name)
        except OSError:
            library = None
        if library is not None:
            library.pcap_open_dead.restype = ctypes.c_void_p
            library.pcap_close.argtypes = [ctypes.c_void_p]
            library.pcap_compile.argtypes = [
                ctypes.c_void_p,
                ctypes.POINTER(_Program),
                ctypes.c_char_p,
                ctypes.c_int,
                ctypes.c_uint32,
            ]
            library.pcap_geterr.argtypes = [ctypes.c_void_p]
            library.pcap_geterr.restype = ctypes.c_char_p
            library.pcap_freecode.argtypes = [ctypes.POINTER(_Program)]
            return library
    raise HostError("libpcap is not installed; install the package libpcap0.8 (Debian) or libpcap (others)")


def compile_filter(expression: str, snap_bytes: int) -> bytes:
    """Return classic BPF instructions for `expression`, 8 bytes each; a match keeps `snap_bytes` of the packet.

    The expression sees packets from the IP header on, so link-level words (ether, vlan) do not apply; VLAN tags are
    already removed by the kernel. Raises ConfigError with libpcap's reason.
    """
    libpcap = _load_libpcap()
    handle = libpcap.pcap_open_dead(_DLT_RAW, snap_bytes)
    program = _Program()
    try:
        if libpcap.pcap_compile(handle, ctypes.byref(program), os.fsencode(expression), 1, _NETMASK_UNKNOWN) != 0:
            reason = libpcap.pcap_geterr(handle).decode(errors="replace")
            raise ConfigError(f"filter {expression!r} does not compile: {reason}")
        code = ctypes.string_at(program.instructions, program.length * _INSTRUCTION_SIZE)
        libpcap.pcap_freecode(ctypes.byref(program))
        return code
    finally:
        libpcap.pcap_close(handle)


def attach_filter(sock: socket.socket, code: bytes) -> None:
    """Attach compiled instructions to a socket."""
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _KernelProgram(len(code) // _INSTRUCTION_SIZE, ctypes.addressof(buffer))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, bytes(program))


def can_attach(code: bytes) -> bool:
    """Return whether the kernel takes these instructions: they may be too many, or their compiled form too large."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            attach_filter(sock, code)
        except OSError:
            return False
    return True
