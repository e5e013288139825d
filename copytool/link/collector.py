"""intercept's engine: response packets in, response records out, one per session and flush."""

from __future__ import annotations

from typing import Protocol

from ..wire.segment import DROP_REASONS, Segment, parse_segment
from .frames import MAX_FRAME
from .records import RECORD_SIZE, ResponseRecord, encode_record
from .share import Share

__all__ = ["MAX_PENDING", "RECORDS_PER_FRAME", "ResponseCollector", "ShareOwner"]

MAX_PENDING = 65536
"""Sessions with an unsent record, per peer. A peer that does not read cannot grow intercept beyond this;
a record lost here costs a retransmission, because the next one of its session carries newer state."""

RECORDS_PER_FRAME = (MAX_FRAME - 1) // RECORD_SIZE


class ShareOwner(Protocol):
    """Whatever a share belongs to; intercept's daemon uses its link connections."""

    @property
    def share(self) -> Share | None:
        """The share it claims."""
        ...


class _Peer:
    __slots__ = ("pending", "share")

    def __init__(self, share: Share) -> None:
        self.share = share
        self.pending: dict[tuple[bytes, int, bytes, int], ResponseRecord] = {}


class ResponseCollector:
    """Attributes response packets to the copy that owns their session and coalesces them.

    counters: packets parsed (`packets`), records made (`records`), and each packet that made none by reason.
    """

    __slots__ = ("_peers", "_segment", "counters")

    def __init__(self) -> None:
        self._peers: dict[ShareOwner, _Peer] = {}
        self._segment = Segment()
        self.counters = dict.fromkeys(
            ("packets", "records", "no_owner", "foreign_source", "overflow", *DROP_REASONS[1:]), 0
        )

    def add_owner(self, owner: ShareOwner, share: Share) -> None:
        """Start to collect for `owner`."""
        self._peers[owner] = _Peer(share)

    def remove_owner(self, owner: ShareOwner) -> None:
        """Forget `owner` and its unsent records."""
        self._peers.pop(owner, None)

    def overlapping_owner(self, share: Share) -> ShareOwner | None:
        """Return an owner whose client networks overlap those of `share`, or None."""
        for owner, peer in self._peers.items():
            if share.overlap(peer.share) is not None:
                return owner
        return None

    def receive_packet(self, packet: memoryview) -> None:
        """Take in one captured response packet, from its IP header; its payload may be cut off."""
        segment = self._segment
        counters = self.counters
        counters["packets"] += 1
        reason = parse_segment(segment, packet)
        if reason:
            counters[DROP_REASONS[reason]] += 1
            return
        for peer in self._peers.values():
            if peer.share.owns(segment.dst):
                # Anybody may send to the client network; only a configured target speaks for a session.
                if (segment.src, segment.src_port) in peer.share.targets:
                    self._merge(peer, segment)
                else:
                    counters["foreign_source"] += 1
                return
        counters["no_owner"] += 1

    def _merge(self, peer: _Peer, segment: Segment) -> None:
        key = (segment.dst, segment.dst_port, segment.src, segment.src_port)
        record = peer.pending.get(key)
        if record is not None:
            record.merge(segment)
        elif len(peer.pending) < MAX_PENDING:
            peer.pending[key] = ResponseRecord(segment)
            self.counters["records"] += 1
        else:
            self.counters["overflow"] += 1

    def has_records(self, owner: ShareOwner) -> bool:
        """Return whether `owner` has unsent records."""
        peer = self._peers.get(owner)
        return peer is not None and bool(peer.pending)

    def take_records(self, owner: ShareOwner) -> bytes:
        """Return up to RECORDS_PER_FRAME encoded records of `owner`, oldest first; empty when there is none."""
        peer = self._peers.get(owner)
        if peer is None or not peer.pending:
            return b""
        pending = peer.pending
        if len(pending) <= RECORDS_PER_FRAME:
            peer.pending = {}
            return b"".join([encode_record(record) for record in pending.values()])
        keys = list(pending)[:RECORDS_PER_FRAME]
        return b"".join([encode_record(pending.pop(key)) for key in keys])
