"""Echo every octet, check that it is the right one of its session, and log each session's end as a JSON line.

A line says how many octets were read, at which one the stream was wrong (-1: none), and whether it ended with a FIN
(eof), with an RST (reset) or with this server (shutdown). Times are of the monotonic clock.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import struct
import time
from pathlib import Path

from verified_stream import Verifier

NO_LINGER = struct.pack("ii", 1, 0)


class Session(asyncio.Protocol):
    """One connection."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._verifier = Verifier()
        self._opened = time.monotonic()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._peer = transport.get_extra_info("peername")
        self._server.sessions.add(self)

    def data_received(self, data: bytes) -> None:
        self._verifier.feed(data)
        self._transport.write(data)

    def pause_writing(self) -> None:
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._transport.resume_reading()

    def eof_received(self) -> bool:
        self._transport.close()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self._server.sessions:
            self.finish("eof" if exc is None else "reset")

    def finish(self, end: str) -> None:
        """Log the session."""
        self._server.sessions.discard(self)
        verifier = self._verifier
        record = {
            "id": verifier.session,
            "bytes": verifier.size,
            "corrupt_at": verifier.corrupt_at,
            "end": end,
            "peer": list(self._peer[:2]),
            "opened": self._opened,
            "ended": time.monotonic(),
        }
        os.write(self._server.log, json.dumps(record).encode() + b"\n")

    def shut_down(self, with_reset: bool) -> None:
        """Log the session as cut off, and close or reset the connection."""
        self.finish("shutdown")
        if with_reset:
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        self._transport.abort()


class Server:
    """Listens, and keeps the open sessions."""

    def __init__(self, log: Path) -> None:
        self.log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self.sessions: set[Session] = set()

    async def run(self, port: int) -> None:
        """Serve until SIGTERM, which closes the open sessions, or SIGHUP, which resets them."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[bool] = loop.create_future()
        loop.add_signal_handler(signal.SIGTERM, ended.set_result, False)
        loop.add_signal_handler(signal.SIGHUP, ended.set_result, True)
        listener = await loop.create_server(lambda: Session(self), None, port, backlog=1024)
        with_reset = await ended
        listener.close()
        for session in list(self.sessions):
            session.shut_down(with_reset)


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--log", type=Path, required=True)
    options = parser.parse_args()
    asyncio.run(Server(options.log).run(options.port))


if __name__ == "__main__":
    main()
