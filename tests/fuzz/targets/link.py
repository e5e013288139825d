"""The link: what a hostile intercept says to copy, and a hostile copy to intercept, cut anywhere."""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from ipaddress import ip_network
from random import Random

from copytool.errors import DecodeError
from copytool.link.connection import CopyEnd, InterceptEnd
from copytool.link.frames import (
    HELLO,
    MAX_FRAME,
    PING,
    PONG,
    PROTOCOL_VERSION,
    RECORDS,
    REFUSED,
    WELCOME,
    FrameReader,
    decode_json,
    encode_frame,
    encode_json,
)
from copytool.link.records import RECORD_SIZE, decode_records, encode_record
from copytool.link.share import MAX_NETWORKS, MAX_TARGETS, Share

from ..mutation import below, mutate_octets
from ..target import Target

__all__ = ["TARGETS", "is_plain", "mutate_stream", "pieces"]

_SHARE = Share([ip_network("192.168.60.0/24"), ip_network("fd60::/64")], [(bytes((192, 168, 50, 101)), 1025)])
_HELLO = {"protocol": PROTOCOL_VERSION, "version": "1.2", "features": [], **_SHARE.to_json()}
_WORDS = (
    b"\0\0\0\x01\x05", b"\0\0\0\x01\x06", b"\0\x04\0\0", b"\0\x04\0\x01", b"\xff\xff\xff\xff", b"\0\0\0\0", b"null",
    b"[]",
    b"{}", b"[" * 50, b'{"":' * 20, b'"\\ud800"', b"1e999", b"NaN", b"-1", b"65536", b"0", b"true",
    b'"client_networks"',
    b'"targets"', b'"protocol"', b'"reason"', b'"version"', b"\\n", b"\\u001b[2J", b'"::/0"', b'"fe80::1%1/128"',
    b'"00000000"',
    b'"10.0.0.0/33"', b"\x80", b'"\\u0000"', b",", b":",
)  # fmt: skip
_PIECES = (1, 2, 3, 4, 5, 7, 16, 60, 1460, 1 << 16)


def pieces(data: bytes) -> list[bytes]:
    """Return what follows the first octet, cut as it says."""
    size = _PIECES[(data[0] if data else 0) % len(_PIECES)]
    return [data[at : at + size] for at in range(1, len(data), size)]


def is_plain(text: str) -> bool:
    """Return whether a text can be logged and shown: no line ends, no escapes, no halves of characters."""
    return text.isprintable()


class _Reader:
    """FrameReader: the same frames however the stream is cut."""

    def __call__(self, data: bytes) -> Hashable:
        whole, cut = self._read([data[1:]]), self._read(pieces(data))
        assert whole == cut
        return len(whole), whole[-1][:1] if whole else b""

    @staticmethod
    def _read(cut: list[bytes]) -> list[object]:
        reader, found = FrameReader(), []
        for piece in cut:
            reader.append(piece)
            try:
                while (kind := reader.next_frame()) >= 0:
                    found.append((kind, reader.body))
            except DecodeError:
                return [*found, "error"]
            assert len(reader._buffer) <= MAX_FRAME + 4
        return found

    def finish(self) -> None:
        """Nothing is left of it."""


class _Copy:
    """CopyEnd and a hostile intercept."""

    def __call__(self, data: bytes) -> Hashable:
        end = CopyEnd(_SHARE, "1.2", 0.0)
        bodies = []
        now = 0.0
        for piece in pieces(data):
            now += 0.001
            bodies += end.receive_data(piece, now)
            assert len(end._reader._buffer) <= MAX_FRAME + 4 + len(piece)
        for body in bodies:
            for record in decode_records(body):
                assert len(record.key) in (12, 36) and -1 <= record.window_scale <= 14
                assert len(encode_record(record)) == RECORD_SIZE
        assert is_plain(end.closed_because) and is_plain(end.peer_version), "text that forges lines of a log"
        assert len(end.closed_because) < 400 and len(end.peer_version) <= 40
        assert not end.closed_because or not end.established
        end.handle_timer(end.next_timer())
        assert len(end.data_to_send()) < 4096
        return end.established, len(bodies), end.closed_because.split(":")[0], len(bodies) and len(bodies[0])

    def finish(self) -> None:
        """Nothing is left of it."""


class _Intercept:
    """InterceptEnd and a hostile copy."""

    def __call__(self, data: bytes) -> Hashable:
        end = InterceptEnd(0.0)
        now = 0.0
        for piece in pieces(data):
            now += 0.001
            end.receive_data(piece, now)
            if end.awaits_decision:
                end.welcome("1.2", now)
            assert len(end._reader._buffer) <= MAX_FRAME + 4 + len(piece)
            assert len(end.data_to_send()) < 4096, "a peer that does not read makes it grow"
        assert is_plain(end.closed_because) and is_plain(end.peer_version), "text that forges lines of a log"
        assert not end.closed_because or not end.established
        if end.share is not None:
            _check_share(end.share)
        end.handle_timer(end.next_timer())
        return end.established, end.refused, end.closed_because[:28]

    def finish(self) -> None:
        """Nothing is left of it."""


