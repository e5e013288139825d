"""Reads what the host says of itself: sysctls, `ip -json`. Changes nothing."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from ...errors import HostError

__all__ = [
    "LOOPBACK",
    "ip_json",
    "listening_addresses",
    "local_addresses",
    "output_of",
    "read_sysctl",
]

LOOPBACK = "lo"
_TIMEOUT_S = 10
_SEARCHED = "/usr/sbin:/sbin:/usr/bin:/bin"
_TCP_LISTEN = "0A"


def read_sysctl(name: str) -> int | None:
    """Return the number at /proc/sys/NAME; None if the kernel has none."""
    try:
        return int(Path("/proc/sys", name).read_text())
    except (OSError, ValueError):
        return None


def output_of(*command: str) -> str:
    """Return what a command prints; raises HostError if it is not there or fails."""
    path = shutil.which(command[0], path=_SEARCHED)
    if path is None:
        raise HostError(f"there is no command `{command[0]}`")
    try:
        done = subprocess.run(
            [path, *command[1:]], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostError(f"`{' '.join(command)}`: {error}") from None
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[0]
        raise HostError(reason.removeprefix("RTNETLINK answers: "))
    return done.stdout


def ip_json(*words: str) -> list[dict[str, Any]]:
    """Return what `ip -json WORDS` prints."""
    answer = json.loads(output_of("ip", "-json", *words) or "[]")
    return [entry for entry in answer if entry]


def local_addresses() -> dict[bytes, str]:
    """Return the host's packed addresses, and which interface each is on."""
    return {
        ip_address(address["local"]).packed: entry["ifname"]
        for entry in ip_json("address", "show")
        for address in entry.get("addr_info", [])
        if "local" in address
    }


def listening_addresses(port: int) -> list[str]:
    """Return the addresses at which something listens on a TCP port of this host."""
    found = []
    for name in ("tcp", "tcp6"):
        try:
            lines = Path("/proc/net", name).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            address, _, number = fields[1].rpartition(":")
            if fields[3] == _TCP_LISTEN and int(number, 16) == port:
                found.append(_decode(address))
    return found


def _decode(text: str) -> str:
    """Return an address of /proc/net/tcp, whose 32-bit words are in the host's byte order, as text."""
    words = struct.unpack(f"!{len(text) // 8}I", bytes.fromhex(text))
    return str(ip_address(struct.pack(f"={len(words)}I", *words)))
