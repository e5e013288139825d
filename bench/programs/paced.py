"""HTTP requests at an even pace on connections that stay open, each with a number of its own in its path.

A connection whose last request has not been answered lets its turn pass. Prints one JSON object: how many requests
were answered, and how many turns passed.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import time


def connect(options: argparse.Namespace) -> list[socket.socket]:
    """Open all connections."""
    connections = []
    for _ in range(options.connections):
        sock = socket.create_connection((options.host, options.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        connections.append(sock)
    return connections


def run(options: argparse.Namespace) -> tuple[int, int]:
    """Send all requests; return how many were answered, and how many turns passed without one."""
    connections = connect(options)
    waiting: set[int] = set()
    poll = select.epoll()
    by_number = {sock.fileno(): sock for sock in connections}
    for number in by_number:
        poll.register(number, select.EPOLLIN)
    answered = passed = 0
    total = round(options.per_s * options.seconds)
    started = time.monotonic()
    for turn in range(total):
        while (left := started + turn / options.per_s - time.monotonic()) > 0 or not turn:
            for number, _ in poll.poll(max(0.0, left)):
                if not by_number[number].recv(65536):
                    raise OSError("the service has closed a connection")
                waiting.discard(number)
                answered += 1
            if not turn:
                break
        sock = connections[turn % len(connections)]
        if sock.fileno() in waiting:
            passed += 1
            continue
        sock.send(b"GET /%d HTTP/1.1\r\nHost: online\r\n\r\n" % turn)
        waiting.add(sock.fileno())
    return answered, passed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("host")
    parser.add_argument("--port", type=int, default=1025)
    parser.add_argument("--connections", type=int, default=10)
    parser.add_argument("--per-s", type=float, default=2000)
    parser.add_argument("--seconds", type=float, default=5)
    options = parser.parse_args()
    answered, passed = run(options)
    print(json.dumps({"answered": answered, "passed": passed}))


main()
