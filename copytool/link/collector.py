"""intercept's engine: response packets in, response records out, one per session and flush.

The last record of each open session is kept. A copy that comes back, after an outage of the link or because it was
killed and started again, is sent them all: the same copy learns what it missed, and a new one, which knows none of
these sessions, resets them on the target, where nobody else would ever end them.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Protocol

from ..wire import octets
from ..wire import segment as tcp
from ..wire.flow import FlowKey, flow_ends
from ..wire.segment import DROP_REASONS, FIN, RST, Segment
from .frames import MAX_FRAME
from .records import RECORD_SIZE, ResponseRecord
from .share import Share

__all__ = ["MAX_ABSENT", "MAX_OPEN", "MAX_PENDING", "RECORDS_PER_FRAME", "ResponseCollector", "ShareOwner"]

MAX_PENDING = 65536
"""Sessions with an unsent record, per peer. A peer that does not read cannot grow intercept beyond this;
a record lost here costs a retransmission, because the next one of its session carries newer state."""

MAX_OPEN = 65536
"""Open sessions remembered per peer; beyond it the one that was remembered first is forgotten."""

MAX_ABSENT = 4
"""Peers remembered after they have gone; beyond it the one that went first is forgotten."""

RECORDS_PER_FRAME = (MAX_FRAME - 1) // RECORD_SIZE


class ShareOwner(Protocol):
    """Whatever a share belongs to; intercept's daemon uses its link connections."""

    @property
    def share(self) -> Share | None:
        """The share it claims."""
        ...


class _Peer:
    """A share, the records to send to its copy, and the last record of each session open on a target."""

    __slots__ = ("open", "pending", "share")

    def __init__(self, share: Share) -> None:
        self.share = share
        self.pending: dict[FlowKey, ResponseRecord] = {}
        self.open: dict[FlowKey, ResponseRecord] = {}

    def remember(self, key: FlowKey, record: ResponseRecord) -> None:
        """Keep the record until its session closes."""
        if record.flags & (FIN | RST):
            self.open.pop(key, None)
            return
        if len(self.open) >= MAX_OPEN and key not in self.open:
            del self.open[next(iter(self.open))]
        self.open[key] = record

    def resume(self, share: Share) -> _Peer:
        """Return the peer that takes over, with every open session's record to send again."""
        heir = _Peer(share)
        heir.pending = self.open | self.pending
        for record in heir.pending.values():
            record.data_segments = record.duplicate_acks = 0  # state, not news
        return heir


class ResponseCollector:
    """Attributes response packets to the copy that owns their session and coalesces them.

    counters: packets parsed (`packets`), records made (`records`), and each packet that made none by reason.
    """

    __slots__ = ("_absent", "_peers", "_segment", "counters")

    def __init__(self) -> None:
        self._peers: dict[ShareOwner, _Peer] = {}
        self._absent: deque[_Peer] = deque(maxlen=MAX_ABSENT)
        self._segment = Segment()
        self.counters = dict.fromkeys(
            ("packets", "records", "no_owner", "foreign_source", "overflow", "bad_checksum", *DROP_REASONS[1:]), 0
        )

    def add_owner(self, owner: ShareOwner, share: Share) -> None:
        """Start to collect for `owner`, or go on where an earlier owner of these client networks left."""
        peer = _Peer(share)
        for absent in list(self._absent):
            if absent.share.overlap(share) is not None:
                self._absent.remove(absent)
                if set(absent.share.networks) == set(share.networks):
                    peer = absent.resume(share)
        self._peers[owner] = peer

    def remove_owner(self, owner: ShareOwner) -> None:
        """Stop to collect for `owner`; its sessions are remembered for its successor."""
        peer = self._peers.pop(owner, None)
        if peer is not None:
            self._absent.append(peer)

    def overlapping_owner(self, share: Share) -> ShareOwner | None:
        """Return an owner whose client networks overlap those of `share`, or None."""
        for owner, peer in self._peers.items():
            if share.overlap(peer.share) is not None:
                return owner
        return None

    def receive_packet(self, buffer: octets.Buffer, is_checked: bool = False, start: int = 0, size: int = -1) -> None:
        """Take in one captured response packet of `size` octets (-1: all), whose IP header is at `start` of the buffer.

        Its payload may be cut off. is_checked: whether the kernel, or the sender, has answered for its checksums.
        """
        segment = self._segment
        counters = self.counters
        counters["packets"] += 1
        reason = tcp.parse_segment(segment, buffer, start, size)
        if reason:
            counters[DROP_REASONS[reason]] += 1
            return
        peer = self._peer_with(segment.key)
        if peer is None:
            return
        if not is_checked and not tcp.are_checksums_valid(segment, buffer):
            counters["bad_checksum"] += 1
        else:
            self._merge(peer, segment)

    def _peer_with(self, key: FlowKey) -> _Peer | None:
        """Return the peer whose session a response with this key belongs to, None, and counted, if there is none."""
        for peer in self._peers.values():
            if key in peer.pending or key in peer.open:
                return peer
        target, target_port, mirror, _ = flow_ends(key)
        owner = self._peer_of(mirror)
        if owner is None:
            self.counters["no_owner"] += 1
        elif (target, target_port) not in owner.share.targets:
            # Anybody may send to the client network; only a configured target speaks for a session.
            self.counters["foreign_source"] += 1
            return None
        return owner

    def _peer_of(self, mirror: bytes) -> _Peer | None:
        for peer in self._peers.values():
            if peer.share.owns(mirror):
                return peer
        for peer in self._absent:
            if peer.share.owns(mirror):
                return peer
        return None

    def _merge(self, peer: _Peer, segment: Segment) -> None:
        key = segment.key
        record = peer.pending.get(key)
        if record is not None:
            record.merge(segment)
        elif len(peer.pending) < MAX_PENDING:
            peer.pending[key] = ResponseRecord.of(segment)
            self.counters["records"] += 1
        else:
            self.counters["overflow"] += 1

    def has_records(self, owner: ShareOwner) -> bool:
        """Return whether `owner` has unsent records."""
        peer = self._peers.get(owner)
        return peer is not None and bool(peer.pending)

    def take_records(self, owner: ShareOwner) -> bytearray:
        """Return up to RECORDS_PER_FRAME encoded records of `owner`, oldest first; empty when there is none."""
        peer = self._peers.get(owner)
        if peer is None or not peer.pending:
            return bytearray()
        pending = peer.pending
        taken = pending
        if len(pending) <= RECORDS_PER_FRAME:
            peer.pending = {}
        else:
            taken = {key: pending.pop(key) for key in list(islice(pending, RECORDS_PER_FRAME))}
        body = bytearray(len(taken) * RECORD_SIZE)
        at = 0
        for key, record in taken.items():
            peer.remember(key, record)
            record.encode(body, at)
            at += RECORD_SIZE
        return body
