"""A strict TCP endpoint for simulations, written from RFC 9293 and independent of the mirror's sender.

It rejects whatever is not acceptable (section 3.10.7.4), challenges doubtful RSTs and SYNs (RFC 5961), never
shrinks its window and never accepts a byte outside it. Positions are octet counts from the ISN: the SYN is 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from copytool.wire.build import build_options, build_segment
from copytool.wire.segment import ACK, FIN, PSH, RST, SYN, Segment
from copytool.wire.seq import SEQ_MASK, seq_diff

__all__ = ["App", "Clock", "Endpoint", "Stack"]

RETRIES = 30


class Clock(Protocol):
    """What an endpoint needs of the simulation."""

    now: float

    def call_later(self, delay_s: float, function: Callable[..., None], *arguments: object) -> None: ...


class App(Protocol):
    """The application above an endpoint."""

    def opened(self, endpoint: Endpoint) -> None: ...
    def arrived(self, endpoint: Endpoint, end: int) -> None: ...
    def readable(self, endpoint: Endpoint) -> None: ...
    def finished(self, endpoint: Endpoint) -> None: ...
    def was_reset(self, endpoint: Endpoint) -> None: ...


@dataclass(frozen=True)
class Stack:
    """Parameters of a TCP stack."""

    mss: int = 1460
    window_scale: int = 7
    receive_buffer: int = 65535
    rto_s: float = 0.25


class Endpoint:
    """One end of a connection. `local` and `remote` are (packed address, port)."""

    def __init__(self, clock: Clock, local, remote, isn: int, send: Callable[[bytes], None], app: App, stack: Stack):
        self.clock, self.local, self.remote, self.app, self.stack = clock, local, remote, app, stack
        self.iss, self._send = isn, send
        self.state = "closed"
        self.una = self.next = self.sent_to = 0
        self.out = bytearray()
        self.fin_wanted = self.fin_received = False
        self.window = 0
        self._window_from = (0, 0)
        self.irs = 0
        self.expected = 0
        self.edge = 0
        self.unread = bytearray()
        self._later: dict[int, bytes] = {}
        self._fin_at = -1
        self.mss = 536
        self.scale_in = self.scale_out = 0
        self._offered_scale = stack.window_scale
        self._timer_serial = 0
        self._timer_set = False
        self._retries = 0
        self.unacceptable = 0

    # -- the application's calls ----------------------------------------------------------------------------

    def connect(self) -> None:
        """Send the SYN."""
        self.state = "syn_sent"
        self._transmit_from(0)

    def write(self, octets: bytes) -> None:
        """Queue bytes for the peer."""
        self.out += octets
        self.transmit()

    def close(self) -> None:
        """Send a FIN after everything written."""
        self.fin_wanted = True
        self.transmit()

    def abort(self) -> None:
        """Reset the connection."""
        self._emit(RST | ACK, self.sent_to)
        self.state = "closed"

    def read(self, size: int) -> bytes:
        """Take up to `size` received bytes; tells the peer when that opens the window worthily."""
        octets = bytes(self.unread[:size])
        del self.unread[:size]
        opened = self.expected + self.stack.receive_buffer - len(self.unread) - self.edge
        if octets and self.state == "open" and opened >= min(self.stack.mss, self.stack.receive_buffer // 2):
            self._emit(ACK, self.next)
        return octets

    @property
    def fin_acked(self) -> bool:
        """Whether the peer acknowledged our FIN."""
        return self.fin_wanted and self.una == len(self.out) + 2

    # -- sending --------------------------------------------------------------------------------------------

    def _advertised(self) -> int:
        room = (self.stack.receive_buffer - len(self.unread)) >> self.scale_in
        room = min(max(room, (self.edge - self.expected) >> self.scale_in, 0), 65535)
        self.edge = max(self.edge, self.expected + (room << self.scale_in))
        return room

    def _emit(self, flags: int, position: int, payload: bytes = b"", options: bytes = b"") -> None:
        ack = (self.irs + self.expected) & SEQ_MASK if flags & ACK else 0
        if flags & SYN:
            window = min(self.stack.receive_buffer, 65535)
            self.edge = max(self.edge, self.expected + window)
        else:
            window = self._advertised()
        seq = (self.iss + position) & SEQ_MASK
        self._send(build_segment(*self._addresses(), seq, ack, flags, window, options, payload))

    def _addresses(self):
        return self.local[0], self.remote[0], self.local[1], self.remote[1]

    def transmit(self) -> None:
        """Send what the peer's window allows."""
        if self.state != "open":
            return
        end = len(self.out) + 1
        while self.next < end and self.next < self.una + self.window:
            self._transmit_from(self.next)
        if self.fin_wanted and self.next == end:
            self._transmit_from(end)
        if self.una < end + self.fin_wanted:
            self._arm()

    def _transmit_from(self, position: int, probe: bool = False) -> None:
        """Send the segment that starts at `position`."""
        end = len(self.out) + 1
        if position == 0:
            flags = SYN | ACK if self.state == "syn_received" else SYN
            self._emit(flags, 0, b"", build_options(self.stack.mss, self._offered_scale))
            taken = 1
        else:
            room = 1 if probe else max(self.una + self.window - position, 0)
            size = min(self.mss, end - position, room)
            last = position + size == end
            flags = ACK | (PSH if last and size else 0) | (FIN if last and self.fin_wanted else 0)
            self._emit(flags, position, bytes(self.out[position - 1 : position - 1 + size]))
            taken = size + (flags & FIN)
        self.next = max(self.next, position + taken)
        self.sent_to = max(self.sent_to, self.next)
        self._arm()

    def _arm(self) -> None:
        if not self._timer_set:
            self._timer_set = True
            self._timer_serial += 1
            self.clock.call_later(self.stack.rto_s * 2 ** min(self._retries, 4), self._timeout, self._timer_serial)

    def _disarm(self) -> None:
        self._timer_set = False
        self._timer_serial += 1
        self._retries = 0

    def _timeout(self, serial: int) -> None:
        if serial != self._timer_serial or self.state == "closed":
            return
        self._timer_set = False
        if self.una < len(self.out) + 1 + self.fin_wanted:
            self._retries += 1
            assert self._retries < RETRIES, f"{self.state} endpoint heard nothing for {RETRIES} time-outs"
            self._transmit_from(self.una, probe=self.window == 0)

    # -- receiving ------------------------------------------------------------------------------------------

    def receive(self, segment: Segment, payload: bytes) -> None:
        """Take in one segment addressed to this endpoint."""
        if self.state == "closed":
            return
        if self.state == "syn_sent":
            self._receive_in_syn_sent(segment)
        elif self.state == "listen":
            self._accept(segment)
        else:
            self._receive_synchronized(segment, payload)

    def listen(self) -> None:
        """Wait for a SYN."""
        self.state = "listen"

    def _accept(self, segment: Segment) -> None:
        if segment.flags & (SYN | ACK | RST) == SYN:
            self.irs = segment.seq
            self.expected = 1
            self._negotiate(segment)
            self.state = "syn_received"
            self._transmit_from(0)

    def _negotiate(self, syn: Segment) -> None:
        self.mss = min(syn.mss or 536, self.stack.mss)
        self.window = syn.window
        if syn.window_scale >= 0 and self.stack.window_scale >= 0:
            self.scale_in, self.scale_out = self.stack.window_scale, syn.window_scale
        else:
            self._offered_scale = -1

    def _receive_in_syn_sent(self, segment: Segment) -> None:
        if not segment.flags & ACK or segment.ack != (self.iss + 1) & SEQ_MASK:
            return
        if segment.flags & RST:
            self._reset()
        elif segment.flags & SYN:
            self.irs, self.expected = segment.seq, 1
            self._negotiate(segment)
            self.una = 1
            self._disarm()
            self.state = "open"
            self._emit(ACK, 1)
            self.app.opened(self)

    def _acceptable(self, start: int, length: int) -> bool:
        room = max(self.edge - self.expected, 0)
        if length == 0:
            return start == self.expected if room == 0 else self.expected <= start < self.expected + room
        if room == 0:
            return False
        return start < self.expected + room and start + length > self.expected

    def _receive_synchronized(self, segment: Segment, payload: bytes) -> None:
        flags = segment.flags
        start = self.expected + seq_diff(segment.seq, (self.irs + self.expected) & SEQ_MASK)
        length = len(payload) + (flags & FIN) + (flags >> 1 & 1)
        if not self._acceptable(start, length):
            self.unacceptable += 1
            if not flags & RST:
                self._emit(ACK, self.next)
            return
        if flags & RST:
            if start == self.expected:
                self._reset()
            else:
                self._emit(ACK, self.next)
            return
        if flags & SYN:
            self._emit(ACK, self.next)
            return
        if flags & ACK and self._receive_ack(segment, start):
            self._receive_octets(start, payload, bool(flags & FIN))
            if length:
                self._emit(ACK, self.next)
            self._tell_app()
            self.transmit()

    def _receive_ack(self, segment: Segment, start: int) -> bool:
        ack = self.una + seq_diff(segment.ack, (self.iss + self.una) & SEQ_MASK)
        if self.state == "syn_received" and not 1 <= ack <= self.sent_to:  # section 3.10.7.4: of another connection
            self._send(build_segment(*self._addresses(), segment.ack, 0, RST, 0))
            return False
        if ack > self.sent_to:
            self._emit(ACK, self.next)
            return False
        if self.state == "syn_received":
            self.state = "open"
            self.una = 1
            self._disarm()
            self.app.opened(self)
        if ack > self.una:
            self.una = ack
            self.next = max(self.next, ack)
            self._disarm()
            if self.una < self.sent_to:
                self._arm()
        if ack >= self.una and (start, ack) >= self._window_from:
            self._window_from = (start, ack)
            self.window = segment.window << self.scale_out
        return True

    def _receive_octets(self, start: int, payload: bytes, fin: bool) -> None:
        if fin and start + len(payload) <= self.edge:
            self._fin_at = start + len(payload)
        payload = payload[: max(self.edge - start, 0)]
        if payload:
            self.app.arrived(self, start + len(payload) - 1)
            if len(payload) > len(self._later.get(start, b"")):
                self._later[start] = payload
        while ready := [begin for begin in self._later if begin <= self.expected]:
            for begin in ready:
                fresh = self._later.pop(begin)[self.expected - begin :]
                self.unread += fresh
                self.expected += len(fresh)

    def _tell_app(self) -> None:
        if self.unread:
            self.app.readable(self)
        if self._fin_at == self.expected and not self.fin_received and self.state == "open":
            self.fin_received = True
            self.expected += 1
            self.edge = max(self.edge, self.expected)
            self._emit(ACK, self.next)
            self.app.finished(self)

    def _reset(self) -> None:
        self.state = "closed"
        self.app.was_reset(self)
