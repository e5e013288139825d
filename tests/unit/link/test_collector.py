"""intercept's engine: whose response it is, one record a session and flush, never more than the bound."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copytool.link import collector as collector_module
from copytool.link.collector import RECORDS_PER_FRAME, ResponseCollector
from copytool.link.frames import MAX_FRAME, RECORDS, encode_frame
from copytool.link.records import RECORD_SIZE, ResponseRecord, decode_records
from copytool.link.share import Share
from copytool.wire.build import build_options, build_segment
from copytool.wire.segment import ACK, FIN, RST, SYN

TARGET = ip_address("192.168.50.101").packed
OTHER = ip_address("192.168.50.55").packed
PORT = 1025


class Owner:
    """Stands for a link connection."""

    def __init__(self, *networks: str, port: int = PORT) -> None:
        self.share = Share([ip_network(text) for text in networks], [(TARGET, port)])


def response(
    mirror: str,
    port: int = 40000,
    seq: int = 0,
    ack: int = 0,
    payload: bytes = b"",
    flags: int = ACK,
    src: bytes = TARGET,
) -> memoryview:
    """Return a response packet of the target, without its payload, as captured."""
    options = build_options(1460, 7) if flags & SYN else b""
    ends = (src, ip_address(mirror).packed, PORT, port)
    packet = build_segment(*ends, seq, ack, flags, 100, options, payload)
    return memoryview(packet)[: len(packet) - len(payload)]


def collecting(*owners: Owner) -> ResponseCollector:
    """Return a collector with these owners."""
    collector = ResponseCollector()
    for owner in owners:
        collector.add_owner(owner, owner.share)
    return collector


def take(collector: ResponseCollector, owner: Owner) -> list[ResponseRecord]:
    """Return the next flush of `owner`, decoded."""
    return list(decode_records(collector.take_records(owner)))


def test_responses_go_to_the_owner_of_their_network() -> None:
    """Each copy gets the responses to its own client network, and no other."""
    one, two = Owner("192.168.60.0/24"), Owner("192.168.61.0/24", "10.0.0.0/8")
    collector = collecting(one, two)
    for mirror in ("192.168.60.7", "192.168.61.8", "10.1.1.1"):
        collector.receive_packet(response(mirror))
    assert [record.ends[0][-1] for record in take(collector, one)] == [7]
    assert [record.ends[0][-1] for record in take(collector, two)] == [8, 1]
    assert collector.counters["no_owner"] == 0


def test_packets_of_one_session_coalesce() -> None:
    """A bulk response is one record with its newest state."""
    owner = Owner("192.168.60.0/24")
    collector = collecting(owner)
    collector.receive_packet(response("192.168.60.7", seq=999, ack=51, flags=SYN | ACK))
    for index in range(500):
        collector.receive_packet(response("192.168.60.7", seq=1000 + 1460 * index, ack=90, payload=b"x" * 1460))
    collector.receive_packet(response("192.168.60.7", seq=1000 + 1460 * 500, ack=90, flags=FIN | ACK))
    (record,) = take(collector, owner)
    assert (record.ack, record.end, record.control_seq) == (90, 1000 + 1460 * 500 + 1, 999)
    assert (record.flags, record.mss, record.window_scale) == (SYN | ACK | FIN, 1460, 7)
    assert (collector.counters["packets"], collector.counters["records"]) == (502, 1)


def test_sessions_are_kept_apart() -> None:
    """Mirror address, mirror port and target each make another session."""
    owner = Owner("192.168.60.0/24")
    collector = collecting(owner)
    for mirror, port in (("192.168.60.7", 1), ("192.168.60.7", 2), ("192.168.60.8", 1)):
        collector.receive_packet(response(mirror, port))
    assert [(record.ends[0][-1], record.ends[1]) for record in take(collector, owner)] == [(7, 1), (7, 2), (8, 1)]


def test_foreign_sources_are_counted_and_dropped() -> None:
    """Anybody may send to the client network; only the configured target speaks for a session."""
    owner = Owner("192.168.60.0/24")
    collector = collecting(owner)
    collector.receive_packet(response("192.168.60.7", src=OTHER, flags=RST))
    collector.receive_packet(response("192.168.60.7"))
    assert len(take(collector, owner)) == 1
    assert collector.counters["foreign_source"] == 1


def test_corrupt_responses_are_dropped() -> None:
    """A whole packet with a wrong checksum says nothing; of one that was cut short nobody can tell."""
    owner = Owner("192.168.60.0/24")
    collector = collecting(owner)
    corrupt = bytearray(response("192.168.60.7"))
    corrupt[27] ^= 1
    collector.receive_packet(memoryview(corrupt))
    assert take(collector, owner) == []
    assert collector.counters["bad_checksum"] == 1
    collector.receive_packet(memoryview(corrupt), is_checked=True)
    collector.receive_packet(response("192.168.60.8", payload=b"cut off"))
    assert len(take(collector, owner)) == 2


def test_nobodys_responses_are_counted() -> None:
    """A response to an address that no copy claims is dropped by name."""
    collector = collecting(Owner("192.168.60.0/24"))
    collector.receive_packet(response("192.168.99.7"))
    assert collector.counters["no_owner"] == 1


@pytest.mark.parametrize(
    ("packet", "reason"), [(b"", "truncated"), (b"\x45" + bytes(30), "not_tcp"), (b"\x15" * 40, "not_ip")]
)
def test_unreadable_packets_are_counted(packet: bytes, reason: str) -> None:
    """Each discard has its reason."""
    collector = collecting(Owner("192.168.60.0/24"))
    collector.receive_packet(memoryview(packet))
    assert collector.counters[reason] == 1


@given(st.binary(max_size=80))
def test_arbitrary_packets_never_raise(packet: bytes) -> None:
    """Whatever is captured, the collector counts it once."""
    collector = collecting(Owner("0.0.0.0/0", "::/0"))
    collector.receive_packet(memoryview(packet))
    counters = collector.counters
    assert counters["packets"] == 1 == sum(counters.values()) - counters["packets"]


def test_taking_empties() -> None:
    """Each record is handed out once; the next packet of the session makes a new one."""
    owner = Owner("192.168.60.0/24")
    collector = collecting(owner)
    collector.receive_packet(response("192.168.60.7", ack=1))
    assert collector.has_records(owner)
    take(collector, owner)
    assert not collector.has_records(owner) and collector.take_records(owner) == b""
    collector.receive_packet(response("192.168.60.7", ack=2))
    assert [record.ack for record in take(collector, owner)] == [2]


def test_a_flush_fits_a_frame_and_nobody_starves() -> None:
    """More sessions than fit a frame go out oldest first, in several."""
    owner = Owner("10.0.0.0/8")
    collector = collecting(owner)
    total = RECORDS_PER_FRAME + 10
    for index in range(total):
        collector.receive_packet(response("10.0.0.1", port=1 + index))
    body = collector.take_records(owner)
    assert len(body) == RECORDS_PER_FRAME * RECORD_SIZE
    assert len(encode_frame(RECORDS, body)) - 4 <= MAX_FRAME
    ports = [record.ends[1] for record in decode_records(body)] + [record.ends[1] for record in take(collector, owner)]
    assert ports == list(range(1, total + 1))


def test_pending_records_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy that does not read costs at most the bound; sessions that have a record still merge into it."""
    monkeypatch.setattr(collector_module, "MAX_PENDING", 3)
    owner = Owner("192.168.60.0/24")
    collector = collecting(owner)
    for port in range(1, 6):
        collector.receive_packet(response("192.168.60.7", port, ack=1))
    collector.receive_packet(response("192.168.60.7", 1, ack=2))
    assert collector.counters["overflow"] == 2
    assert [(record.ends[1], record.ack) for record in take(collector, owner)] == [(1, 2), (2, 1), (3, 1)]


