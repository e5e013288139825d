"""Passes Ethernet frames between two interfaces and loses, doubles, delays or damages some of a TCP service's packets.

    impairment.py HOST_SIDE SWITCH_SIDE [--to-host loss=0.01,duplicate=0.02,reorder=0.05,hold_ms=4] [--to-switch …]

Only TCP packets of the service's ports are impaired; ARP, neighbour discovery and all else pass untouched. The choices
depend on the seed. --host-tag puts an 802.1Q tag on what goes out on the host's side; received tags are removed by the
kernel. Prints `ready`, and at SIGTERM one JSON object with what was done in each direction.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import select
import signal
import socket
import struct
import sys
import time
from collections import Counter
from dataclasses import dataclass

SOL_PACKET, PACKET_STATISTICS, PACKET_IGNORE_OUTGOING = 263, 6, 23
SO_RCVBUFFORCE = 33
ETH_P_ALL = 3
BUFFER_BYTES = 32 << 20
FRAME_BYTES = 1 << 17
BATCH = 32


@dataclass(frozen=True)
class Settings:
    """How often a packet of the service is impaired, 0 to 1."""

    loss: float = 0.0
    duplicate: float = 0.0
    corrupt: float = 0.0
    """A bit of the last octet is flipped, so that the checksum is wrong."""
    reorder: float = 0.0
    hold_ms: float = 4.0
    """How long a packet to be reordered is held back."""

    @classmethod
    def parse(cls, text: str) -> Settings:
        return cls(**{key: float(value) for key, value in (item.split("=") for item in text.split(",") if item)})


def service_flow(frame: bytes, ports: frozenset[int]) -> bytes | None:
    """Return what identifies the connection of a TCP packet from or to one of the ports; None for other packets."""
    kind = frame[12:14]
    if kind == b"\x08\x00" and frame[23] == socket.IPPROTO_TCP:
        start, addresses = 14 + (frame[14] & 15) * 4, frame[26:34]
    elif kind == b"\x86\xdd" and frame[20] == socket.IPPROTO_TCP:
        start, addresses = 54, frame[22:54]
    else:
        return None
    source, destination = struct.unpack_from("!HH", frame, start)
    return addresses + frame[start : start + 4] if source in ports or destination in ports else None


class Direction:
    """One way through: what comes in on one socket and goes out on the other."""

    def __init__(self, settings: Settings, ports: frozenset[int], seed: str, tag: int) -> None:
        self._settings = settings
        self._ports = ports
        self._chooser = random.Random(seed)
        self._tag = struct.pack("!HH", 0x8100, tag) if tag else b""
        self._held: list[tuple[float, int, bytes, bytes, int]] = []
        self._passed: Counter[bytes] = Counter()
        self.counts: Counter[str] = Counter()

    def take(self, frame: bytes, out: socket.socket, now: float) -> None:
        """Pass a frame on, or not, or twice, or later."""
        flow = service_flow(frame, self._ports)
        if flow is None:
            self.counts["untouched"] += 1
            self._send(frame, out)
            return
        self.counts["packets"] += 1
        choose, settings = self._chooser.random, self._settings
        if choose() < settings.loss:
            self.counts["lost"] += 1
            return
        if choose() < settings.duplicate:
            self.counts["duplicated"] += 1
            self._send(frame, out)
        if choose() < settings.corrupt:
            self.counts["corrupted"] += 1
            frame = frame[:-1] + bytes([frame[-1] ^ 1])
        if choose() < settings.reorder:
            self.counts["held"] += 1
            due = now + settings.hold_ms / 1000
            heapq.heappush(self._held, (due, self.counts["held"], frame, flow, self._passed[flow]))
            return
        self._passed[flow] += 1
        self._send(frame, out)

    def next_timer(self) -> float | None:
        """Return when the next held packet is due."""
        return self._held[0][0] if self._held else None

    def release(self, out: socket.socket, now: float) -> None:
        """Send held packets that are due; one that others of its connection have passed was reordered."""
        while self._held and self._held[0][0] <= now:
            _, _, frame, flow, passed = heapq.heappop(self._held)
            self.counts["reordered"] += self._passed[flow] > passed
            self._send(frame, out)

    def _send(self, frame: bytes, out: socket.socket) -> None:
        if self._tag:
            frame = frame[:12] + self._tag + frame[12:]
        try:
            out.send(frame)
        except OSError:
            self.counts["send_errors"] += 1


def open_socket(interface: str) -> socket.socket:
    """Return a packet socket for all that arrives at an interface."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
    sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    sock.setblocking(False)
    sock.bind((interface, ETH_P_ALL))
    return sock


def pass_frames(sides: list[socket.socket], directions: list[Direction]) -> None:
    """Pass frames both ways for ever; directions[i] leads from sides[i] to the other."""
    poll = select.poll()
    for sock in sides:
        poll.register(sock, select.POLLIN)
    while True:
        timers = [due for direction in directions if (due := direction.next_timer()) is not None]
        poll.poll(max(0, min(timers) - time.monotonic()) * 1000 if timers else None)
        now = time.monotonic()
        for index, direction in enumerate(directions):
            out = sides[1 - index]
            direction.release(out, now)
            try:
                for _ in range(BATCH):
                    direction.take(sides[index].recv(FRAME_BYTES), out, now)
            except (BlockingIOError, ConnectionError):
                continue


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("host_side", help="interface towards the host")
    parser.add_argument("switch_side", help="interface towards the network")
    parser.add_argument("--to-host", type=Settings.parse, default=Settings(), help="impairments towards the host")
    parser.add_argument("--to-switch", type=Settings.parse, default=Settings(), help="impairments from the host")
    parser.add_argument("--port", type=int, action="append", help="TCP ports to impair (1025)")
    parser.add_argument("--seed", default="1", help="the choices depend on it (%(default)s)")
    parser.add_argument("--host-tag", type=int, default=0, help="VLAN tag for frames sent to the host (none)")
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    ports = frozenset(options.port or [1025])
    sides = [open_socket(options.host_side), open_socket(options.switch_side)]
    to_switch = Direction(options.to_switch, ports, f"{options.seed}:switch", 0)
    to_host = Direction(options.to_host, ports, f"{options.seed}:host", options.host_tag)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print("ready", flush=True)
    try:
        pass_frames(sides, [to_switch, to_host])
    finally:
        for sock, direction in zip(sides, (to_switch, to_host), strict=True):
            direction.counts["dropped"] = struct.unpack("II", sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1]
        print(json.dumps({"to_switch": to_switch.counts, "to_host": to_host.counts}), flush=True)


if __name__ == "__main__":
    main()
