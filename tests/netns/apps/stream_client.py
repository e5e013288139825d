"""Clients of stream_server.py and of the echo service, one way to open, speak and close for each mode."""

from __future__ import annotations

import argparse
import json
import random
import smtplib
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor

ONLINE = ("192.168.50.10", 1025)
BLOCK_BYTES = 1 << 20


def connect() -> socket.socket:
    sock = socket.create_connection(ONLINE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def read_all(sock: socket.socket) -> bytes:
    """Read until the server closes its direction."""
    return b"".join(iter(lambda: sock.recv(BLOCK_BYTES), b""))


def upload(options: argparse.Namespace, number: int) -> int:
    """Send so many bytes, of which no two blocks are equal, half-close and read the server's tally."""
    block = bytearray(random.Random(number).randbytes(BLOCK_BYTES))
    with connect() as sock:
        left = options.bytes
        while left:
            block[:8] = left.to_bytes(8, "big")
            sent = min(left, len(block))
            sock.sendall(memoryview(block)[:sent])
            left -= sent
        sock.shutdown(socket.SHUT_WR)
        assert int(read_all(sock).split()[0]) == options.bytes
    return options.bytes


def listen(options: argparse.Namespace, number: int) -> int:
    """Read all that the server says first, then send for a while into its half-closed connection."""
    with connect() as sock:
        got = len(read_all(sock))
        for turn in range(20):
            sock.sendall(random.Random(f"{number}:{turn}").randbytes(20_000))
            time.sleep(0.002)
    return got


def half_close(options: argparse.Namespace, number: int) -> int:
    """Send everything, half-close, and only then read the echo."""
    octets = random.Random(number).randbytes(150_000)
    with connect() as sock:
        sock.sendall(octets)
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == octets
    return len(octets)


def bytewise(options: argparse.Namespace, number: int) -> int:
    """Send one byte a packet, and read the echo of each tenth."""
    octets = random.Random(number).randbytes(400)
    with connect() as sock:
        for first in range(0, len(octets), 10):
            for octet in octets[first : first + 10]:
                sock.send(bytes([octet]))
            echo = b""
            while len(echo) < 10:
                echo += sock.recv(10 - len(echo))
            assert echo == octets[first : first + 10]
    return len(octets)


def lines(sock: socket.socket, number: int) -> None:
    """Say ten lines to the resetter and read its answers."""
    for turn in range(10):
        line = f"{number} {turn} {'x' * random.Random(turn * number).randrange(2000)}\n".encode()
        sock.sendall(line)
        answer = b""
        while not answer.endswith(b"\n"):
            answer += sock.recv(4096)
        assert answer == b"you said " + line


def reset(options: argparse.Namespace, number: int) -> int:
    """Converse, then reset the connection."""
    with connect() as sock:
        lines(sock, number)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return 1


def be_reset(options: argparse.Namespace, number: int) -> int:
    """Converse, then ask for a reset and get it."""
    with connect() as sock:
        lines(sock, number)
        sock.sendall(b"reset\n")
        try:
            sock.recv(1)
        except ConnectionResetError:
            return 1
    raise AssertionError("the server did not reset")


def smtp(options: argparse.Namespace, number: int) -> int:
    """Deliver three mails."""
    with smtplib.SMTP(*ONLINE, local_hostname="client.example.org") as mailer:
        for mail in range(3):
            body = "\n".join(f"line {i} of {mail}" for i in range(10 * number))
            mailer.sendmail("a@example.org", ["b@example.org", "c@example.org"], f"Subject: {number}\n\n{body}\n")
    return 3


def events(options: argparse.Namespace, number: int) -> int:
    """Read a server-sent event stream to its end."""
    with connect() as sock:
        sock.sendall(f"GET /events?{number} HTTP/1.1\r\nHost: online\r\nAccept: text/event-stream\r\n\r\n".encode())
        return read_all(sock).count(b"\ndata: ")


MODES = {mode.__name__: mode for mode in (upload, listen, half_close, bytewise, reset, be_reset, smtp, events)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=MODES)
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--bytes", type=int, default=0)
    options = parser.parse_args()
    started = time.monotonic()
    with ThreadPoolExecutor(options.connections) as pool:
        results = list(pool.map(lambda number: MODES[options.mode](options, number), range(options.connections)))
    print(json.dumps({"results": results, "seconds": round(time.monotonic() - started, 3)}))


if __name__ == "__main__":
    main()
