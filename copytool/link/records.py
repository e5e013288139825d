"""Response records: the state of one mirrored session's responses since the last flush.

TCP state is cumulative, so one record replaces every response packet of its session in the flush.
Addresses are always 16 bytes on the wire; IPv4 is written as an IPv4-mapped IPv6 address (RFC 4291, 2.5.5.2).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from ..errors import DecodeError
from ..wire.segment import ACK, FIN, RST, SYN, Segment
from ..wire.seq import seq_diff

__all__ = ["RECORD_SIZE", "ResponseRecord", "decode_records", "encode_record"]

_RECORD = struct.Struct("!16s16sHHIIIHHBBBb")
RECORD_SIZE = _RECORD.size

_MAPPED = b"\0" * 10 + b"\xff\xff"
_MAX_COUNT = 255


class ResponseRecord:
    """What the target said in one session since the last flush.

    mirror, target: packed addresses (the response's destination and source); with the ports, the session's key.
    ack: newest acknowledgement number; valid if flags has ACK. end: newest sequence number after the response's
    data, SYN and FIN. control_seq: sequence number of the RST, else of the SYN; valid if flags has either.
    window: as on the wire, of the segment with the newest ack. flags: the union of the segments' SYN, FIN, RST
    and ACK. data_segments: how many carried payload or FIN. duplicate_acks: how many repeated the newest ack
    without payload (RFC 5681, section 2). mss, window_scale: SYN options; 0 and -1 where absent.
    """

    __slots__ = (
        "ack",
        "control_seq",
        "data_segments",
        "duplicate_acks",
        "end",
        "flags",
        "mirror",
        "mirror_port",
        "mss",
        "target",
        "target_port",
        "window",
        "window_scale",
    )

    def __init__(self, segment: Segment) -> None:
        self.mirror = segment.dst
        self.mirror_port = segment.dst_port
        self.target = segment.src
        self.target_port = segment.src_port
        self.flags = 0
        self.ack = segment.ack
        self.end = segment.seq
        self.control_seq = 0
        self.window = segment.window
        self.data_segments = 0
        self.duplicate_acks = 0
        self.mss = 0
        self.window_scale = -1
        self.merge(segment)

    def merge(self, segment: Segment) -> None:
        """Add a later segment of the same session; order on the wire may differ from order of sending."""
        flags = segment.flags
        if flags & RST:
            self.flags |= RST | (flags & ACK)
            self.control_seq = segment.seq
            if flags & ACK:
                self.ack = segment.ack
            return
        length = segment.payload_len + (flags & FIN) + ((flags & SYN) >> 1)
        end = (segment.seq + length) & 0xFFFFFFFF
        if seq_diff(end, self.end) > 0:
            self.end = end
        if flags & SYN:
            self.control_seq = segment.seq
            self.mss = segment.mss
            self.window_scale = segment.window_scale
        elif length and self.data_segments < _MAX_COUNT:
            self.data_segments += 1
        if flags & ACK:
            self._merge_ack(segment, length)
        self.flags |= flags & (SYN | FIN | ACK)

    def _merge_ack(self, segment: Segment, length: int) -> None:
        newer = seq_diff(segment.ack, self.ack)
        if not self.flags & ACK or newer > 0:
            self.ack = segment.ack
            self.window = segment.window
            self.duplicate_acks = 0
        elif newer == 0:
            if length == 0 and segment.window == self.window and self.duplicate_acks < _MAX_COUNT:
                self.duplicate_acks += 1
            self.window = segment.window


def encode_record(record: ResponseRecord) -> bytes:
    """Return the record as RECORD_SIZE bytes."""
    mirror, target = record.mirror, record.target
    return _RECORD.pack(
        mirror if len(mirror) == 16 else _MAPPED + mirror,
        target if len(target) == 16 else _MAPPED + target,
        record.mirror_port,
        record.target_port,
        record.ack,
        record.end,
        record.control_seq,
        record.window,
        record.mss,
        record.flags,
        record.data_segments,
        record.duplicate_acks,
        record.window_scale,
    )


def decode_records(body: bytes) -> Iterator[ResponseRecord]:
    """Yield the records of a RECORDS frame body."""
    if len(body) % RECORD_SIZE:
        raise DecodeError(f"records frame of {len(body)} bytes is not a multiple of {RECORD_SIZE}")
    for fields in _RECORD.iter_unpack(body):
        record = ResponseRecord.__new__(ResponseRecord)
        mirror, target = fields[0], fields[1]
        record.mirror = mirror[12:] if mirror.startswith(_MAPPED) else mirror
        record.target = target[12:] if target.startswith(_MAPPED) else target
        record.mirror_port, record.target_port = fields[2], fields[3]
        record.ack, record.end, record.control_seq = fields[4], fields[5], fields[6]
        record.window, record.mss, record.flags = fields[7], fields[8], fields[9]
        record.data_segments, record.duplicate_acks, record.window_scale = fields[10], fields[11], fields[12]
        yield record
