"""Makes the senders' segments and keeps them until somebody fetches them."""

from __future__ import annotations

from ..wire import build
from ..wire.flow import FlowKey
from ..wire.segment import SYN

__all__ = ["Emitter", "Outgoing", "SenderCounters"]

Outgoing = tuple[bytearray, int]
"""(IP packet with an unfinished checksum, payload bytes per segment if it is a burst, else 0); see wire/"""

_WINDOW = 65535  # nobody reads the responses, so there is always room
_DEFAULT_MSS = 536  # RFC 9293, section 3.7.1: what a SYN without the option means


class SenderCounters:
    """Totals over all senders of an engine. octets: those of the IP packets."""

    __slots__ = ("acks", "octets", "packets", "resets", "retransmissions", "segments", "unacceptable")

    def __init__(self) -> None:
        self.packets = 0
        self.segments = 0
        self.acks = 0
        self.octets = 0
        self.resets = 0
        self.retransmissions = 0
        self.unacceptable = 0


class Emitter:
    """What all senders of an engine send with. outbox: the packets that nobody has fetched yet, in order."""

    __slots__ = ("counters", "outbox")

    def __init__(self, counters: SenderCounters) -> None:
        self.counters = counters
        self.outbox: list[Outgoing] = []

    def emit(self, key: FlowKey, flags: int, seq: int, ack: int, payload: bytes = b"", urgent: int = 0) -> None:
        """Queue one segment; `seq`, `ack` and the urgent pointer as on the wire."""
        self._queue(key, flags, seq, ack, b"", payload, urgent, 0)

    def emit_burst(self, key: FlowKey, flags: int, seq: int, ack: int, payload: bytes, segment_bytes: int) -> None:
        """Queue a packet that stands for segments of `segment_bytes` each, the last one shorter or not."""
        self._queue(key, flags, seq, ack, b"", payload, 0, segment_bytes)

    def emit_syn(self, key: FlowKey, seq: int, mss: int, window_scale: int) -> None:
        """Queue a SYN with the client's MSS, 0 if it sent none, and window scale, -1 if none."""
        self._queue(key, SYN, seq, 0, build.build_options(mss or _DEFAULT_MSS, window_scale), b"", 0, 0)

    def _queue(
        self,
        key: FlowKey,
        flags: int,
        seq: int,
        ack: int,
        options: bytes,
        payload: bytes,
        urgent: int,
        segment_bytes: int,
    ) -> None:
        packet = build.build_packet(key, seq, ack, flags, _WINDOW, options, payload, urgent)
        self.outbox.append((packet, segment_bytes))
        segments = -(-len(payload) // segment_bytes) if segment_bytes else 1
        self.counters.packets += segments
        self.counters.octets += len(payload) + segments * (len(packet) - len(payload))
