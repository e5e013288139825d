"""Opens very many connections, waits for SIGUSR1, then has each of them ask once and close.

They come from several addresses of this host, which share one interface.
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import sys
import time
from collections.abc import Iterator


def receive(sock: socket.socket, size: int) -> bytes:
    """Read exactly so many bytes."""
    octets = b""
    while len(octets) < size and (got := sock.recv(size - len(octets))):
        octets += got
    return octets


def paced(count: int, per_second: float) -> Iterator[int]:
    """Count no faster than that."""
    started = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, started + number / per_second - time.monotonic()))
        yield number


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--per-second", type=float, default=2500)
    parser.add_argument("--sources", required=True, help="addresses, separated by commas")
    options = parser.parse_args()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    sources = options.sources.split(",")
    open_sockets = [
        socket.create_connection(("192.168.50.10", 1025), source_address=(sources[number % len(sources)], 0))
        for number in paced(options.connections, options.per_second)
    ]
    print("open", flush=True)
    signal.sigwait({signal.SIGUSR1})
    for number in paced(options.connections, options.per_second):
        sock = open_sockets[number]
        request = f"request {number}\n".encode()
        sock.sendall(request)
        if receive(sock, len(request)) != request:
            sys.exit(f"connection {number} was not answered")
        sock.close()
    print(json.dumps({"answered": len(open_sockets)}))


if __name__ == "__main__":
    main()
