"""Clients that go on until SIGTERM: short sessions one after the other, and long ones that last the whole time.

A session's number is the time at which it was opened, in nanoseconds of the monotonic clock. Each session that has
ended is printed as one JSON line, with the start and the latency of every request (the connecting is the first) and
with what went wrong, if anything did. Each echoed octet is compared. Some sessions end with an RST instead of a FIN.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import signal
import socket
import struct
import time

from verified_stream import octets

NO_LINGER = struct.pack("ii", 1, 0)
TIMEOUT_S = 30.0


class Signals:
    """SIGTERM: come to an end. SIGUSR1: the long sessions send their next turn now."""

    def __init__(self) -> None:
        self.stopping = False
        self.told = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._tell, True)
        loop.add_signal_handler(signal.SIGUSR1, self._tell, False)

    def _tell(self, stopping: bool) -> None:
        self.stopping = self.stopping or stopping
        self.told.set()
        if not self.stopping:
            self.told.clear()


class Client:
    """One session."""

    def __init__(self, options: argparse.Namespace, signals: Signals) -> None:
        self._options = options
        self._signals = signals
        self.number = time.monotonic_ns()
        self.size = 0
        self.port = 0
        self.requests: list[tuple[float, float]] = []

    async def run(self, kind: str, resets: bool) -> None:
        """Drive the session and print what came of it."""
        error = ""
        try:
            await self._run(kind, resets)
        except (OSError, EOFError, TimeoutError, ValueError) as failure:
            error = repr(failure)
        record = {
            "id": self.number,
            "kind": kind,
            "port": self.port,
            "bytes": self.size,
            "end": "reset" if resets else "eof",
            "opened": self.number / 1e9,
            "ended": time.monotonic(),
            "error": error,
            "requests": self.requests,
        }
        print(json.dumps(record), flush=True)

    async def _run(self, kind: str, resets: bool) -> None:
        options = self._options
        started = time.monotonic()
        async with asyncio.timeout(TIMEOUT_S):
            reader, writer = await asyncio.open_connection(options.host, options.port)
        self.requests.append((started, time.monotonic() - started))
        self.port = writer.get_extra_info("sockname")[1]
        try:
            if kind == "long":
                await self._long_turns(reader, writer)
            else:
                await self._short_turns(reader, writer)
            if not resets:
                writer.write_eof()
                async with asyncio.timeout(TIMEOUT_S):
                    if await reader.read(1):
                        raise ValueError("more came back than was sent")
        finally:
            if resets:
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            writer.close()

    async def _short_turns(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        chooser = random.Random(self.number)
        for turn in range(chooser.randint(1, self._options.turns)):
            if turn:
                await asyncio.sleep(self._options.turn_pause)
            await self._turn(reader, writer, chooser.randint(8, self._options.max_bytes))

    async def _long_turns(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await self._turn(reader, writer, self._options.long_bytes)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._options.long_pause):
                    await self._signals.told.wait()
            if self._signals.stopping:
                break
        for _ in range(self._options.last_turns):
            await self._turn(reader, writer, self._options.long_bytes)

    async def _turn(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, size: int) -> None:
        data = octets(self.number, self.size, size)
        started = time.monotonic()
        async with asyncio.timeout(TIMEOUT_S):
            writer.write(data)
            echo = await reader.readexactly(size)
        self.requests.append((started, time.monotonic() - started))
        self.size += size
        if echo != data:
            raise ValueError("the echo differs")


async def short_sessions(options: argparse.Namespace, signals: Signals) -> None:
    """Drive one short session after the other."""
    number = 0
    while not signals.stopping:
        number += 1
        await Client(options, signals).run("short", resets=number % options.reset_every == 0)
        await asyncio.sleep(options.turn_pause)


async def run(options: argparse.Namespace) -> None:
    """Drive everything until SIGTERM."""
    signals = Signals()
    clients = [
        Client(options, signals).run("long", resets=options.long_resets and number % 2 == 0)
        for number in range(options.long)
    ]
    await asyncio.gather(*clients, *(short_sessions(options, signals) for _ in range(options.short)))


def main() -> None:
    """Drive the sessions that the command line asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("--port", type=int, default=1025)
    parser.add_argument("--short", type=int, default=4, help="short sessions at a time")
    parser.add_argument("--long", type=int, default=5, help="long sessions")
    parser.add_argument("--turns", type=int, default=4, help="at most this many in a short session")
    parser.add_argument("--max-bytes", type=int, default=6000, help="at most this many in one of its turns")
    parser.add_argument("--turn-pause", type=float, default=0.02)
    parser.add_argument("--reset-every", type=int, default=10, help="each so many-th short session ends with an RST")
    parser.add_argument("--long-pause", type=float, default=0.1)
    parser.add_argument("--long-bytes", type=int, default=700)
    parser.add_argument("--long-resets", action="store_true", help="every second long session ends with an RST")
    parser.add_argument("--last-turns", type=int, default=1, help="turns of a long session after SIGTERM")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
