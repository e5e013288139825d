"""Records: any merge of a session's segments gives its newest state, and the wire keeps it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copytool.errors import DecodeError
from copytool.link.records import RECORD_SIZE, ResponseRecord, decode_records, encode_record
from copytool.wire.flow import flow_key
from copytool.wire.segment import ACK, FIN, RST, SYN, Segment
from copytool.wire.seq import SEQ_MASK

MIRROR, TARGET = bytes((192, 168, 60, 7)), bytes((192, 168, 50, 101))
FIELDS = ("key", "ack", "end", "control_seq", "window", "mss")
FIELDS += ("flags", "data_segments", "duplicate_acks", "window_scale")


def segment(
    seq: int = 0, ack: int = 0, flags: int = ACK, size: int = 0, window: int = 100, mss: int = 0, scale: int = -1
) -> Segment:
    """Return a response segment as the collector parses it."""
    result = Segment()
    result.key = flow_key(TARGET, 1025, MIRROR, 40000)
    result.seq, result.ack, result.flags, result.window = seq & SEQ_MASK, ack & SEQ_MASK, flags, window
    result.payload_len, result.mss, result.window_scale = size, mss, scale
    return result


def merged(*segments: Segment) -> ResponseRecord:
    """Return the record of these segments."""
    record = ResponseRecord.of(segments[0])
    for other in segments[1:]:
        record.merge(other)
    return record


def values(record: ResponseRecord) -> dict[str, object]:
    """Return all fields."""
    return {name: getattr(record, name) for name in FIELDS}


@st.composite
def any_record(draw: st.DrawFn) -> ResponseRecord:
    """Draw a record with any field values the wire can carry."""
    record = ResponseRecord.of(segment())
    size = draw(st.sampled_from([4, 16]))
    record.key = draw(st.binary(min_size=2 * size + 4, max_size=2 * size + 4))
    for name in ("ack", "end", "control_seq"):
        setattr(record, name, draw(st.integers(0, SEQ_MASK)))
    for name in ("window", "mss"):
        setattr(record, name, draw(st.integers(0, 65535)))
    for name in ("flags", "data_segments", "duplicate_acks"):
        setattr(record, name, draw(st.integers(0, 255)))
    record.window_scale = draw(st.integers(-1, 14))
    return record


@settings(max_examples=200)
@given(st.lists(any_record(), max_size=4))
def test_records_round_trip(records: list[ResponseRecord]) -> None:
    """Encoding and decoding keep every field, IPv4 and IPv6."""
    body = b"".join(encode_record(record) for record in records)
    assert len(body) == RECORD_SIZE * len(records)
    assert [values(record) for record in decode_records(body)] == [values(record) for record in records]


@given(st.binary(max_size=3 * RECORD_SIZE))
def test_only_whole_records_decode(body: bytes) -> None:
    """Any multiple of the record size decodes, anything else is a DecodeError."""
    if len(body) % RECORD_SIZE:
        with pytest.raises(DecodeError):
            list(decode_records(body))
    else:
        assert len(list(decode_records(body))) == len(body) // RECORD_SIZE


@given(
    st.integers(0, SEQ_MASK),
    st.integers(0, SEQ_MASK),
    st.lists(
        st.tuples(st.integers(0, 100_000), st.integers(0, 1460), st.integers(0, 100_000)), min_size=1, max_size=12
    ),
    st.randoms(use_true_random=False),
)
def test_any_order_gives_the_newest_state(irs: int, iss: int, parts: list[tuple[int, int, int]], order) -> None:
    """TCP state is cumulative: the newest end and ack win, however the segments were reordered on the way."""
    segments = [segment(irs + start, iss + ack, ACK, size, window=ack & 0xFFFF) for start, size, ack in parts]
    order.shuffle(segments)
    record = merged(*segments)
    newest = max(ack for _, _, ack in parts)
    ends = [start + size for start, size, _ in parts if size]
    bare = [start for start, size, _ in parts if not size]
    end = max([*ends, *(number - 1 for number in bare)] if ends else bare)
    assert record.end == (irs + end) & SEQ_MASK
    assert record.ack == (iss + newest) & SEQ_MASK
    assert record.window == newest & 0xFFFF
    assert record.data_segments == sum(1 for _, size, _ in parts if size)
    assert record.flags == ACK


def test_syn_ack_then_data() -> None:
    """SYN/ACK options and ISN survive what follows them in the flush."""
    record = merged(
        segment(999, 51, SYN | ACK, mss=1400, scale=9), segment(1000, 51, ACK, 40), segment(1040, 60, ACK | FIN)
    )
    assert (record.control_seq, record.mss, record.window_scale) == (999, 1400, 9)
    assert (record.end, record.ack, record.flags) == (1041, 60, SYN | ACK | FIN)
    assert record.data_segments == 2


def test_syn_counts_one_octet_and_fin_another() -> None:
    """The end is behind SYN and FIN."""
    assert merged(segment(10, 1, SYN | ACK)).end == 11
    assert merged(segment(10, 1, ACK | FIN, 5)).end == 16


@pytest.mark.parametrize("late", [segment(1001, 50, size=10), segment(1001, 50, size=999)])
def test_a_fin_that_was_lost_has_not_come(late: Segment) -> None:
    """The number of a bare acknowledgement is behind it: whatever came in one record with it, that octet did not."""
    behind_fin = segment(2001 + 1, 50)
    for record in (merged(late, behind_fin), merged(behind_fin, late)):
        assert record.end == 2001
    assert merged(late, behind_fin, segment(2001, 50, ACK | FIN)).end == 2002
    assert merged(behind_fin).end == 2002, "nothing else says so; the receiver knows what that means"


def test_duplicates_are_counted() -> None:
    """Repetitions of the newest ack without payload and with the same window count; anything else does not."""
    assert merged(*[segment(5, 100)] * 4).duplicate_acks == 3
    assert merged(segment(5, 100), segment(5, 100, window=90), segment(5, 100, window=80)).duplicate_acks == 0
    assert merged(segment(5, 100), segment(5, 100, size=10)).duplicate_acks == 0
    assert merged(segment(5, 100), segment(5, 90)).duplicate_acks == 0


def test_a_newer_ack_starts_the_count_of_duplicates_again() -> None:
    """Only repetitions of the newest acknowledgement say something about what is missing now."""
    record = merged(segment(5, 100), segment(5, 100), segment(5, 200), segment(5, 200))
    assert (record.ack, record.duplicate_acks) == (200, 1)


def test_counts_saturate() -> None:
    """Counts stop at one octet's worth."""
    record = merged(*[segment(5, 100)] * 500, *[segment(5 + index, 100, size=1) for index in range(500)])
    assert (record.duplicate_acks, record.data_segments) == (255, 255)
    (decoded,) = decode_records(encode_record(record))
    assert values(decoded) == values(record)


