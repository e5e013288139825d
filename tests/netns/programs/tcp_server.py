"""A service with TCP's rarer habits: reads late or little at a time, small windows, urgent data, TCP Fast Open.

Answers each octet that it reads with one; logs each connection as a JSON line when it ends.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import select
import socket
import struct
import sys
import threading
import time


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pause", type=float, default=0, help="seconds before the first read")
    parser.add_argument("--read", type=int, default=1 << 16, help="octets per read")
    parser.add_argument("--read-pause", type=float, default=0, help="seconds between reads")
    parser.add_argument("--buffer", type=int, default=0, help="receive buffer in octets")
    parser.add_argument("--silent", action="store_true", help="answer nothing")
    parser.add_argument("--close-after", type=int, default=0, help="close after this many octets")
    parser.add_argument("--reset", action="store_true", help="close with RST")
    parser.add_argument("--inline", action="store_true", help="leave urgent octets in the stream")
    return parser.parse_args()


class Session(threading.Thread):
    """One connection."""

    def __init__(self, sock: socket.socket, options: argparse.Namespace) -> None:
        super().__init__(daemon=True)
        self.sock, self.options = sock, options
        self.digest, self.size = hashlib.sha256(), 0
        self.urgent: list[int] = []

    def run(self) -> None:
        end = "eof"
        try:
            self.serve()
        except ConnectionError:
            end = "reset"
        self.sock.close()
        line = {"bytes": self.size, "sha256": self.digest.hexdigest(), "urgent": self.urgent, "end": end}
        os.write(1, json.dumps(line).encode() + b"\n")

    def serve(self) -> None:
        options, sock = self.options, self.sock
        if options.inline:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        time.sleep(options.pause)
        while data := self.read():
            self.digest.update(data)
            self.size += len(data)
            if not options.silent:
                sock.sendall(data)
            if self.size == options.close_after:
                if options.reset:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return
                sock.shutdown(socket.SHUT_WR)
            time.sleep(options.read_pause)

    def read(self) -> bytes:
        """Return what comes next, after noting an urgent octet that the kernel has taken out of the stream."""
        if self.options.inline:
            return self.sock.recv(self.options.read)
        poll = select.poll()
        poll.register(self.sock, select.POLLIN | select.POLLPRI)
        while poll.poll()[0][1] & select.POLLPRI:
            with contextlib.suppress(BlockingIOError):
                self.urgent += self.sock.recv(1, socket.MSG_OOB | socket.MSG_DONTWAIT)
        return self.sock.recv(self.options.read)


def main() -> None:
    options = parse_arguments()
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if options.buffer:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, options.buffer)
    listener.bind(("", 1026))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 64)
    listener.listen(1024)
    while True:
        Session(listener.accept()[0], options).start()


if __name__ == "__main__":
    sys.exit(main())
