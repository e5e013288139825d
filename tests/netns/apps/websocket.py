"""A WebSocket echo service that also speaks by itself, and its clients."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
from typing import Any

from jsonlog import JsonLog, Tally
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, ConnectionClosedError

MESSAGES = 40


async def serve_forever(options: argparse.Namespace) -> None:
    """Echo messages, tell each client a number now and then, and log what every connection sent."""
    log = JsonLog(options.log)

    async def converse(socket: ServerConnection) -> None:
        tally, messages, end = Tally(), 0, "closed"
        ticker = asyncio.create_task(tick(socket))
        try:
            async for message in socket:
                messages += 1
                tally.add(message.encode() if isinstance(message, str) else message)
                with contextlib.suppress(ConnectionClosed):  # a client that closes does not wait for every answer
                    await socket.send(message)
        except ConnectionClosedError:
            end = "cut off"
        ticker.cancel()
        path = socket.request.path if socket.request else ""
        log.append(path=path, messages=messages, bytes=tally.bytes, sha256=tally.sha256, end=end)

    async with serve(converse, "", 1025, ping_interval=None, max_size=None) as server:
        await server.serve_forever()


async def tick(socket: ServerConnection) -> None:
    """Speak without being asked."""
    for number in range(1000):
        await asyncio.sleep(0.02)
        await socket.send(f"tick {number}")


async def converse(number: int) -> int:
    """Send messages of both kinds and many sizes; wait for each one's echo."""
    chooser = random.Random(number)
    echoes = 0
    async with connect(f"ws://192.168.50.10:1025/{number}", ping_interval=None, max_size=None) as socket:
        for _ in range(MESSAGES):
            octets = chooser.randbytes(chooser.choice((1, 100, 20_000)))
            message: Any = octets if chooser.random() < 0.5 else octets.hex()
            await socket.send(message)
            while str(got := await socket.recv()).startswith("tick "):
                pass
            assert got == message
            echoes += 1
            await asyncio.sleep(0.01 * chooser.random())
    return echoes


async def drive(connections: int) -> list[int]:
    """Have several conversations at once."""
    return await asyncio.gather(*(converse(number) for number in range(connections)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["server", "client"])
    parser.add_argument("--log")
    parser.add_argument("--connections", type=int, default=20)
    options = parser.parse_args()
    if options.role == "server":
        asyncio.run(serve_forever(options))
    else:
        print(json.dumps({"results": asyncio.run(drive(options.connections))}))


if __name__ == "__main__":
    main()
