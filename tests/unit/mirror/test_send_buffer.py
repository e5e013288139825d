"""What a sender holds: octets by position, and where they are urgent."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from copytool.mirror.send_buffer import MAX_URGENT, SendBuffer


def test_octets_are_read_by_position_until_acknowledged() -> None:
    """Positions stay valid while the beginning is forgotten."""
    buffer = SendBuffer()
    buffer.append(b"abcdef", False)
    assert (buffer.start, buffer.end, len(buffer)) == (1, 7, 6)
    assert buffer.read(3, 2) == b"cd"
    assert buffer.acknowledge(3) == 2
    assert buffer.read(3, 2) == b"cd"
    assert buffer.acknowledge(3) == buffer.acknowledge(1) == 0
    assert buffer.acknowledge(100) == 4
    assert (buffer.start, buffer.end, len(buffer)) == (7, 7, 0)


def test_urgent_octets_are_found_until_acknowledged() -> None:
    """Each segment may reach to the next urgent octet."""
    buffer = SendBuffer()
    buffer.append(b"abX", True)
    buffer.append(b"cd", False)
    buffer.append(b"Y", True)
    assert [buffer.urgent_after(position) for position in range(1, 8)] == [4, 4, 4, 7, 7, 7, 0]
    buffer.acknowledge(4)
    assert buffer.urgent_after(1) == 7


@given(st.lists(st.tuples(st.integers(1, 5000), st.integers(0, 6000)), max_size=60), st.randoms())
def test_any_piece_can_be_read_until_it_is_acknowledged(steps: list[tuple[int, int]], rng: random.Random) -> None:
    """Whatever sizes octets come in and are acknowledged in, what is read is what was appended."""
    buffer, stream = SendBuffer(), b"\0"
    for size, acknowledged in steps:
        octets = rng.randbytes(size)
        buffer.append(octets, False)
        stream += octets
        start = buffer.start
        assert buffer.acknowledge(start + acknowledged) == min(acknowledged, len(stream) - start)
        assert (buffer.end, len(buffer)) == (len(stream), len(stream) - buffer.start)
        if len(buffer):
            position = rng.randrange(buffer.start, buffer.end)
            length = rng.randint(1, buffer.end - position)
            assert buffer.read(position, length) == stream[position : position + length]


def test_pieces_that_were_acknowledged_are_forgotten() -> None:
    """A long stream through a short buffer leaves nothing behind."""
    buffer = SendBuffer()
    for _ in range(10_000):
        buffer.append(bytes(3000), False)
        buffer.acknowledge(buffer.end)
    assert len(buffer._pieces) < 1000


def test_urgent_octets_are_found_at_any_number_and_bounded() -> None:
    """The next one after a position; of too many that wait the oldest becomes an ordinary one."""
    buffer = SendBuffer()
    for _ in range(MAX_URGENT + 1):
        buffer.append(b"x", True)
    assert buffer.urgent_after(1) == 3
    assert buffer.urgent_after(MAX_URGENT) == MAX_URGENT + 1
    assert buffer.urgent_after(MAX_URGENT + 2) == 0
    buffer.acknowledge(1000)
    assert buffer.urgent_after(1) == 1001


def test_what_was_acknowledged_is_forgotten_while_more_waits() -> None:
    """A long list of pieces shrinks, and what is left is read across pieces."""
    buffer = SendBuffer()
    for index in range(1000):
        buffer.append(bytes((index % 251,)) * 2048, False)
    assert buffer.acknowledge(1 + 900 * 2048) == 900 * 2048
    assert len(buffer._pieces) == 100
    assert buffer.read(1 + 901 * 2048, 2) == bytes((901 % 251,)) * 2
    assert buffer.urgent_after(1) == 0
