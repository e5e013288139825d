"""What a sender holds: octets by position, and where they are urgent."""

from __future__ import annotations

from copytool.mirror.send_buffer import SendBuffer


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
