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
from ..wire.segment import ACK, FIN, PSH, RST, SYN
from ..wire.seq import SEQ_MASK, seq_diff
from .config import MirrorConfig
from .congestion import Congestion
from .emitter import Emitter
from .rtt import RttEstimator
from .timers import NEVER

__all__ = ["CLOSED", "OPEN", "SYN_SENT", "Sender"]

SYN_SENT, OPEN, CLOSED = range(3)

_MIN_MSS = 64
_DEFAULT_MSS = 536  # RFC 9293, section 3.7.1: what a SYN/ACK without the option means
_MAX_RESPONSE_JUMP = 1 << 30  # no window can be larger (RFC 7323, section 2.3)
_SYN_AGAIN_S = 0.01
_MAX_BACKOFF = 8  # 200 ms become 51 s; a window may stay closed, and be probed, for days


class Sender:
    """One mirrored session's TCP endpoint.

    failure: why the sender closed by itself (an outcome word), or "". received: response octets including the
    target's FIN. unsent/unacknowledged octets are in one buffer; `buffered` is its length.
    """

    __slots__ = (
        "_ack_at",
        "_acked_to",
        "_backlog_acks",
        "_buffer",
        "_buffer_at",
        "_config",
        "_congestion",
        "_counters",
        "_emitter",
        "_fin_wanted",
        "_irs",
        "_iss",
        "_mss",
        "_next",
        "_payload_limit",
        "_persist_at",
        "_retries",
        "_rto_at",
        "_sent_to",
        "_target_mss",
        "_timed_at",
        "_timed_end",
        "_una",
        "_window",
        "_window_max",
        "_window_scale",
        "delivered",
        "failure",
        "fin_received",
        "received",
        "rtt",
        "state",
    )

    def __init__(
        self,
        emitter: Emitter,
        iss: int,
        window_scale: int,
        config: MirrorConfig,
    ) -> None:
        self._emitter = emitter
        self._counters = emitter.counters
        self._iss = iss
        self._config = config
        self._congestion = Congestion(_DEFAULT_MSS)
        self._target_mss = _DEFAULT_MSS
        self._payload_limit = config.max_segment_bytes
        self._mss = self._segment_size()
        self._window_scale = window_scale
        self._window = 0
        self._window_max = 0
        self._una = 0
        self._next = 0
        self._sent_to = 0
        self._buffer = bytearray()
        self._buffer_at = 1
        self._fin_wanted = False
        self._timed_end = -1
        self._timed_at = 0.0
        self._retries = 0
        self._rto_at = NEVER
        self._persist_at = NEVER
        self._ack_at = NEVER
        self._backlog_acks = 0
        self._irs = 0
        self._acked_to = 0
        self.received = 0
        self.fin_received = False
        self.delivered = 0
        self.failure = ""
        self.state = SYN_SENT
        self.rtt = RttEstimator()

    # -- what the session asks ------------------------------------------------------------------------------

    @property
    def buffered(self) -> int:
        """Released octets that the target has not acknowledged."""
        return len(self._buffer)

    @property
    def fin_acked(self) -> bool:
        """Whether the target acknowledged our FIN."""
        return self._fin_wanted and self._una > self._data_end()

    def _data_end(self) -> int:
        return self._buffer_at + len(self._buffer)

    # -- what the session does ------------------------------------------------------------------------------

    def open(self, now: float) -> None:
        """Send the SYN."""
        self._emitter.emit_syn(SYN, self._iss)
        self._next = self._sent_to = 1
        self._timed_end, self._timed_at = 1, now
        self._rto_at = now + self.rtt.rto_s()

    def limit_payload(self, limit: int) -> None:
        """Send at most `limit` octets of payload per packet from now on: the path's MTU without headers."""
        self._payload_limit = limit
        self._mss = self._segment_size()

    def _segment_size(self) -> int:
        return max(min(self._target_mss, self._payload_limit), _MIN_MSS)

    def write(self, octets: bytes) -> None:
        """Append released client octets; transmit() sends them."""
        self._buffer += octets

    def finish(self) -> None:
        """Send a FIN after everything written."""
        self._fin_wanted = True

    def abort(self) -> None:
        """Close at once; the target gets an RST if it knows of the session."""
        if self.state != CLOSED:
            # RFC 5961, section 3.2: only an RST at exactly the target's RCV.NXT counts. That is _sent_to unless
            # something is in flight; if we guess wrong the target's challenge ACK is answered by the engine.
            self._emit(RST | ACK if self.state == OPEN else RST, self._sent_to)
            self._counters.resets += 1
            self._close("")

    def transmit(self, now: float) -> None:
        """Send what the windows allow, and an acknowledgement that is due and found no data to ride on."""
        if self.state != OPEN:
            return
        data_end = self._data_end()
        while self._next < data_end:
            size = self._usable(data_end - self._next)
            if size <= 0:
                break
            self._send_data(size, data_end, now)
        if self._fin_wanted and self._next == data_end:
            self._emit(FIN | ACK, data_end)
            self._advance(data_end + 1, now)
        if self._next < data_end and self._una == self._next and self._persist_at == NEVER:
            self._persist_at = now + self.rtt.rto_s()
        if self._ack_at <= now:
            self._send_ack()

    def next_timer(self) -> float:
        """Return the earliest deadline, or NEVER."""
        return min(self._rto_at, self._persist_at, self._ack_at)

    def handle_timer(self, now: float) -> None:
        """Retransmit, probe a zero window, send a delayed acknowledgement."""
        if self._rto_at <= now:
            self._retransmission_timeout(now)
        if self._persist_at <= now and self.state == OPEN:
            self._probe_window(now)
        if self._ack_at <= now and self.state == OPEN:
            self._send_ack()

    def expedite(self, now: float) -> None:
        """Retransmit soon: answers were not seen for a while and the back-off no longer says anything."""
        if self._rto_at != NEVER:
            self.rtt.backoff = 0
            self._retries = 0
            self._rto_at = now

    def receive(self, record: ResponseRecord, now: float) -> None:
        """Take in what the target said."""
        if self.state == SYN_SENT:
            self._receive_in_syn_sent(record, now)
        elif self.state == OPEN:
            if record.flags & RST and not self._accept_reset(record):
                return
            if self.state == OPEN:
                self._receive_octets(record, now)
                self._receive_ack(record, now)

    # -- sending --------------------------------------------------------------------------------------------

    def _usable(self, wanted: int) -> int:
        """Return how many octets may be sent now; 0 rather than a silly small segment (RFC 9293, 3.8.6.2.1)."""
        in_flight = self._next - self._una
        window = min(self._congestion.window, self._window) - in_flight
        size = min(wanted, self._mss)
        if window >= size:
            return size
        if window >= self._window_max // 2 or (in_flight == 0 and window > 0 and window >= wanted):
            return max(window, 0)
        return 0

    def _send_data(self, size: int, data_end: int, now: float) -> None:
        start = self._next - self._buffer_at
        end = self._next + size
        flags = ACK | PSH if end == data_end else ACK
        if end == data_end and self._fin_wanted:
            flags |= FIN
        self._emit(flags, self._next, self._buffer[start : start + size])
        self._counters.segments += 1
        if self._next < self._sent_to:
            self._counters.retransmissions += 1
        self._advance(end + (flags & FIN), now)

    def _advance(self, end: int, now: float) -> None:
        """Note that everything before `end` was sent."""
        if end > self._sent_to:
            if self._timed_end < 0 and self._next >= self._sent_to:  # Karn: time new octets only
                self._timed_end, self._timed_at = end, now
            self._sent_to = end
        self._next = end
        self._persist_at = NEVER
        if self._rto_at == NEVER:
            self._rto_at = now + self.rtt.rto_s()

    def _emit(self, flags: int, position: int, payload: bytes | bytearray = b"") -> None:
        ack = 0
        if flags & ACK:
            ack = (self._irs + 1 + self.received) & SEQ_MASK
            self._acked_to = self.received
            self._ack_at = NEVER
            self._backlog_acks = 0
        self._emitter.emit(flags, (self._iss + position) & SEQ_MASK, ack, payload)

    def _send_ack(self) -> None:
        # Behind a window probe our newest number lies outside the target's window, and it would discard the ACK.
        self._emit(ACK, min(self._sent_to, self._una + self._window))
        self._counters.acks += 1

    # -- loss -----------------------------------------------------------------------------------------------

    def _retransmission_timeout(self, now: float) -> None:
        opening = self.state == SYN_SENT
        self._retries += 1
        if self._retries > (self._config.syn_retries if opening else self._config.data_retries):
            if not opening:
                self.abort()
            self._close("target_unreachable" if opening else "target_stalled")
            return
        self.rtt.backoff = min(self.rtt.backoff + 1, _MAX_BACKOFF)
        self._rto_at = NEVER
        self._timed_end = -1
        if opening:
            self._emitter.emit_syn(SYN, self._iss)
            self._counters.retransmissions += 1
            self._rto_at = now + self.rtt.rto_s()
            return
        self._congestion.time_out(self._una, self._sent_to, window_is_closed=self._window == 0)
        self._next = self._una
        self._retransmit_head(now)

    def _retransmit_head(self, now: float) -> None:
        """Send the first unacknowledged segment again, whatever the windows say, and arm the timer."""
        resume = max(self._next, self._una)
        data_end = self._data_end()
        self._next = self._una
        self._timed_end = -1
        if self._una < data_end:
            limit = self._mss if self._window else 1  # only a probe goes into a closed window
            self._send_data(min(limit, data_end - self._una), data_end, now)
        elif self._fin_wanted:
            self._emit(FIN | ACK, data_end)
            self._counters.retransmissions += 1
            self._advance(data_end + 1, now)
        self._next = max(self._next, resume)

    def _probe_window(self, now: float) -> None:
        """Send one octet into a closed window so that the target repeats its window (RFC 9293, 3.8.6.1)."""
        data_end = self._data_end()
        self._persist_at = NEVER
        if self._next < data_end and self._una == self._next:
            self._retries = 0  # a target that keeps its window closed but answers is slow, not dead
            self.rtt.backoff = min(self.rtt.backoff + 1, _MAX_BACKOFF)
            self._send_data(max(min(self._window, self._mss, data_end - self._next), 1), data_end, now)

    # -- receiving ------------------------------------------------------------------------------------------

    def _receive_in_syn_sent(self, record: ResponseRecord, now: float) -> None:
        if not record.flags & ACK:
            return
        if record.ack != (self._iss + 1) & SEQ_MASK:
            if not record.flags & RST:
                # The target has an older connection on these ports: RFC 9293, section 3.10.7.3 says reset it.
                self._emitter.emit(RST, record.ack, 0)
                self._counters.resets += 1
                self._rto_at = min(self._rto_at, now + _SYN_AGAIN_S)
            return
        if record.flags & RST:
            self._close("target_refused")
        elif record.flags & SYN:
            self._irs = record.control_seq
            self._open(record, now)

    def _open(self, record: ResponseRecord, now: float) -> None:
        self.state = OPEN
        self._retries = 0
        self.rtt.backoff = 0
        self._una = self._next = self._sent_to = 1
        self._rto_at = NEVER
        if self._timed_end >= 0:
            self.rtt.sample(now - self._timed_at)
            self._timed_end = -1
        self._target_mss = record.mss or _DEFAULT_MSS
        self._mss = self._segment_size()
        if record.window_scale < 0 or self._window_scale < 0:
            self._window_scale = 0
        else:
            self._window_scale = record.window_scale
        # RFC 7323, section 2.2: the window of the SYN itself is not scaled; a later one in the record is newer.
        self._window = record.window
        self._window_max = self._window
        self._congestion = Congestion(self._mss)
        self._ack_at = now  # the handshake's third packet, unless data rides along first
        self._receive_octets(record, now)

    def _accept_reset(self, record: ResponseRecord) -> bool:
        """Apply RFC 5961, section 3.2 to an RST; return whether the rest of the record is worth reading."""
        seq = record.control_seq
        follows_data = bool(record.data_segments or record.flags & (FIN | SYN))
        acked = (self._irs + 1 + self._acked_to) & SEQ_MASK
        newest = (self._irs + 1 + self.received) & SEQ_MASK
        if seq in (acked, newest) or (follows_data and seq == record.end):
            if record.flags & ACK:
                self._drop_acknowledged(self._una + seq_diff(record.ack, (self._iss + self._una) & SEQ_MASK))
            self._close("target_closed_early" if self.fin_received or record.flags & FIN else "target_reset")
            return True
        self._counters.unacceptable += 1
        if 0 <= seq_diff(seq, acked) < _MAX_RESPONSE_JUMP:
            self._send_ack()
        return False

    def _receive_octets(self, record: ResponseRecord, now: float) -> None:
        newer = seq_diff(record.end, (self._irs + 1 + self.received) & SEQ_MASK)
        if newer > _MAX_RESPONSE_JUMP:
            self._counters.unacceptable += 1
            return
        if newer > 0:
            self.received += newer
            self._backlog_acks += record.data_segments
            if record.flags & FIN:
                self.fin_received = True
            if self.fin_received or self._backlog_acks >= 2:
                self._ack_at = now
            else:
                self._ack_at = min(self._ack_at, now + self._config.delayed_ack_s)
        elif newer < 0 or record.data_segments or record.flags & SYN:
            self._ack_at = now  # a retransmission or a keep-alive probe: our acknowledgement was lost or is wanted

    def _receive_ack(self, record: ResponseRecord, now: float) -> None:
        if not record.flags & ACK:
            return
        acked = self._una + seq_diff(record.ack, (self._iss + self._una) & SEQ_MASK)
        if acked > self._sent_to:
            self._counters.unacceptable += 1
            return
        if acked < self._una:
            return
        window = record.window << self._window_scale
        if acked > self._una:
            self._take_acknowledged(acked, now)
            self._count_duplicates(record.duplicate_acks, now)
        elif self._sent_to > self._una:
            self._retries = 0  # it answers: slow or full, but not dead
            if window == self._window:
                self._count_duplicates(record.duplicate_acks + (record.data_segments == 0), now)
        if window > self._window_max:
            self._window_max = window
        if window > self._window:
            self._persist_at = NEVER
            if self._window == 0:
                self._reopen(acked)
        self._window = window

    def _reopen(self, una: int) -> None:
        """Start again behind the last acknowledged octet: probes sent into the closed window were discarded."""
        self._next = una
        self.rtt.backoff = 0
        self._rto_at = NEVER

    def _take_acknowledged(self, acked: int, now: float) -> None:
        octets = acked - self._una
        self._drop_acknowledged(acked)
        if 0 <= self._timed_end <= acked:
            self.rtt.sample(now - self._timed_at)
            self._timed_end = -1
        self._una = acked
        self._next = max(self._next, acked)
        self._retries = 0
        self.rtt.backoff = 0
        self._rto_at = now + self.rtt.rto_s() if self._sent_to > acked else NEVER
        if self._congestion.acknowledge(octets, acked):
            self._retransmit_head(now)

    def _drop_acknowledged(self, acked: int) -> None:
        data = min(acked, self._data_end()) - self._buffer_at
        if data > 0 and acked <= self._sent_to:
            del self._buffer[:data]
            self._buffer_at += data
            self.delivered += data

    def _count_duplicates(self, count: int, now: float) -> None:
        if self._congestion.note_duplicates(count, self._una, self._sent_to):
            self._retransmit_head(now)

    def _close(self, failure: str) -> None:
        self.state = CLOSED
        self.failure = self.failure or failure
        self._rto_at = self._persist_at = self._ack_at = NEVER
