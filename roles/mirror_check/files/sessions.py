#!/usr/bin/env python3
"""Drive test sessions against echo services and verify every echoed byte.

Each session opens a connection, sends a random number of turns of random size, reads each turn's echo back
and compares it, half-closes and reads to the end. What a session sends depends only on the seed and the
session's number, so a run can be replayed. With several hosts or ports, each port of each host is a service, and
sessions go to the services in turn. Prints one JSON object; exits 1 when a session failed.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import itertools
import json
import random
import socket
import sys
import time
from dataclasses import dataclass

READ_SIZE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Plan:
    """What the run sends and where."""

    services: tuple[tuple[str, int], ...]
    """Address or name, and TCP port, of each service; session i goes to the one at i modulo their number."""
    sessions: int
    """How many sessions to drive."""
    concurrency: int
    """How many at once."""
    turns: int
    """At most this many turns in a session, at least one."""
    max_bytes: int
    """At most this many bytes in a turn, at least one."""
    seed: str
    """What the content depends on."""
    source_address: str
    """Local address to connect from; empty for any."""
    source_port_base: int
    """Session i connects from this port + i; 0 for any port."""
    hold_s: float
    """Stay open this long after the last turn."""
    turn_pause_s: float
    """Wait this long between turns."""
    timeout_s: float
    """A session taking longer than this failed."""


class SessionError(Exception):
    """A session's echo was not what it had sent."""


def content(plan: Plan, number: int) -> list[bytes]:
    """The turns of session `number`."""
    chooser = random.Random(f"{plan.seed}:{number}")
    return [chooser.randbytes(chooser.randint(1, plan.max_bytes)) for _ in range(chooser.randint(1, plan.turns))]


async def connect(plan: Plan, number: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open the connection of session `number`, from its own port when the plan gives one."""
    host, port = plan.services[number % len(plan.services)]
    if not plan.source_port_base and not plan.source_address:
        return await asyncio.open_connection(host, port)
    loop = asyncio.get_running_loop()
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((plan.source_address, plan.source_port_base + number if plan.source_port_base else 0))
        await loop.sock_connect(sock, address)
        return await asyncio.open_connection(sock=sock)
    except BaseException:
        sock.close()
        raise


async def expect_echo(reader: asyncio.StreamReader, sent: bytes, turn: int) -> None:
    """Read as many bytes as were sent and compare them as they come."""
    seen = 0
    while seen < len(sent):
        part = await reader.read(min(READ_SIZE, len(sent) - seen))
        if not part:
            raise SessionError(f"turn {turn}: closed after {seen} of {len(sent)} echoed bytes")
        if part != sent[seen : seen + len(part)]:
            raise SessionError(f"turn {turn}: echo differs between bytes {seen} and {seen + len(part)}")
        seen += len(part)


async def write_all(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


async def run_session(plan: Plan, number: int) -> tuple[int, str]:
    """Drive one session; returns how many bytes it sent and their SHA-256."""
    digest, total = hashlib.sha256(), 0
    reader, writer = await connect(plan, number)
    try:
        for turn, data in enumerate(content(plan, number), 1):
            if turn > 1 and plan.turn_pause_s:
                await asyncio.sleep(plan.turn_pause_s)
            await asyncio.gather(write_all(writer, data), expect_echo(reader, data, turn))
            digest.update(data)
            total += len(data)
        await asyncio.sleep(plan.hold_s)
        writer.write_eof()
        if extra := await reader.read(READ_SIZE):
            raise SessionError(f"{len(extra)} bytes more than were sent came back")
    finally:
        writer.close()
    return total, digest.hexdigest()


class Run:
    """All sessions of a plan, a few at a time."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._numbers = iter(range(plan.sessions))
        self.errors: list[str] = []
        self.multiset: list[tuple[int, str]] = []

    async def worker(self) -> None:
        for number in self._numbers:
            try:
                async with asyncio.timeout(self._plan.timeout_s):
                    self.multiset.append(await run_session(self._plan, number))
            except TimeoutError:
                self.errors.append(f"session {number}: not finished after {self._plan.timeout_s:g} s")
            except (OSError, SessionError) as error:
                self.errors.append(f"session {number}: {error}")

    async def run(self) -> None:
        await asyncio.gather(*(self.worker() for _ in range(min(self._plan.concurrency, self._plan.sessions))))


def parse_plan(arguments: list[str] | None = None) -> Plan:
    """The plan that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("host", nargs="+", help="address of an echo service")
    parser.add_argument("--port", action="append", type=int, help="its port (repeatable; 1025)")
    parser.add_argument("--sessions", type=int, default=100, help="how many (%(default)s)")
    parser.add_argument("--concurrency", type=int, default=20, help="how many at once (%(default)s)")
    parser.add_argument("--turns", type=int, default=10, help="at most this many turns a session (%(default)s)")
    parser.add_argument("--max-bytes", type=int, default=8192, help="at most this many a turn (%(default)s)")
    parser.add_argument("--seed", default=str(time.time_ns()), help="content depends on it (the time)")
    parser.add_argument("--source-address", default="", help="connect from this local address")
    parser.add_argument("--source-port-base", type=int, default=0, help="session i uses this port + i")
    parser.add_argument("--hold", type=float, default=0, dest="hold_s", help="stay open this many seconds")
    parser.add_argument("--turn-pause", type=float, default=0, dest="turn_pause_s", help="seconds between turns")
    parser.add_argument("--timeout", type=float, default=60, dest="timeout_s", help="a session's limit in seconds")
    options = vars(parser.parse_args(arguments))
    services = itertools.product(options.pop("host"), options.pop("port") or [1025])
    return Plan(services=tuple(services), **options)


def main() -> int:
    plan = parse_plan()
    run = Run(plan)
    started = time.monotonic()
    asyncio.run(run.run())
    result = {
        "sessions": plan.sessions,
        "completed": len(run.multiset),
        "errors": run.errors,
        "bytes": sum(size for size, _ in run.multiset),
        "seconds": round(time.monotonic() - started, 3),
        "seed": plan.seed,
        "multiset": sorted(run.multiset),
    }
    json.dump(result, sys.stdout, separators=(",", ":"))
    print()
    return 1 if run.errors else 0


if __name__ == "__main__":
    sys.exit(main())
