#!/usr/bin/env python3
"""Echo every byte back, and log what each session sent as one JSON line.

A session's line says how many bytes the client sent and their SHA-256, so two servers' logs show whether
they read the same bytes. Standard library only; memory is bounded by pausing a session's reads while its
client is not reading.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

BACKLOG = 1024
WRITE_HIGH_WATER = 256 * 1024
KEEPALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4))


class SessionLog:
    """Appends JSON lines to a file, each in one write; keeps one older file when it grows too large."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._open()

    def _open(self) -> None:
        self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._size = os.fstat(self._fd).st_size

    def append(self, record: dict[str, object]) -> None:
        """Write one line."""
        line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        if self._max_bytes and self._size + len(line) > self._max_bytes:
            os.close(self._fd)
            self._path.replace(self._path.with_name(self._path.name + ".1"))
            self._open()
        os.write(self._fd, line)
        self._size += len(line)


class EchoSession(asyncio.Protocol):
    """One client connection."""

    def __init__(self, server: EchoServer) -> None:
        self._server = server
        self._digest = hashlib.sha256()
        self._received = 0
        self._opened = time.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
        self._peer = transport.get_extra_info("peername")
        self._local = transport.get_extra_info("sockname")
        self._server.sessions.add(self)

    def data_received(self, data: bytes) -> None:
        self._digest.update(data)
        self._received += len(data)
        self._transport.write(data)

    def pause_writing(self) -> None:
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._transport.resume_reading()

    def eof_received(self) -> bool:
        # close() still flushes what is to be echoed before it sends our FIN.
        self._transport.close()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self._server.sessions:
            self.finish("eof" if exc is None else "reset")

    def finish(self, end: str) -> None:
        """Log the session; `end` is eof, reset or shutdown."""
        self._server.sessions.discard(self)
        self._server.log.append(
            {
                "time": round(time.time(), 6),
                "opened": round(self._opened, 6),
                "peer": self._peer[0].removeprefix("::ffff:"),
                "peer_port": self._peer[1],
                "local_port": self._local[1],
                "bytes": self._received,
                "sha256": self._digest.hexdigest(),
                "end": end,
            }
        )

    def shut_down(self) -> None:
        """Log the session as cut off by this server's end and drop the connection."""
        self.finish("shutdown")
        self._transport.abort()


class EchoServer:
    """Listens, keeps the open sessions, ends on SIGTERM or SIGINT."""

    def __init__(self, log: SessionLog) -> None:
        self.log = log
        self.sessions: set[EchoSession] = set()

    async def run(self, hosts: list[str] | None, ports: list[int]) -> None:
        """Serve on all ports until a signal asks to end."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ended.set)
        listeners = [
            await loop.create_server(lambda: EchoSession(self), hosts, port, backlog=BACKLOG) for port in ports
        ]
        notify_ready()
        await ended.wait()
        for listener in listeners:
            listener.close()
        for session in list(self.sessions):
            session.shut_down()


def notify_ready() -> None:
    """Tell systemd that the port is open, when systemd asked to be told."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect("\0" + address[1:] if address.startswith("@") else address)
        sock.send(b"READY=1")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bind", action="append", metavar="ADDRESS", help="listen here only (repeatable; all)")
    parser.add_argument("--port", action="append", type=int, help="TCP port (repeatable; 1025)")
    parser.add_argument("--log", type=Path, default=Path("sessions.jsonl"), help="JSON lines go here")
    parser.add_argument("--log-max-bytes", type=int, default=64 << 20, help="then keep it as .1 (0: never)")
    return parser.parse_args()


def main() -> int:
    options = parse_arguments()
    try:
        server = EchoServer(SessionLog(options.log, options.log_max_bytes))
        asyncio.run(server.run(options.bind, options.port or [1025]))
    except OSError as error:
        print(f"echo_server: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
