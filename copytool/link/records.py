"""Response records: the state of one mirrored session's responses since the last flush.

TCP state is cumulative, so one record replaces every response packet of its session in the flush.
Addresses are always 16 bytes on the wire; IPv4 is written as an IPv4-mapped IPv6 address (RFC 4291, 2.5.5.2).
"""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import DecodeError
from ..wire import octets
from ..wire import seq as serial
from ..wire.flow import FlowEnds, FlowKey, flow_ends
from ..wire.segment import ACK, FIN, MAX_WINDOW_SCALE, RST, SYN, Segment

__all__ = ["RECORD_SIZE", "ResponseRecord", "check_records", "decode_records", "encode_record"]

RECORD_SIZE = 56
"""Octets: mirror and target address, their ports, ack, end, control_seq, window, mss, flags, counts, window scale."""

_MAPPED = b"\0" * 10 + b"\xff\xff"
_MAX_COUNT = 255
_ACK, _FIN, _RST, _SYN = ACK, FIN, RST, SYN
_MAX_WINDOW_SCALE = MAX_WINDOW_SCALE


class ResponseRecord:
    """What the target said in one session since the last flush.

    key: the session's flow, from the mirror address and port to the target's. ack: newest acknowledgement number;
    valid if flags has ACK. end: newest sequence number after the response's data, SYN and FIN. control_seq: sequence
    number of the RST, else of the SYN; valid if flags has either. window: as on the wire, of the segment with the
    newest ack. flags: the union of the segments' SYN, FIN, RST and ACK. data_segments: how many carried payload or FIN.
    duplicate_acks: how many repeated the newest ack without payload (RFC 5681, section 2). mss, window_scale: SYN
    options; 0 and -1 where absent.
    """

    __slots__ = (
        "ack",
        "control_seq",
        "data_segments",
        "duplicate_acks",
        "end",
        "flags",
        "key",
        "mss",
        "window",
        "window_scale",
    )

    def __init__(self) -> None:
        self.key: FlowKey = b""
        self.flags = 0
        self.ack = 0
        self.end = 0
        self.control_seq = 0
        self.window = 0
        self.data_segments = 0
        self.duplicate_acks = 0
        self.mss = 0
        self.window_scale = -1

    @classmethod
    def of(cls, segment: Segment) -> ResponseRecord:
        """Return the record of one response segment."""
        record = cls()
        record.begin(segment)
        return record

    @property
    def ends(self) -> FlowEnds:
        """Mirror address and port, target address and port."""
        return flow_ends(self.key)

    def begin(self, segment: Segment) -> None:
        """Take in the first segment of a new record."""
        key = segment.key
        half = (len(key) - 4) // 2
        self.key = key[half:-4] + key[:half] + key[-2:] + key[-4:-2]
        self.ack = segment.ack
        self.end = segment.seq
        self.window = segment.window
        self.merge(segment)

    def merge(self, segment: Segment) -> None:
        """Add a later segment of the same session; order on the wire may differ from order of sending."""
        flags = segment.flags
        if flags & _RST:
            self.flags |= _RST | (flags & _ACK)
            self.control_seq = segment.seq
            if flags & _ACK:
                self.ack = segment.ack
            return
        length = segment.payload_len + (flags & _FIN) + ((flags & _SYN) >> 1)
        end = serial.seq_add(segment.seq, length)
        has_octets = self.data_segments > 0 or self.flags & (_SYN | _FIN) != 0
        # The number of a bare acknowledgement may be behind a FIN that was lost, which must not seem to have come.
        if length and not has_octets:
            self.end = serial.seq_add(self.end, -1)
        elif has_octets and not length:
            end = serial.seq_add(end, -1)
        if serial.seq_diff(end, self.end) > 0:
            self.end = end
        if flags & _SYN:
            self.control_seq = segment.seq
            self.mss = segment.mss
            self.window_scale = segment.window_scale
        elif length and self.data_segments < _MAX_COUNT:
            self.data_segments += 1
        if flags & _ACK:
            self._merge_ack(segment, length)
        self.flags |= flags & (_SYN | _FIN | _ACK)

    def _merge_ack(self, segment: Segment, length: int) -> None:
        newer = serial.seq_diff(segment.ack, self.ack)
        if not self.flags & _ACK or newer > 0:
            self.ack = segment.ack
            self.window = segment.window
            self.duplicate_acks = 0
        elif newer == 0:
            if length == 0 and segment.window == self.window and self.duplicate_acks < _MAX_COUNT:
                self.duplicate_acks += 1
            self.window = segment.window

    def encode(self, body: bytearray, at: int) -> None:
        """Write the record at offset `at`, where there are RECORD_SIZE zeros."""
        key = self.key
        if len(key) == 12:
            octets.put(body, at, _MAPPED)
            octets.put(body, at + 12, key[:4])
            octets.put(body, at + 16, _MAPPED)
            octets.put(body, at + 28, key[4:])
        else:
            octets.put(body, at, key)
        octets.put32(body, at + 36, self.ack)
        octets.put32(body, at + 40, self.end)
        octets.put32(body, at + 44, self.control_seq)
        octets.put16(body, at + 48, self.window)
        octets.put16(body, at + 50, self.mss)
        octets.put16(body, at + 52, self.flags << 8 | self.data_segments)
        octets.put16(body, at + 54, self.duplicate_acks << 8 | self.window_scale & 0xFF)

    def decode(self, body: octets.Buffer, at: int) -> None:
        """Take over the record that begins at offset `at` of a RECORDS frame's body, which holds it whole."""
        if octets.is_ipv4_mapped(body, at):
            self.key = octets.join_slices(body, at + 12, 4, at + 28, 8)
        else:
            self.key = octets.take(body, at, at + 36)
        self.ack = octets.get32(body, at + 36)
        self.end = octets.get32(body, at + 40)
        self.control_seq = octets.get32(body, at + 44)
        self.window = octets.get16(body, at + 48)
        self.mss = octets.get16(body, at + 50)
        self.flags = body[at + 52]
        self.data_segments = body[at + 53]
        self.duplicate_acks = body[at + 54]
        scale = body[at + 55]
        self.window_scale = -1 if scale > 127 else min(scale, _MAX_WINDOW_SCALE)


def encode_record(record: ResponseRecord) -> bytes:
    """Return the record as RECORD_SIZE bytes."""
    body = bytearray(RECORD_SIZE)
    record.encode(body, 0)
    return bytes(body)


def check_records(body: bytes) -> None:
    """Raise DecodeError unless `body` is that of a RECORDS frame."""
    if len(body) % RECORD_SIZE:
        raise DecodeError(f"records frame of {len(body)} bytes is not a multiple of {RECORD_SIZE}")


def decode_records(body: bytes) -> Iterator[ResponseRecord]:
    """Yield the records of a RECORDS frame body."""
    check_records(body)
    for at in range(0, len(body), RECORD_SIZE):
        record = ResponseRecord()
        record.decode(body, at)
        yield record
