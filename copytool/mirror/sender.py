"""The mirror's TCP endpoint towards the target: an ordinary sender for which the responses' bytes do not matter.

Theory of operation. The session writes released client bytes; the sender gives them to the target with its own
segmentation, flow control, congestion control (RFC 5681, NewReno) and retransmission (RFC 6298). Responses arrive
as records that carry header state only. Nobody reads their bodies, so the newest response octet is acknowledged
even if an earlier packet never reached intercept: a lost response costs nothing.

    SYN_SENT --SYN/ACK--> OPEN --reset/failure/abort--> CLOSED
    OPEN has two independent halves: fin_acked (ours) and fin_received (the target's).

Positions are unbounded octet counts from our ISN (the SYN is octet 0, data starts at 1), so comparisons need no
modular arithmetic; only the wire does. The ISN is the client's own: it is as unpredictable as the client made it, and
a capture at the target can be laid beside one at the online host.
"""

from __future__ import annotations

from ..link.records import ResponseRecord
from ..wire import seq as serial
from ..wire.burst import MAX_BURST_BYTES
from ..wire.flow import FlowKey
from ..wire.segment import ACK, FIN, PSH, RST, SYN, URG
from .common import Common
from .congestion import Congestion
from .path import SegmentSize
from .responses import ResponseSide
from .rtt import RttEstimator
from .send_buffer import SendBuffer
from .send_window import SendWindow
from .timers import NEVER

__all__ = ["CLOSED", "OPEN", "SYN_SENT", "Sender"]

SYN_SENT = 0
OPEN = 1
CLOSED = 2

_SYN_SENT = SYN_SENT
_OPEN = OPEN
_CLOSED = CLOSED

_DEFAULT_MSS = 536  # RFC 9293, section 3.7.1: what a SYN/ACK without the option means
_SYN_AGAIN_S = 0.01
_TIMEOUTS_PER_SIZE = 2  # of one segment, before a smaller one is tried
_STALLED_TIMES = 3  # a target that answers, and does not take a segment, is given more time than a silent one
_MAX_BACKOFF = 8  # 200 ms become 51 s; a window may stay closed, and be probed, for days


