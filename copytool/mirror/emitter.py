"""Makes a sender's segments and puts them in the engine's outbox."""

from __future__ import annotations

from collections import deque

from ..wire.segment import build_options, build_segment
from .mapping import MirrorKey

__all__ = ["Emitter", "SenderCounters"]

_WINDOW = 65535  # nobody reads the responses, so there is always room
_DEFAULT_MSS = 536  # RFC 9293, section 3.7.1: what a SYN without the option means


class SenderCounters:
    """Totals over all senders of an engine."""

    __slots__ = ("acks", "packets", "resets", "retransmissions", "segments", "unacceptable")

    def __init__(self) -> None:
        self.packets = 0
        self.segments = 0
        self.acks = 0
        self.resets = 0
        self.retransmissions = 0
        self.unacceptable = 0


class Emitter:
    """One session's addresses and SYN options (the client's MSS, 0 if it sent none, and window scale, -1 if none)."""

    __slots__ = ("_key", "_options", "_outbox", "counters")

    def __init__(
        self, key: MirrorKey, mss: int, window_scale: int, outbox: deque[bytes], counters: SenderCounters
    ) -> None:
        self._key = key
        self._options = build_options(mss or _DEFAULT_MSS, window_scale)
        self._outbox = outbox
        self.counters = counters

    def emit(self, flags: int, seq: int, ack: int, payload: bytes | bytearray = b"", urgent: int = 0) -> None:
        """Queue one segment; `seq`, `ack` and the urgent pointer as on the wire."""
        self._send(flags, seq, ack, b"", payload, urgent)

    def emit_syn(self, flags: int, seq: int) -> None:
        """Queue a SYN with the session's options."""
        self._send(flags, seq, 0, self._options, b"", 0)

    def _send(self, flags: int, seq: int, ack: int, options: bytes, payload: bytes | bytearray, urgent: int) -> None:
        mirror, mirror_port, target, target_port = self._key
        self._outbox.append(
            build_segment(mirror, target, mirror_port, target_port, seq, ack, flags, _WINDOW, options, payload, urgent)
        )
        self.counters.packets += 1