def _check_share(share: Share) -> None:
    """A share is bounded, and survives the way to intercept."""
    assert 1 <= len(share.networks) <= MAX_NETWORKS and 1 <= len(share.targets) <= MAX_TARGETS
    again = Share.from_json(json.loads(json.dumps(share.to_json())))
    assert again.targets == share.targets and again.networks == share.networks
    assert share.overlap(again) is not None
    assert share.owns(share.networks[0].network_address.packed)
    for network in share.networks:
        assert is_plain(str(network)), "text that forges lines of a log"


class _Hello:
    """decode_json() and Share.from_json()."""

    def __call__(self, data: bytes) -> Hashable:
        try:
            share = Share.from_json(decode_json(data))
        except DecodeError as error:
            assert is_plain(str(error)) or "is not JSON" in str(error)
            return str(error)[:20]
        _check_share(share)
        return len(share.networks)

    def finish(self) -> None:
        """Nothing is left of it."""


def _frames_with_right_lengths(stream: bytearray, random: Random) -> bytearray:
    """Make the length field of one frame of a stream right."""
    at = 0
    while at + 5 <= len(stream):
        length = int.from_bytes(stream[at : at + 4], "big")
        if at + 4 + length >= len(stream) or random.random() < 0.3:
            stream[at : at + 4] = (len(stream) - at - 4).to_bytes(4, "big")
            return stream
        at += 4 + length
    return stream


def mutate_stream(data: bytes, random: Random, frames: Sequence[bytes] = ()) -> bytes:
    """Change a stream of frames, of which some may be put in, or how it is cut."""
    stream = bytearray(data[1:])
    if random.random() < 0.2:
        known = frames or _FRAMES
        frame = known[below(random, len(known))]
        stream = stream + frame if random.random() < 0.5 else bytearray(frame) + stream
    for _ in range(1 + below(random, 3)):
        mutate_octets(stream, random, _WORDS)
    if random.random() < 0.6:
        _frames_with_right_lengths(stream, random)
    return bytes((data[0] if data and random.random() < 0.8 else below(random, 256),)) + stream


def _mutate_hello(data: bytes, random: Random) -> bytes:
    made = bytearray(data)
    for _ in range(1 + below(random, 3)):
        mutate_octets(made, random, _WORDS)
    return bytes(made)


_RECORD = bytes(10) + b"\xff\xff\xc0\xa8\x3c\x07" + bytes(10) + b"\xff\xff\xc0\xa8\x32\x65" + bytes(range(24))
_FRAMES = [
    encode_json(HELLO, _HELLO),
    encode_json(WELCOME, {"version": "1.2"}),
    encode_json(REFUSED, {"reason": "no"}),
    encode_frame(RECORDS, _RECORD * 3),
    encode_frame(PING),
    encode_frame(PONG),
]
_TO_COPY = [_FRAMES[1], _FRAMES[1] + _FRAMES[3], _FRAMES[1] + _FRAMES[5] + _FRAMES[3] + _FRAMES[2], _FRAMES[2]]
_TO_INTERCEPT = [_FRAMES[0], _FRAMES[0] + _FRAMES[4], _FRAMES[0] + _FRAMES[4] * 3]


def _as_seeds(streams: list[bytes]) -> list[bytes]:
    return [bytes((9 - index,)) + stream for index, stream in enumerate(streams)]


TARGETS = (
    Target(
        "frames",
        "the same frames however the stream is cut, only DecodeError, one incomplete frame held at most",
        _Reader,
        lambda: _as_seeds(_TO_COPY + _TO_INTERCEPT),
        mutate_stream,
        lives=100_000,
    ),
    Target(
        "copy_end",
        "what intercept says never raises, is bounded, and what is shown of it is plain text",
        _Copy,
        lambda: _as_seeds(_TO_COPY),
        mutate_stream,
        lives=100_000,
    ),
    Target(
        "intercept_end",
        "what a copy says never raises, is bounded, and what is shown of it is plain text",
        _Intercept,
        lambda: _as_seeds(_TO_INTERCEPT),
        mutate_stream,
        lives=100_000,
    ),
    Target(
        "hello",
        "a share within its bounds that survives the way to intercept, or DecodeError",
        _Hello,
        lambda: [json.dumps(_HELLO).encode(), json.dumps(_SHARE.to_json()).encode()],
        _mutate_hello,
        lives=100_000,
    ),
)
