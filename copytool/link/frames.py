"""Frames of the link: a 4-byte big-endian length, a type octet, a body.

The length counts type and body. Hello, welcome and refusal carry JSON, because they are rare and must grow;
records are packed, because they are the traffic. Every decoding error is a DecodeError.
"""

from __future__ import annotations

import json
import struct
from typing import Any

from ..errors import DecodeError

__all__ = [
    "ANSWERS",
    "HELLO",
    "MAX_FRAME",
    "PACKETS",
    "PING",
    "PONG",
    "PROTOCOL_VERSION",
    "QUESTIONS",
    "RECORDS",
    "REFUSED",
    "WELCOME",
    "FrameReader",
    "decode_json",
    "encode_frame",
    "encode_json",
    "plain",
]

PROTOCOL_VERSION = 1

HELLO, WELCOME, REFUSED, RECORDS, PING, PONG, PACKETS, QUESTIONS, ANSWERS = range(1, 10)

MAX_FRAME = 256 * 1024
"""Largest accepted length field; a peer that announces more is cut off before anything is buffered for it."""

_TLS_HANDSHAKE = 0x1603  # how a TLS record begins that asks for a connection, of any version 3.x
_HEADER = struct.Struct("!IB")


def encode_frame(kind: int, body: bytes | bytearray = b"") -> bytes:
    """Return the frame of type `kind` with `body`."""
    return _HEADER.pack(len(body) + 1, kind) + body


def encode_json(kind: int, document: dict[str, Any]) -> bytes:
    """Return a frame whose body is `document` as JSON."""
    return encode_frame(kind, json.dumps(document, separators=(",", ":")).encode())


def decode_json(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body`."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"frame body is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise DecodeError("frame body is JSON, but not an object")
    return document


def plain(value: object, most: int) -> str:
    """Return what a peer says, as at most `most` characters that neither forge a log's lines nor steer a terminal."""
    if isinstance(value, (dict, list)):
        return "?"  # as text it may be as deep as Python's stack
    return "".join([letter if letter.isprintable() else "?" for letter in str(value)[:most]])


class FrameReader:
    """Cuts a byte stream into frames; holds at most one incomplete frame of MAX_FRAME behind those not yet fetched.

    body: that of the frame which next_frame() has found.
    """

    __slots__ = ("_buffer", "_start", "body")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._start = 0
        self.body = b""

    def append(self, data: bytes) -> None:
        """Take in more of the stream."""
        self._buffer += data

    def next_frame(self) -> int:
        """Return the type of the next complete frame, or -1 if there is none; DecodeError if it cannot be one."""
        buffer, start = self._buffer, self._start
        if len(buffer) - start >= _HEADER.size:
            length = buffer[start] << 24 | buffer[start + 1] << 16 | buffer[start + 2] << 8 | buffer[start + 3]
            if not 1 <= length <= MAX_FRAME:
                hint = "; it speaks TLS, and this end does not (--plain)" if length >> 16 == _TLS_HANDSHAKE else ""
                raise DecodeError(f"frame length {length} is outside 1..{MAX_FRAME}{hint}")
            end = start + 4 + length
            if len(buffer) >= end:
                self.body = bytes(buffer[start + 5 : end])
                self._start = end
                return buffer[start + 4]
        del buffer[:start]
        self._start = 0
        return -1