def test_a_bare_segment_says_nothing_about_acknowledgements() -> None:
    """Without ACK the number is void."""
    record = merged(segment(7, 100, 0, size=1))
    assert not record.flags & ACK
    assert merged(segment(7, 100, 0, size=1), segment(9, 101, ACK)).ack == 101


def test_reset_keeps_what_was_said_before() -> None:
    """An RST adds its number and leaves end and ack of the segments before it."""
    record = merged(segment(1000, 50, ACK, 100), segment(1100, 0, RST))
    assert (record.control_seq, record.end, record.ack) == (1100, 1100, 50)
    assert record.flags == ACK | RST


def test_reset_with_ack_takes_its_ack() -> None:
    """A refusal carries the acknowledgement it must be judged by."""
    record = merged(segment(0, 777, RST | ACK))
    assert (record.flags, record.ack) == (RST | ACK, 777)


@pytest.mark.parametrize(("octet", "scale"), [(0, 0), (14, 14), (15, 14), (127, 14), (128, -1), (255, -1)])
def test_no_window_is_scaled_too_far(octet: int, scale: int) -> None:
    """A shift of more than 14 counts as 14 (RFC 7323, section 2.3), whatever intercept says."""
    (record,) = decode_records(bytes(RECORD_SIZE - 1) + bytes((octet,)))
    assert record.window_scale == scale
