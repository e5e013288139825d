"""A server and a client for questions of time: who said what when, on one machine's monotonic clock.

Requests are lines `number size`. The server's reader notes when each arrives, and whether the answer to the one before
had been written whole by then; its writer answers with `size` bytes, or as told to differ. A client that is told so
takes any answer: it knows the online server, not the target's.
"""

from __future__ import annotations

import argparse
import json
import queue
import random
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from jsonlog import JsonLog, Tally


class Session:
    """One connection at the server."""

    def __init__(self, sock: socket.socket, options: argparse.Namespace) -> None:
        self._sock = sock
        self._options = options
        self._requests: queue.SimpleQueue[tuple[int, int]] = queue.SimpleQueue()
        self._written = 0
        self._tally = Tally()
        self._arrivals: list[float] = []
        self._early: list[int] = []

    def read(self, log: JsonLog) -> None:
        """Note requests until the client closes."""
        writer = threading.Thread(target=self._write, daemon=True)
        writer.start()
        end, rest = "eof", b""
        try:
            while octets := self._sock.recv(65536):
                now = time.monotonic()
                self._tally.add(octets)
                *lines, rest = (rest + octets).split(b"\n")
                for line in lines:
                    if self._written < len(self._arrivals):
                        self._early.append(len(self._arrivals))
                    self._arrivals.append(now)
                    number, size = map(int, line.split()[:2])
                    self._requests.put((number, size))
        except ConnectionError:
            end = "reset"
        self._requests.put((-1, 0))
        writer.join()
        self._sock.close()
        log.append(
            bytes=self._tally.bytes,
            sha256=self._tally.sha256,
            arrivals=self._arrivals,
            early=self._early,
            end=end,
        )

    def _write(self) -> None:
        """Answer one request after the other."""
        while (request := self._requests.get())[0] >= 0:
            number, size = request
            time.sleep(self._options.think_s)
            pieces = self._pieces(number, max(1, int(size * self._options.factor)))
            try:
                for place, piece in enumerate(pieces):
                    if place:
                        time.sleep(self._options.pause_s)
                    if place + 1 == len(pieces):
                        self._written += 1  # before the last octet goes out: the next request may come at once then
                    self._sock.sendall(piece)
            except OSError:
                return  # the session was reset

    def _pieces(self, number: int, size: int) -> list[bytes]:
        if self._options.silent:
            self._written += 1
            return []
        count = self._options.pieces
        if self._options.chunked:
            count = 1 + number % 3
            size += sum(len(f"{size // count:x}\r\n\r\n") for _ in range(count)) + len("0\r\n\r\n")
        step = max(1, -(-size // count))
        return [b"x" * min(step, size - at) for at in range(0, size, step)]


def serve(options: argparse.Namespace) -> None:
    """Serve until killed."""
    log = JsonLog(options.log)
    listener = socket.create_server(("", 1025), backlog=512)
    while True:
        sock, _ = listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=Session(sock, options).read, args=(log,), daemon=True).start()


def converse(options: argparse.Namespace, connection: int) -> dict[str, float]:
    """Send requests when their time has come and their predecessors are answered."""
    chooser = random.Random(f"pace:{connection}")
    with socket.create_connection(("192.168.50.10", 1025)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        started = due = time.monotonic()
        for number in range(options.requests):
            time.sleep(max(0.0, due - time.monotonic()))
            size = chooser.randint(1, options.size)
            sock.sendall(f"{number} {size} {'p' * chooser.randrange(options.padding)}\n".encode())
            while size > 0 and (got := len(sock.recv(65536))):
                size -= got
            due = due + 1 / options.per_second if options.per_second else time.monotonic() + think_s(options, chooser)
        ended = time.monotonic()
    return {"started": started, "ended": ended}


def think_s(options: argparse.Namespace, chooser: random.Random) -> float:
    """A client's time to think before its next request."""
    return chooser.uniform(options.think_min_s, options.think_max_s)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["server", "client"])
    parser.add_argument("--log")
    parser.add_argument("--think-s", type=float, default=0.0, help="time before an answer begins")
    parser.add_argument("--factor", type=float, default=1.0, help="length of an answer to what was asked for")
    parser.add_argument("--pieces", type=int, default=1, help="writes for one answer")
    parser.add_argument("--pause-s", type=float, default=0.0, help="time between these writes")
    parser.add_argument("--chunked", action="store_true", help="answer in chunks of other sizes")
    parser.add_argument("--silent", action="store_true", help="do not answer")
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--size", type=int, default=200, help="longest answer to ask for")
    parser.add_argument("--padding", type=int, default=1, help="longest padding of a request")
    parser.add_argument("--per-second", type=float, default=0.0)
    parser.add_argument("--think-min-s", type=float, default=0.0)
    parser.add_argument("--think-max-s", type=float, default=0.0)
    options = parser.parse_args()
    if options.role == "server":
        serve(options)
    with ThreadPoolExecutor(options.connections) as pool:
        print(
            json.dumps(
                {"results": list(pool.map(lambda number: converse(options, number), range(options.connections)))}
            )
        )


if __name__ == "__main__":
    main()
