"""Asks other hosts by ICMP: whether packets of full size get there, and what time they have."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from collections.abc import Callable
from ipaddress import ip_address

from ...errors import HostError
from ...wire import octets
from .result import Result, ok, skipped, warning

__all__ = ["check_clock", "check_path_mtu"]

_ECHO = {4: (8, 0), 6: (128, 129)}  # request and reply
_TIMESTAMP, _TIMESTAMP_REPLY = 13, 14
_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _PROBE = 10, 23, 3  # linux/in.h: DF is set, whatever is known of the path
_HEADERS = {4: 28, 6: 48}
_WAIT_S = 1.0
_SMALL = 64
_DAY_MS = 86_400_000
_MAX_OFFSET_S = 1.0
_NOT_STANDARD = 0x80000000  # RFC 792: the time is not in milliseconds since midnight UT


def check_path_mtu(address: str, mtu_bytes: int) -> Result:
    """Whether a packet of `mtu_bytes` gets to the host, and back; copy can live with less, at a price."""
    size = mtu_bytes - _HEADERS[ip_address(address).version]
    if not _echo(address, _SMALL):
        return skipped("mtu", "does not answer pings, so the path's MTU is not known", address)
    try:
        if _echo(address, size) or _echo(address, size):
            return ok("mtu", f"{mtu_bytes} bytes get there and back", address)
        seen = f"packets of {mtu_bytes} bytes are lost"
    except HostError as error:
        seen = f"packets of {mtu_bytes} bytes cannot be sent: {error}"
    cause = "a link on the path takes smaller packets only; copy finds that out, with a pause in each session at first"
    low, high = _SMALL, size
    while high - low > 1:
        middle = (low + high) // 2
        with contextlib.suppress(HostError):
            if _echo(address, middle, 0.3):
                low = middle
                continue
        high = middle
    largest = low + _HEADERS[ip_address(address).version]
    return warning("mtu", seen, cause, f"give copy -M {largest}, or raise the MTU of the path", address)


def check_clock(address: str) -> Result:
    """Whether the other host has the same time of day; for IPv4 only."""
    if ip_address(address).version == 6:
        return skipped("clock", "there is no way to ask over IPv6", address)
    sent = time.time()
    body = struct.pack("!III", _ms_of_day(sent), 0, 0)
    reply = _ask(address, _TIMESTAMP, _TIMESTAMP_REPLY, body, _WAIT_S)
    now = time.time()
    if len(reply) < 12:
        return skipped("clock", "does not say its time (ICMP timestamp)", address)
    received = struct.unpack_from("!I", reply, 4)[0]
    if received & _NOT_STANDARD:
        return skipped("clock", "does not say its time in UTC", address)
    return judge_clock(address, clock_offset_s(received, (sent + now) / 2))


def clock_offset_s(received_ms: int, now: float) -> float:
    """Return by how much a clock is ahead that showed so many milliseconds of the day at the time `now`, in UTC."""
    difference = (received_ms - _ms_of_day(now) + _DAY_MS // 2) % _DAY_MS - _DAY_MS // 2
    return difference / 1000


def judge_clock(address: str, offset_s: float) -> Result:
    """Return the result for a clock that is ahead of this host's."""
    if abs(offset_s) > _MAX_OFFSET_S:
        word = "ahead" if offset_s > 0 else "behind"
        seen = f"{abs(offset_s):,.1f} s {word}"
        cause = "the clocks differ: log lines of the hosts do not match, and certificates may not be valid yet"
        return warning("clock", seen, cause, "set the clocks by NTP on both hosts: timedatectl", address)
    return ok("clock", "the same time", address)


def _ms_of_day(now: float) -> int:
    return int(now * 1000) % _DAY_MS


def _echo(address: str, size: int, wait_s: float = _WAIT_S) -> bool:
    request, reply = _ECHO[ip_address(address).version]
    return bool(_ask(address, request, reply, os.urandom(8) + bytes(max(size - 8, 0)), wait_s))


def _ask(address: str, request: int, reply: int, body: bytes, wait_s: float) -> bytes:
    """Return the body of the answer, b"" if none comes; raises HostError if the request cannot be sent."""
    is_ipv4 = ip_address(address).version == 4
    identity = int.from_bytes(os.urandom(2), "big")
    try:
        with _socket(is_ipv4) as sock:
            message = bytearray(struct.pack("!BBHHH", request, 0, 0, identity, 1) + body)
            if is_ipv4:
                octets.put16(message, 2, octets.ones_sum(message, 0, len(message)) % 0xFFFF ^ 0xFFFF)
            sock.connect((address, 0))
            sock.send(message)
            return _receive(sock, is_ipv4, lambda answer: answer[0] == reply and answer[4:6] == message[4:6], wait_s)
    except PermissionError:
        raise HostError("needs CAP_NET_RAW; run it as root") from None
    except OSError as error:
        raise HostError(error.strerror or str(error)) from None


def _socket(is_ipv4: bool) -> socket.socket:
    if is_ipv4:
        sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PROBE)
    else:
        sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PROBE)
    return sock


def _receive(sock: socket.socket, is_ipv4: bool, fits: Callable[[bytes], bool], wait_s: float) -> bytes:
    deadline = time.monotonic() + wait_s
    while (rest_s := deadline - time.monotonic()) > 0:
        sock.settimeout(rest_s)
        try:
            data = sock.recv(1 << 16)
        except TimeoutError:
            break
        except OSError:
            continue  # an ICMP error about the path: no answer
        answer = data[(data[0] & 0x0F) << 2 :] if is_ipv4 else data
        if len(answer) >= 8 and fits(answer):
            return answer[8:]
    return b""
