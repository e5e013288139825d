"""Frames survive any way of cutting the stream; garbage is a DecodeError and nothing else."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copytool.errors import DecodeError
from copytool.link.frames import MAX_FRAME, PING, RECORDS, FrameReader, decode_json, encode_frame, encode_json


def fed(reader: FrameReader, data: bytes) -> Iterator[tuple[int, bytes]]:
    """Append to the stream; yield the type and body of each frame that is complete now."""
    reader.append(data)
    while (kind := reader.next_frame()) >= 0:
        yield kind, reader.body


def cut(chance: random.Random, pending: bytearray) -> Iterator[bytes]:
    """Take what a pipe carries out of `pending`, in pieces of random size."""
    while pending:
        size = chance.randint(1, len(pending))
        piece = bytes(pending[:size])
        del pending[:size]
        yield piece


FRAMES = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=20)), max_size=6)


@given(FRAMES, st.lists(st.integers(0, 200), max_size=10))
def test_frames_come_out_as_they_went_in(frames: list[tuple[int, bytes]], cuts: list[int]) -> None:
    """Whatever pieces the stream arrives in, the frames are the same."""
    stream = b"".join(encode_frame(kind, body) for kind, body in frames)
    places = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    reader = FrameReader()
    got = []
    for start, end in pairwise(places):
        got += list(fed(reader, stream[start:end]))
    assert got == frames


def test_every_split_of_two_frames() -> None:
    """Each boundary, inside headers too, is a possible end of a read."""
    frames = [(RECORDS, b"0123456789"), (PING, b"")]
    stream = b"".join(encode_frame(*frame) for frame in frames)
    for cut in range(len(stream) + 1):
        reader = FrameReader()
        assert [*fed(reader, stream[:cut]), *fed(reader, stream[cut:])] == frames


def test_largest_frame() -> None:
    """A frame of exactly MAX_FRAME passes, one octet more is refused from its header alone."""
    largest = encode_frame(RECORDS, bytes(MAX_FRAME - 1))
    assert [len(body) for _, body in fed(FrameReader(), largest)] == [MAX_FRAME - 1]
    header = (MAX_FRAME + 1).to_bytes(4, "big") + b"\4"
    with pytest.raises(DecodeError, match="outside"):
        list(fed(FrameReader(), header))


def test_length_zero_is_refused() -> None:
    """A frame has at least its type."""
    with pytest.raises(DecodeError):
        list(fed(FrameReader(), b"\0\0\0\0\1"))


def test_frames_before_an_error_are_delivered() -> None:
    """What was complete before the garbage still counts."""
    got = []
    with pytest.raises(DecodeError):
        for frame in fed(FrameReader(), encode_frame(PING) + b"\xff" * 9):
            got.append(frame)
    assert got == [(PING, b"")]


@settings(max_examples=300)
@given(st.lists(st.binary(max_size=40), max_size=10))
def test_garbage_raises_only_decode_errors(pieces: list[bytes]) -> None:
    """Any bytes are frames or a DecodeError."""
    reader = FrameReader()
    try:
        for piece in pieces:
            for kind, body in fed(reader, piece):
                assert 0 <= kind <= 255 and len(body) < MAX_FRAME
    except DecodeError:
        pass


@given(st.dictionaries(st.text(max_size=5), st.one_of(st.integers(), st.text(max_size=5), st.none()), max_size=4))
def test_json_bodies_round_trip(document: dict) -> None:
    """A document comes back as it was."""
    ((_, body),) = fed(FrameReader(), encode_json(9, document))
    assert decode_json(body) == document


@given(
    st.one_of(
        st.binary(max_size=60),
        st.text(max_size=30).map(str.encode),
        st.builds(json.dumps, st.integers()).map(str.encode),
    )
)
def test_json_garbage_is_a_decode_error(body: bytes) -> None:
    """Bodies that are no JSON object raise DecodeError and nothing else."""
    with contextlib.suppress(DecodeError):
        assert isinstance(decode_json(body), dict)


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b'{"a":' * 100_000, b"9" * 100_000, b"[1]", b"null", b"\xff\xfe", b""]
)
def test_hostile_json(body: bytes) -> None:
    """Nesting, huge numbers, other encodings and other types are refused."""
    with pytest.raises(DecodeError):
        decode_json(body)
