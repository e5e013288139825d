"""Connections into a host that ask its service how much it has served."""

from __future__ import annotations

import re
import socket
from abc import ABC, abstractmethod

from tests.netns.taps import in_namespace

__all__ = ["Counter", "NginxCounter", "RedisCounter", "parse_nginx", "parse_redis"]

TIMEOUT_S = 10.0


class Counter(ABC):
    """What a service says that it has served; the connection is made once, so that a question costs little."""

    def __init__(self, namespace: str, port: int) -> None:
        self._socket = in_namespace(namespace, lambda: socket.create_connection(("127.0.0.1", port), TIMEOUT_S))
        self._received = b""

    @abstractmethod
    def count(self) -> int:
        """Return how many requests the service has served, those of this counter not among them."""

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _until(self, pattern: re.Pattern[bytes]) -> re.Match[bytes]:
        while not (match := pattern.search(self._received)):
            received = self._socket.recv(65536)
            if not received:
                raise OSError("the service has closed the counter's connection")
            self._received += received
        self._received = self._received[match.end() :]
        return match


def parse_nginx(text: bytes) -> int:
    """Return the requests in a page of nginx's stub_status, the one for the page included."""
    match = _NGINX.search(text)
    if not match:
        raise ValueError(f"no stub_status page: {text[:200]!r}")
    return int(match[1])


def parse_redis(text: bytes) -> int:
    """Return the SET commands in the answer to INFO commandstats."""
    match = _REDIS.search(text)
    return int(match[1]) if match else 0


_NGINX = re.compile(rb"accepts handled requests\n +\d+ +\d+ +(\d+) *\nReading: \d+ Writing: \d+ Waiting: \d+ *\n")
_REDIS = re.compile(rb"cmdstat_set:calls=(\d+),")


class NginxCounter(Counter):
    """The requests of an nginx, from stub_status."""

    def __init__(self, namespace: str, port: int) -> None:
        super().__init__(namespace, port)
        self._own = 0

    def count(self) -> int:
        self._socket.sendall(b"GET / HTTP/1.1\r\nHost: counter\r\n\r\n")
        self._own += 1
        return parse_nginx(self._until(_NGINX)[0]) - self._own


class RedisCounter(Counter):
    """The SET commands of a Redis."""

    def count(self) -> int:
        self._socket.sendall(b"INFO commandstats\r\n")
        size = int(self._until(re.compile(rb"\$(\d+)\r\n"))[1])
        return parse_redis(self._until(re.compile(rb"(?s)\A.{%d}\r\n" % size))[0])