def test_a_slow_copy_does_not_take_another_ones_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is per peer."""
    monkeypatch.setattr(collector_module, "MAX_PENDING", 2)
    slow, quick = Owner("192.168.60.0/24"), Owner("192.168.61.0/24")
    collector = collecting(slow, quick)
    for port in range(1, 10):
        collector.receive_packet(response("192.168.60.7", port))
    collector.receive_packet(response("192.168.61.7"))
    assert len(take(collector, quick)) == 1


def test_a_copy_that_comes_back_is_sent_every_open_session() -> None:
    """Sessions stay known while their copy is away, with what the target said meanwhile; closed ones do not."""
    owner, heir = Owner("192.168.60.0/24"), Owner("192.168.60.0/24")
    collector = collecting(owner)
    collector.receive_packet(response("192.168.60.1", seq=10, ack=100))
    collector.receive_packet(response("192.168.60.2", seq=20, ack=200, payload=b"xyz"))
    collector.receive_packet(response("192.168.60.3", seq=30, ack=300))
    take(collector, owner)
    collector.receive_packet(response("192.168.60.3", seq=30, ack=300, flags=FIN | ACK))
    take(collector, owner)
    collector.remove_owner(owner)
    collector.remove_owner(owner)
    assert not collector.has_records(owner) and collector.take_records(owner) == b""
    collector.receive_packet(response("192.168.60.1", seq=10, ack=150))
    assert collector.counters["no_owner"] == 0
    collector.add_owner(heir, heir.share)
    sent = {record.ends[0][-1]: record for record in take(collector, heir)}
    assert {number: (record.ack, record.end) for number, record in sent.items()} == {1: (150, 10), 2: (200, 23)}
    assert all(record.data_segments == record.duplicate_acks == 0 for record in sent.values())
    assert take(collector, heir) == []


def test_another_network_inherits_nothing() -> None:
    """A copy with other client networks knows nothing of these sessions, and what overlaps its share is forgotten."""
    owner, other, late = Owner("192.168.60.0/24"), Owner("192.168.0.0/16"), Owner("192.168.60.0/24")
    collector = collecting(owner)
    collector.receive_packet(response("192.168.60.1"))
    collector.remove_owner(owner)
    collector.add_owner(other, other.share)
    assert not collector.has_records(other)
    collector.remove_owner(other)
    collector.add_owner(late, late.share)
    assert not collector.has_records(late)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The session remembered first is forgotten first, and so is the copy that went first."""
    monkeypatch.setattr(collector_module, "MAX_OPEN", 2)
    owner = Owner("192.168.60.0/24")
    collector = collecting(owner)
    for number in (1, 2, 3):
        collector.receive_packet(response(f"192.168.60.{number}"))
    take(collector, owner)
    collector.remove_owner(owner)
    for number in range(collector_module.MAX_ABSENT):
        gone = Owner(f"10.{number}.0.0/16")
        collector.add_owner(gone, gone.share)
        if number < collector_module.MAX_ABSENT - 1:
            collector.remove_owner(gone)
    heir = Owner("192.168.60.0/24")
    collector.add_owner(heir, heir.share)
    assert {record.ends[0][-1] for record in take(collector, heir)} == {2, 3}
    collector.remove_owner(heir)
    for number in range(collector_module.MAX_ABSENT):
        gone = Owner(f"10.{100 + number}.0.0/16")
        collector.add_owner(gone, gone.share)
        collector.remove_owner(gone)
    collector.receive_packet(response("192.168.60.2"))
    assert collector.counters["no_owner"] == 1


def test_overlapping_shares_are_found() -> None:
    """Two copies may not own one address."""
    owner = Owner("192.168.60.0/24")
    collector = collecting(owner)
    assert collector.overlapping_owner(Owner("192.168.60.128/25").share) is owner
    assert collector.overlapping_owner(Owner("192.168.61.0/24").share) is None
