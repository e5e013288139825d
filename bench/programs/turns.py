"""Sessions of so many turns with an echo service: each turn is sent when the echo of the last has arrived.

Prints one JSON object: how many sessions ended as they should, and how long all of it took.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time


async def session(options: argparse.Namespace, number: int) -> None:
    """Hold one session; raises OSError or ValueError if it does not go as it should."""
    chooser = random.Random(f"turns:{number}")
    reader, writer = await asyncio.open_connection(options.host, options.port)
    try:
        for _ in range(options.turns):
            octets = chooser.randbytes(chooser.randint(1, options.max_bytes))
            writer.write(octets)
            if await reader.readexactly(len(octets)) != octets:
                raise ValueError("another echo than what was sent")
            await asyncio.sleep(options.pause_s)
        writer.write_eof()
        if await reader.read():
            raise ValueError("more came back than was sent")
    finally:
        writer.close()


async def run(options: argparse.Namespace) -> int:
    """Hold all sessions, `concurrency` at a time; return how many went well."""
    numbers = iter(range(options.sessions))
    went_well = 0

    async def worker() -> None:
        nonlocal went_well
        for number in numbers:
            await session(options, number)
            went_well += 1

    await asyncio.gather(*(worker() for _ in range(options.concurrency)))
    return went_well


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("host")
    parser.add_argument("--port", type=int, default=1025)
    parser.add_argument("--sessions", type=int, default=300)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--concurrency", type=int, default=50)
    parser.add_argument("--max-bytes", type=int, default=1400)
    parser.add_argument("--pause-s", type=float, default=0.01)
    options = parser.parse_args()
    started = time.monotonic()
    sessions = asyncio.run(run(options))
    print(json.dumps({"sessions": sessions, "seconds": round(time.monotonic() - started, 3)}))


main()
