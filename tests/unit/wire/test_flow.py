"""Flow keys are what stands in a packet, and come apart again."""

from __future__ import annotations

import pytest

from copytool.wire.build import build_segment
from copytool.wire.flow import flow_ends, flow_key
from copytool.wire.segment import ACK, Segment, parse_segment


@pytest.mark.parametrize("size", [4, 16])
def test_a_key_is_that_of_the_packet(size: int) -> None:
    """The parser cuts the same key out of a packet as is made of its ends."""
    src, dst = bytes(range(1, size + 1)), bytes(range(101, size + 101))
    key = flow_key(src, 1025, dst, 65535)
    segment = Segment()
    assert parse_segment(segment, build_segment(src, dst, 1025, 65535, 1, 2, ACK, 3)) == 0
    assert segment.key == key
    assert flow_ends(key) == (src, 1025, dst, 65535)
    assert (segment.src, segment.src_port, segment.dst, segment.dst_port) == flow_ends(key)


def test_a_packet_inside_a_buffer() -> None:
    """It is parsed where it lies, and what lies behind it is not its payload."""
    packet = build_segment(bytes(4), bytes(4), 1, 2, 3, 4, ACK, 5, b"", b"abc")
    segment = Segment()
    assert parse_segment(segment, b"before" + packet + b"behind", 6, len(packet)) == 0
    assert (segment.ip_start, segment.payload_start, segment.captured_len) == (6, 46, 3)