class Sender:
    """One mirrored session's TCP endpoint. `key` leads to the target; the MSS and window scale are the SYN's options.

    failure: why the sender closed by itself (an outcome word), or ""; reason: the same for people. delivered: octets
    that the target has acknowledged; buffered: released ones that it has not. responses: what came back.
    """

    __slots__ = (
        "_buffer",
        "_config",
        "_congestion",
        "_counters",
        "_emitter",
        "_head_timeouts",
        "_iss",
        "_key",
        "_mss",
        "_next",
        "_persist_at",
        "_retries",
        "_rto_at",
        "_segment_size",
        "_sent_to",
        "_una",
        "_window",
        "delivered",
        "failure",
        "reason",
        "responses",
        "rtt",
        "state",
    )

    def __init__(
        self,
        common: Common,
        key: FlowKey,
        iss: int,
        mss: int,
        window_scale: int,
    ) -> None:
        self._emitter = common.emitter
        self._counters = common.emitter.counters
        self._config = common.config
        self._key = key
        self._iss = iss
        self._mss = mss
        self._congestion = Congestion(_DEFAULT_MSS)
        self._segment_size = SegmentSize(common.path, _DEFAULT_MSS)
        self._window = SendWindow(window_scale)
        self._una = 0
        self._next = 0
        self._sent_to = 0
        self._buffer = SendBuffer()
        self._retries = 0
        self._head_timeouts = 0
        self._rto_at = NEVER
        self._persist_at = NEVER
        self.responses = ResponseSide(common.config.delayed_ack_s)
        self.delivered = 0
        self.failure = ""
        self.reason = ""
        self.state = _SYN_SENT
        self.rtt = RttEstimator()

    # -- what the session asks ------------------------------------------------------------------------------

    def buffered(self) -> int:
        """Released octets that the target has not acknowledged."""
        return self._buffer.end - self._buffer.start

    def fin_acked(self) -> bool:
        """Whether the target acknowledged our FIN."""
        return self._buffer.finished and self._una > self._buffer.end

    # -- what the session does ------------------------------------------------------------------------------

    def open(self, now: float) -> None:
        """Send the SYN."""
        self._emit_syn()
        self._next = self._sent_to = 1
        self.rtt.start(1, now)
        self._rto_at = now + self.rtt.rto_s()

    def write(self, octets: bytes, urgent: bool = False) -> None:
        """Append released client octets, the last one urgent or not; transmit() sends them."""
        self._buffer.append(octets, urgent)

    def finish(self) -> None:
        """Send a FIN after everything written."""
        self._buffer.finished = True

    def abort(self) -> None:
        """Close at once; the target gets an RST if it knows of the session."""
        if self.state != _CLOSED:
            # RFC 5961, section 3.2: only an RST at exactly the target's RCV.NXT counts. That is _sent_to unless
            # something is in flight; if we guess wrong the target's challenge ACK is answered by the engine.
            self._emit(RST | ACK if self.state == _OPEN else RST, self._sent_to)
            self._counters.resets += 1
            self._close("", "")

    def transmit(self, now: float) -> None:
        """Send what the windows allow, and an acknowledgement that is due and found no data to ride on."""
        if self.state != _OPEN:
            return
        data_end = self._buffer.end
        while self._next < data_end:
            size = self._usable(data_end - self._next)
            if size <= 0:
                break
            self._send_data(size, data_end, now)
        if self._buffer.finished and self._next == data_end:
            self._emit(FIN | ACK, data_end)
            self._advance(data_end + 1, now)
        if self._next < data_end and self._una == self._next and self._persist_at == NEVER:
            self._persist_at = now + self.rtt.rto_s()
        if self.responses.ack_at <= now:
            self._send_ack()

    def next_timer(self) -> float:
        """Return the earliest deadline, or NEVER."""
        return min(self._rto_at, self._persist_at, self.responses.ack_at)

    def handle_timer(self, now: float) -> None:
        """Retransmit, probe a zero window; an acknowledgement that is due goes with transmit()."""
        if self._rto_at <= now:
            self._retransmission_timeout(now)
        if self._persist_at <= now and self.state == _OPEN:
            self._probe_window(now)

    def expedite(self, now: float) -> None:
        """Retransmit soon: answers were not seen for a while and the back-off no longer says anything."""
        if self._rto_at != NEVER:
            self.rtt.backoff = 0
            self._retries = self._head_timeouts = 0
            self._segment_size.forget()
            self._rto_at = now

    def receive(self, record: ResponseRecord, now: float) -> None:
        """Take in what the target said."""
        if self.state == _SYN_SENT:
            self._receive_in_syn_sent(record, now)
        elif self.state == _OPEN:
            if record.flags & (SYN | RST) == SYN and not self.responses.is_initial(record.control_seq):
                self._counters.unacceptable += 1  # of another connection, one that the target forgot or began since
                self._send_ack()
                return
            if record.flags & RST and not self._accept_reset(record):
                return
            if self.state == _OPEN:
                self._receive_open(record, now)

    # -- sending --------------------------------------------------------------------------------------------

    def _usable(self, wanted: int) -> int:
        """Return how many octets may be sent now, in one segment or in a burst of several."""
        room = min(self._congestion.window, self._window.octets) - (self._next - self._una)
        segment_bytes = self._segment_size.limit()
        size = min(wanted, room, MAX_BURST_BYTES)
        if size > segment_bytes:
            return size if size == wanted else size - size % segment_bytes
        return self._window.usable(min(wanted, segment_bytes), room)

    def _send_data(self, size: int, data_end: int, now: float) -> None:
        position = self._next
        segment_bytes = self._segment_size.limit()
        end = position + size
        is_urgent = False
        if self._buffer.has_urgent():
            end, is_urgent = self._buffer.end_at_urgent(position, end, segment_bytes)
        flags = ACK | PSH if end == data_end else ACK
        if is_urgent:
            flags |= URG
        if end == data_end and self._buffer.finished:
            flags |= FIN
        payload = self._buffer.read(position, end - position)
        if len(payload) > segment_bytes:
            seq = serial.seq_add(self._iss, position)
            self._emitter.emit_burst(self._key, flags, seq, self.responses.acknowledge(False), payload, segment_bytes)
        else:
            self._emit(flags, position, payload)
        segments = -(-len(payload) // segment_bytes)
        self._counters.segments += segments
        if position < self._sent_to:
            self._counters.retransmissions += segments
        self._advance(end + (flags & FIN), now)

    def _advance(self, end: int, now: float) -> None:
        """Note that everything before `end` was sent."""
        if end > self._sent_to:
            if self._next >= self._sent_to:
                self.rtt.start(end, now)
            self._sent_to = end
        self._next = end
        self._persist_at = NEVER
        if self._rto_at == NEVER:
            self._rto_at = now + self.rtt.rto_s()

    def _emit(self, flags: int, position: int, payload: bytes = b"") -> None:
        ack = self.responses.acknowledge(not payload and not flags & FIN) if flags & ACK else 0
        urgent = len(payload) if flags & URG else 0
        self._emitter.emit(self._key, flags, serial.seq_add(self._iss, position), ack, payload, urgent)

    def _emit_syn(self) -> None:
        self._emitter.emit_syn(self._key, self._iss, self._mss, self._window.scale)

    def _send_ack(self) -> None:
        # Behind a window probe our newest number lies outside the target's window, and it would discard the ACK.
        self._emit(ACK, min(self._sent_to, self._una + self._window.octets))
        self._counters.acks += 1

    # -- loss -----------------------------------------------------------------------------------------------

    def _retransmission_timeout(self, now: float) -> None:
        opening = self.state == _SYN_SENT
        self._retries += 1
        if opening and self._retries > self._config.syn_retries:
            self._close("target_unreachable", f"no answer to {self._retries} SYNs")
            return
        if not opening and self._is_stalled():
            self.abort()
            times = max(self._retries, self._head_timeouts)
            self._close("target_stalled", f"no acknowledgement of a segment that was sent {times} times")
            return
        if not self._head_timeouts:
            self._segment_size.note_failing(now - self.rtt.rto_s())
        self.rtt.backoff = min(self.rtt.backoff + 1, _MAX_BACKOFF)
        self._rto_at = NEVER
        self.rtt.cancel()
        if opening:
            self._emit_syn()
            self._counters.retransmissions += 1
            self._rto_at = now + self.rtt.rto_s()
            return
        self._congestion.time_out(self._una, self._sent_to, window_is_closed=self._window.octets == 0)
        self._head_timeouts += self._window.octets > 0
        if self._head_timeouts % _TIMEOUTS_PER_SIZE == 0:
            self._try_smaller()
        self._next = self._una
        self._retransmit_head(now)

    def _is_stalled(self) -> bool:
        """Return whether the target has been silent for too long, or answers but never takes the next segment."""
        limit = self._config.data_retries
        return self._retries > limit or self._head_timeouts > _STALLED_TIMES * limit

    def _try_smaller(self) -> None:
        """Send smaller segments if the one that nobody acknowledges may be too large for the path."""
        if self._window.octets and self._segment_size.try_smaller(len(self._buffer)):
            # This size has not been waited for yet. A target that is away must not be given up sooner because of it.
            self.rtt.backoff = min(self.rtt.backoff, _TIMEOUTS_PER_SIZE)
            self._retries = min(self._retries, _TIMEOUTS_PER_SIZE)

    def _retransmit_head(self, now: float) -> None:
        """Send the first unacknowledged segment again, whatever the windows say, and arm the timer."""
        resume = max(self._next, self._una)
        data_end = self._buffer.end
        self._next = self._una
        self.rtt.cancel()
        if self._una < data_end:
            # Only a probe goes into a closed window.
            size = min(self._segment_size.limit() if self._window.octets else 1, data_end - self._una)
            self._send_data(size, data_end, now)
        else:
            self._emit(FIN | ACK, data_end)
            self._counters.retransmissions += 1
            self._advance(data_end + 1, now)
        self._next = max(self._next, resume)

    def _probe_window(self, now: float) -> None:
        """Send one octet into a closed window so that the target repeats its window (RFC 9293, 3.8.6.1)."""
        data_end = self._buffer.end
        self._persist_at = NEVER
        self._retries = 0  # a target that keeps its window closed but answers is slow, not dead
        self.rtt.backoff = min(self.rtt.backoff + 1, _MAX_BACKOFF)
        size = min(self._window.octets, self._segment_size.limit(), data_end - self._next)
        self._send_data(max(size, 1), data_end, now)

    # -- receiving ------------------------------------------------------------------------------------------

    def _receive_in_syn_sent(self, record: ResponseRecord, now: float) -> None:
        if not record.flags & ACK:
            return
        if record.ack != serial.seq_add(self._iss, 1):
            if not record.flags & RST:
                # The target has an older connection on these ports: RFC 9293, section 3.10.7.3 says reset it.
                self._emitter.emit(self._key, RST, record.ack, 0)
                self._counters.resets += 1
                self._rto_at = min(self._rto_at, now + _SYN_AGAIN_S)
            return
        if record.flags & RST:
            self._close("target_refused", "the target answered the SYN with RST")
        elif record.flags & SYN:
            self._open(record, now)

    def _open(self, record: ResponseRecord, now: float) -> None:
        self.state = _OPEN
        self._mss = 0  # it was the SYN's
        self._retries = 0
        self.rtt.backoff = 0
        self._una = self._next = self._sent_to = 1
        self._rto_at = NEVER
        self.rtt.acknowledge(1, now)
        self._segment_size.target_mss = record.mss or _DEFAULT_MSS
        self._window.open(record.window, record.window_scale)
        self._congestion = Congestion(self._segment_size.limit())
        self.responses.open(record.control_seq, now)
        self.responses.receive(record, now)

    def _accept_reset(self, record: ResponseRecord) -> bool:
        """Apply RFC 5961, section 3.2 to an RST; return whether the rest of the record is worth reading."""
        responses = self.responses
        follows_data = bool(record.data_segments or record.flags & (FIN | SYN))
        if responses.is_expected(record.control_seq) or (follows_data and record.control_seq == record.end):
            if record.flags & ACK:
                self._drop_acknowledged(self._una + serial.seq_diff(record.ack, serial.seq_add(self._iss, self._una)))
            closed = responses.finished or record.flags & FIN
            self._close(
                "target_closed_early" if closed else "target_reset",
                f"RST{' behind its FIN' if closed else ''} after {responses.received} response octets",
            )
            return True
        self._counters.unacceptable += 1
        if responses.is_plausible(record.control_seq):
            self._send_ack()
        return False

    def _receive_open(self, record: ResponseRecord, now: float) -> None:
        if not self.responses.receive(record, now):
            self._counters.unacceptable += 1
        if record.flags & ACK:
            self._receive_ack(record, now)

    def _receive_ack(self, record: ResponseRecord, now: float) -> None:
        acked = self._una + serial.seq_diff(record.ack, serial.seq_add(self._iss, self._una))
        if acked > self._sent_to:
            self._counters.unacceptable += 1
            return
        if acked < self._una:
            return
        window = self._window.scaled(record.window)
        if acked > self._una:
            self._take_acknowledged(acked, now)
            self._count_duplicates(record.duplicate_acks, now)
        elif self._sent_to > self._una:
            self._retries = 0  # it answers: slow or full, but not dead
            if window == self._window.octets:
                self._count_duplicates(record.duplicate_acks + (record.data_segments == 0), now)
        if window > self._window.octets:
            self._persist_at = NEVER
            if self._window.octets == 0:
                self._reopen(acked)
        self._window.set(window)

    def _reopen(self, una: int) -> None:
        """Start again behind the last acknowledged octet: probes sent into the closed window were discarded."""
        self._next = una
        self.rtt.backoff = 0
        self._rto_at = NEVER

    def _take_acknowledged(self, acked: int, now: float) -> None:
        octets = acked - self._una
        self._drop_acknowledged(acked)
        self.rtt.acknowledge(acked, now)
        self._una = acked
        self._segment_size.note_acknowledged(now)
        self._next = max(self._next, acked)
        self._retries = self._head_timeouts = 0
        self.rtt.backoff = 0
        self._rto_at = now + self.rtt.rto_s() if self._sent_to > acked else NEVER
        if self._congestion.acknowledge(octets, acked):
            self._retransmit_head(now)

    def _drop_acknowledged(self, acked: int) -> None:
        if acked <= self._sent_to:
            self.delivered += self._buffer.acknowledge(acked)

    def _count_duplicates(self, count: int, now: float) -> None:
        if self._congestion.note_duplicates(count, self._una, self._sent_to):
            self._retransmit_head(now)

    def _close(self, failure: str, reason: str) -> None:
        self.state = _CLOSED
        self.failure = self.failure or failure
        self.reason = self.reason or reason
        self._rto_at = self._persist_at = self.responses.ack_at = NEVER
