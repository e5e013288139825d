"""An HTTP/1.1 client: keep-alive, pipelined or chunked requests on several connections, each answer read whole.

What it sends depends only on the seed. Prints how many answers of which status it got.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO


def request(mode: str, chooser: random.Random, connection: int, number: int) -> bytes:
    """One request; each has a URI of its own."""
    uri = f"/c{connection}/r{number}"
    if mode == "download":
        return b"GET /files/big HTTP/1.1\r\nHost: online\r\n\r\n"
    if mode == "get" or (mode == "pipelined" and chooser.random() < 0.5):
        return f"GET /page{uri} HTTP/1.1\r\nHost: online\r\n\r\n".encode()
    body = chooser.randbytes(chooser.randint(1, 30_000))
    head = f"POST /body{uri} HTTP/1.1\r\nHost: online\r\n"
    if mode != "chunked":
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    chunks = []
    while body:
        size = chooser.randint(1, 4000)
        chunks.append(b"%x\r\n%s\r\n" % (len(body[:size]), body[:size]))
        body = body[size:]
    return f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + b"".join(chunks) + b"0\r\n\r\n"


def read_answer(reader: BinaryIO) -> int:
    """Read one response to its end and return its status."""
    status = int(reader.readline().split()[1])
    length, chunked = 0, False
    while (line := reader.readline().strip().lower()) != b"":
        length = int(line.split()[1]) if line.startswith(b"content-length:") else length
        chunked = chunked or line == b"transfer-encoding: chunked"
    while chunked and (size := int(reader.readline(), 16)):
        assert len(reader.read(size + 2)) == size + 2
    if chunked:
        reader.readline()
    while length:
        got = len(reader.read(min(length, 1 << 20)))
        assert got, "the response was cut off"
        length -= got
    return status


def converse(options: argparse.Namespace, connection: int) -> Counter[int]:
    """Send a connection's requests, so many at once, and read the answers."""
    chooser = random.Random(f"{options.mode}:{connection}")
    answers: Counter[int] = Counter()
    with socket.create_connection((options.host, 1025)) as sock, sock.makefile("rb") as reader:
        for first in range(0, options.requests, options.depth):
            numbers = range(first, min(first + options.depth, options.requests))
            sock.sendall(b"".join(request(options.mode, chooser, connection, number) for number in numbers))
            answers.update(read_answer(reader) for _ in numbers)
    return answers


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=["get", "post", "pipelined", "chunked", "download"])
    parser.add_argument("--host", default="192.168.50.10")
    parser.add_argument("--connections", type=int, default=10)
    parser.add_argument("--requests", type=int, default=50)
    parser.add_argument("--depth", type=int, default=1, help="requests sent before the first answer is read")
    options = parser.parse_args()
    with ThreadPoolExecutor(options.connections) as pool:
        results = list(pool.map(lambda number: converse(options, number), range(options.connections)))
    print(json.dumps({"answers": sum(results, Counter())}))


if __name__ == "__main__":
    main()
