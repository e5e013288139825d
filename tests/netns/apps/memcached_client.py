"""A memcached client in the text protocol; each connection works on keys of its own, so order cannot matter.

`load` drives several connections against the online host; `dump` prints a server's counters and all values.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO

KEYS = 40
COUNTERS = ("cmd_get", "cmd_set", "get_hits", "get_misses", "incr_hits", "incr_misses", "delete_hits", "delete_misses")
COUNTERS += ("bytes_read", "bytes_written", "curr_items", "bytes")
"""Not total_items: an append counts there or not, depending on whether an answer still holds the old value."""


def command(chooser: random.Random, connection: int) -> tuple[bytes, bytes]:
    """One command, and how its answer ends."""
    key = b"c%d-%d" % (connection, chooser.randrange(KEYS))
    counter = b"n%d-%d" % (connection, chooser.randrange(KEYS))
    value = chooser.randbytes(chooser.choice((1, 10, 100, 5000))).hex().encode()
    return chooser.choice(
        (
            (b"set %s 7 0 %d\r\n%s\r\n" % (key, len(value), value), b"\r\n"),
            (b"append %s 0 0 %d\r\n%s\r\n" % (key, 3, b"end"), b"\r\n"),
            (b"set %s 0 0 2 noreply\r\n40\r\n" % counter, b""),
            (b"incr %s 5\r\n" % counter, b"\r\n"),
            (b"get %s %s\r\n" % (key, counter), b"END\r\n"),
            (b"delete %s\r\n" % key, b"\r\n"),
        )
    )


def read_until(reader: BinaryIO, end: bytes) -> list[bytes]:
    """Read lines up to the one that ends the answer; values hold no line ends."""
    lines = [reader.readline()]
    while lines[-1] != end and end == b"END\r\n":
        lines.append(reader.readline())
        assert lines[-1], "cut off"
    return lines


def load(options: argparse.Namespace, connection: int) -> int:
    """Send a connection's commands, several at once when pipelined."""
    chooser = random.Random(f"memcached:{connection}")
    with socket.create_connection((options.host, 1025)) as sock, sock.makefile("rb") as reader:
        for _ in range(0, options.commands, options.depth):
            batch = [command(chooser, connection) for _ in range(options.depth)]
            sock.sendall(b"".join(words for words, _ in batch))
            for _, end in batch:
                if end:
                    read_until(reader, end)
    return options.commands


def dump(options: argparse.Namespace) -> dict[str, object]:
    """The server's counters, and all values of all connections."""
    values = {}
    with socket.create_connection((options.host, 1025)) as sock, sock.makefile("rb") as reader:
        sock.sendall(b"stats\r\n")
        lines = [line.decode().split() for line in read_until(reader, b"END\r\n")]
        counters = {line[1]: line[2] for line in lines if line[0] == "STAT" and line[1] in COUNTERS}
        for key in (f"{kind}{c}-{k}" for kind in "cn" for c in range(options.connections) for k in range(KEYS)):
            sock.sendall(b"get %s\r\n" % key.encode())
            values[key] = b"".join(read_until(reader, b"END\r\n")).decode()
    return {"counters": counters, "values": values}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["load", "dump"])
    parser.add_argument("--host", default="192.168.50.10")
    parser.add_argument("--connections", type=int, default=10)
    parser.add_argument("--commands", type=int, default=400)
    parser.add_argument("--depth", type=int, default=1)
    options = parser.parse_args()
    if options.what == "dump":
        print(json.dumps(dump(options)))
        return
    with ThreadPoolExecutor(options.connections) as pool:
        done = sum(pool.map(lambda number: load(options, number), range(options.connections)))
    print(json.dumps({"commands": done}))


if __name__ == "__main__":
    main()
