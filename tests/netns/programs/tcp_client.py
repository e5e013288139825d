"""Clients with TCP's rarer habits, for tcp_server.py; `tcp_client.py NAME [FILE]` plays one."""

from __future__ import annotations

import random
import socket
import struct
import sys
import time
from pathlib import Path

SERVER = ("192.168.50.10", 1026)
TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ = 19, 20, 21
SEND_QUEUE = 2
DATA = random.Random(7).randbytes(3_000_000)


def connect(local_port: int = 0, address: str = "0.0.0.0", sock: socket.socket | None = None) -> socket.socket:
    """Open a connection, from a port that may just have been used."""
    sock = sock or socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.bind((address, local_port))
    sock.settimeout(30)
    sock.connect(SERVER)
    return sock


def exchange(sock: socket.socket, data: bytes) -> None:
    """Send, and read as much back."""
    sock.sendall(data)
    left = len(data)
    while left:
        left -= len(sock.recv(left)) or sys.exit("the server closed")


def finish(sock: socket.socket) -> None:
    """Close in order."""
    sock.shutdown(socket.SHUT_WR)
    while sock.recv(1 << 16):
        pass
    sock.close()


def reset(sock: socket.socket) -> None:
    """Close with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def plain() -> None:
    """A few turns."""
    sock = connect()
    for size in (1, 1460, 5000, 40_000):
        exchange(sock, DATA[:size])
    finish(sock)


def upload() -> None:
    """Three megabytes at once, without looking at the answer."""
    sock = connect()
    sock.sendall(DATA)
    finish(sock)


def wrap() -> None:
    """Numbers that pass 2**32 after a thousand octets."""
    sock = socket.socket()
    sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_QUEUE, SEND_QUEUE)
    sock.setsockopt(socket.IPPROTO_TCP, TCP_QUEUE_SEQ, struct.pack("I", 2**32 - 1000))
    sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 0)
    connect(sock=sock)
    for size in (10, 980, 20, 5000):
        exchange(sock, DATA[:size])
    finish(sock)


def keep_alive() -> None:
    """Idle with keep-alive probes between two turns."""
    sock = connect()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL):
        sock.setsockopt(socket.IPPROTO_TCP, option, 1)
    exchange(sock, DATA[:100])
    time.sleep(2.5)
    exchange(sock, DATA[:100])
    finish(sock)


def urgent() -> None:
    """Urgent octets at the beginning, in the middle and at the end of what is sent."""
    sock = connect()
    exchange(sock, b"begin")
    for octet, data in ((b"!", b"after the first"), (b"?", DATA[:4000]), (b"#", b"last")):
        sock.send(octet, socket.MSG_OOB)
        time.sleep(0.05)  # urgent octets that come closer together than the server reads overwrite each other
        sock.sendall(data)
        time.sleep(0.05)
    sock.send(b"end", socket.MSG_OOB)
    finish(sock)


def fast_open() -> None:
    """Data with the SYN: the first connection gets a cookie, the others use it."""
    for size in (10, 400, 1300):
        sock = socket.socket()
        sent = sock.sendto(DATA[:size], socket.MSG_FASTOPEN, SERVER)
        sock.sendall(DATA[sent:size])
        finish(sock)


def reuse() -> None:
    """One port again and again; the connections end with RST, so that the port is free at once."""
    for size in range(1, 40):
        sock = connect(45_000)
        exchange(sock, DATA[: size * 100])
        reset(sock)


def same_port() -> None:
    """The same port on many addresses, which a small client network cannot tell apart by address."""
    socks = [connect(45_100, f"192.168.50.{last}") for last in range(210, 230)]
    for sock in socks:
        exchange(sock, DATA[: 1000 + socks.index(sock)])
    for sock in socks:
        finish(sock)


def wait_for_go() -> None:
    """Say that the connection is open, and wait until the file that the command line names exists."""
    print("open", flush=True)
    while not Path(sys.argv[2]).exists():
        time.sleep(0.01)


def closing() -> None:
    """Close when the server has closed, too, and its FIN has not come."""
    sock = connect()
    exchange(sock, DATA[:1000])
    wait_for_go()
    finish(sock)


def midstream() -> None:
    """A turn now, and five more later."""
    sock = connect()
    exchange(sock, DATA[:1000])
    wait_for_go()
    for turn in range(1, 6):
        exchange(sock, DATA[: turn * 1000])
        time.sleep(0.05)
    finish(sock)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
