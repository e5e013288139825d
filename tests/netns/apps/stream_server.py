"""TCP servers that open, speak and close in different ways; each logs what every session has sent it.

sink: reads to the end, then answers with bytes and hash. talker: speaks first and closes its direction, then reads.
resetter: answers each line, and resets the connection after the line `reset`. smtp: greets first, then a dialogue.
events: a server-sent event stream on request.
"""

from __future__ import annotations

import argparse
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator

from jsonlog import JsonLog, Tally

READ_BYTES = 1 << 20
SPOKEN_BYTES = 300_000


class Session:
    """One connection: reads are tallied, and `early` counts requests that came before the answer to the last."""

    def __init__(self, sock: socket.socket, options: argparse.Namespace) -> None:
        self.sock = sock
        self.options = options
        self.tally = Tally()
        self.early = 0
        self.end = "eof"
        self._lines = b""

    def chunks(self) -> Iterator[memoryview]:
        """Yield what arrives until the client closes or resets."""
        buffer = memoryview(bytearray(READ_BYTES))
        while size := self.sock.recv_into(buffer):
            self.tally.add(buffer[:size])
            yield buffer[:size]

    def line(self) -> bytes:
        """Return the next line without its end; empty at the end."""
        while b"\n" not in self._lines:
            chunk = self.sock.recv(4096)
            if not chunk:
                return b""
            self.tally.add(chunk)
            self._lines += chunk
        line, self._lines = self._lines.split(b"\n", 1)
        return line.rstrip(b"\r")

    def say(self, text: str) -> None:
        """Answer after the think time; nothing may have arrived by then."""
        time.sleep(self.options.think_s)
        if self._lines or select.select([self.sock], [], [], 0)[0]:
            self.early += 1
        self.sock.sendall(text.encode())


def sink(session: Session) -> None:
    for _ in session.chunks():
        pass
    session.sock.sendall(f"{session.tally.bytes} {session.tally.sha256}\n".encode())


def talker(session: Session) -> None:
    session.sock.sendall(bytes(SPOKEN_BYTES))
    session.sock.shutdown(socket.SHUT_WR)
    for _ in session.chunks():
        pass


def resetter(session: Session) -> None:
    while (line := session.line()) not in (b"", b"reset"):
        session.say(f"you said {line.decode()}\n")
    if line:
        session.end = "reset by the server"
        session.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def smtp(session: Session) -> None:
    name = session.options.greeting
    session.say(f"220 {name} ESMTP\r\n")
    while line := session.line():
        verb = line.split()[0].upper()
        if verb == b"EHLO":
            session.say(f"250-{name}\r\n250-SIZE 10000000\r\n250 8BITMIME\r\n")
        elif verb == b"DATA":
            session.say("354 go ahead\r\n")
            while session.line() != b".":
                pass
            session.say("250 queued\r\n")
        elif verb == b"QUIT":
            session.say("221 bye\r\n")
            return
        else:
            session.say("250 ok\r\n")


def events(session: Session) -> None:
    while session.line():
        pass  # the request's headers
    head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n\r\n"
    session.sock.sendall(head.encode())
    for number in range(50):
        time.sleep(0.01)
        session.sock.sendall(f"id: {number}\ndata: {'x' * number}\n\n".encode())


MODES = {mode.__name__: mode for mode in (sink, talker, resetter, smtp, events)}


def serve(session: Session, log: JsonLog) -> None:
    """Have one conversation and log it."""
    try:
        MODES[session.options.mode](session)
    except ConnectionError:
        session.end = "reset"
    tally = session.tally
    log.append(bytes=tally.bytes, sha256=tally.sha256, end=session.end, early=session.early)
    session.sock.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=MODES)
    parser.add_argument("--log", required=True)
    parser.add_argument("--think-s", type=float, default=0.0)
    parser.add_argument("--greeting", default="mail.example.org")
    options = parser.parse_args()
    log = JsonLog(options.log)
    listener = socket.create_server(("", 1025), backlog=512)
    while True:
        sock, _ = listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=serve, args=(Session(sock, options), log), daemon=True).start()


if __name__ == "__main__":
    main()
