"""The mirror engine: captured segments, response records and time in; packets and events out.

Four things drive it, and none of them is called from here: whoever captures calls receive_segment(), the link calls
receive_response() and set_feedback(), the clock calls handle_timer() at next_timer(), and after any of them the caller
drains packets_to_send() and next_event(). Time is a parameter, in seconds of any monotonic clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from ..link.records import RECORD_SIZE, ResponseRecord
from ..wire import build, octets
from ..wire import segment as tcp
from ..wire.flow import FlowKey, flow_ends
from ..wire.segment import ACK, DROP_REASONS, RST, SYN, Segment
from .admission import Admission
from .client import ClientConnection
from .common import Common
from .config import MirrorConfig
from .counters import EngineCounters
from .emitter import Emitter, Outgoing
from .events import SessionEnded
from .handshakes import Handshakes
from .mapping import ClientNetwork, ClientSelection
from .midstream import MidstreamWatch, assumed_syn
from .sender import Sender
from .session import REST_S, Session
from .targets import TargetMap, Targets
from .timers import NEVER, TimerQueue

__all__ = ["MAX_CHECKS", "MAX_EVENTS", "MAX_WAITING", "Engine"]

MAX_EVENTS = 4096
"""Events kept for next_event(); a caller that does not ask loses the oldest."""

MAX_WAITING = 65536
"""Packets that wait to be sent, beyond which no unknown session is reset: an intercept that makes sessions up is not
worth more memory. As many as it may know of (link.collector.MAX_OPEN) have a place."""

_MAX_WAITING = MAX_WAITING

_MUCH_BYTES = 1 << 18

MAX_CHECKS = 1024
"""Connections kept for next_check(); those that find no place ask again later."""


class Engine:
    """Mirrors the connections of `clients` to `targets` from `network`, within the limits of `config`.

    admission: decides which connections are mirrored, and may be told otherwise at any time.
    """

    def __init__(
        self,
        targets: TargetMap,
        network: ClientNetwork,
        config: MirrorConfig,
        clients: ClientSelection | None = None,
    ) -> None:
        self.config = config
        self.counters = EngineCounters()
        self._emitter = Emitter(self.counters.sender)
        self._outbox = self._emitter.outbox
        self._ready: list[Session] = []
        self._awake: list[Session] = []
        self._rest_at = NEVER
        self._targets = Targets(targets, config)
        self._commons = {target: self._common_of(target) for target in targets.values()}
        self._network = network
        self.admission = Admission(config, clients or ClientSelection([]), self.counters)
        self._remembered = self.admission.remembered
        self._segment = Segment()
        self._handshakes = Handshakes()
        self._midstream = MidstreamWatch(config.join_quiet_s)
        self._record = ResponseRecord()
        self._connections: dict[FlowKey, ClientConnection] = {}
        self._sessions: dict[FlowKey, Session] = {}
        self._timers = TimerQueue()
        self._events: deque[SessionEnded] = deque(maxlen=MAX_EVENTS)
        self._checks: deque[ClientConnection] = deque()
        self._drops_at = float("-inf")

    # -- in -------------------------------------------------------------------------------------------------

    def receive_segment(
        self,
        buffer: octets.Buffer,
        now: float,
        is_checked: bool = False,
        start: int = 0,
        size: int = -1,
        captured_at: float = NEVER,
    ) -> None:
        """Take in one captured packet of `size` octets (-1: all), whose IP header is at `start` of the buffer.

        is_checked: whether the kernel, or the sender, has answered for its checksums. The online host drops what has
        wrong ones, and reads what the client sends again instead. captured_at: when, if not only now.
        """
        counters = self.counters
        counters.client_packets += 1
        segment = self._segment
        reason = tcp.parse_segment(segment, buffer, start, size)
        if reason:
            counters.dropped[DROP_REASONS[reason]] += 1
            return
        segment.captured_at = now if captured_at > now else captured_at
        connection = self._connections.get(segment.key)
        if connection is None or segment.flags & SYN or segment.key in self._handshakes:
            connection = self._receive_unusual(connection, buffer, now, is_checked)
        elif not is_checked and not tcp.are_checksums_valid(segment, buffer):
            counters.dropped["bad_checksum"] += 1
            return
        else:
            counters.captured += segment.captured_len
        if connection is not None:
            connection.receive(segment, buffer, now)

    def receive_records(self, body: octets.Buffer, now: float, on_failure: Callable[[], None]) -> None:
        """Take in the response records of a RECORDS frame's body.

        on_failure is called in an exception handler: a bug may cost a session, not the records behind it.
        """
        record = self._record
        for at in range(0, len(body) - RECORD_SIZE + 1, RECORD_SIZE):
            try:
                record.decode(body, at)
                self.receive_response(record, now)
            except Exception:
                on_failure()

    def receive_response(self, record: ResponseRecord, now: float) -> None:
        """Take in one response record from a link."""
        self.counters.responses += 1
        session = self._sessions.get(record.key)
        if session is not None:
            session.receive_response(record, now)
            session.serve_soon()
        else:
            self._reset_unknown(record)

    def set_host(self, local_addresses: frozenset[bytes], path_mtu: dict[bytes, int], now: float) -> None:
        """Say which packed addresses this host has, and the largest IP packet towards each target's address.

        A mapping without online address then means these addresses only: not what this host forwards, e.g. for
        containers. Until this is called it means any address.
        """
        self._targets.set_host(local_addresses, path_mtu, now)

    def note_own_drops(self, now: float) -> None:
        """Say that packets were not sent because of a limit of this host: that they vanish says nothing of the path."""
        self._targets.note_own_drops(now)

    def note_drops(self, now: float) -> None:
        """Say that the kernel has dropped packets that should have been captured."""
        self._drops_at = now

    def forget_left_out(self) -> None:
        """Forget SYNs of connections that are left out by now: what is shown from now on does not begin with them.

        Their connections count as open before, if a higher share begins to hold.
        """
        for key in self._handshakes.waiting():
            if self.admission.reason_to_leave_out(key):
                self._handshakes.discard(key)

    def is_any_left_out(self, opened_until: float) -> bool:
        """Return whether a connection is mirrored that would be left out if it came now.

        opened_until: when the share was lowered last. Connections are known in the order in which they were opened.
        """
        for connection in self._connections.values():
            if connection.opened_at > opened_until:
                return False
            if self.admission.reason_to_leave_out(connection.flow):
                return True
        return False

    def set_feedback(self, up: bool, now: float) -> None:
        """Say whether any intercept link is established; without one no new session is mirrored."""
        if up and not self.admission.feedback:
            for session in self._sessions.values():
                session.expedite(now)
                self._timers.update(session)
        self.admission.feedback = up

    def shut_down(self, now: float) -> None:
        """End every session; the target gets an RST for each."""
        for session in list(self._sessions.values()):
            session.end("aborted", now, "copy was stopped")

    # -- out ------------------------------------------------------------------------------------------------

    def packets_to_send(self, now: float, limit: int = 1 << 30) -> list[Outgoing]:
        """Return up to `limit` IP packets to send now, in order; each goes to one of the targets.

        The sessions that have something new are served here and not as input comes in: taking in what was captured must
        stay cheap, because what is not taken in time is lost, and several segments of a session are served at once.
        """
        outbox = self._outbox
        ready = self._ready
        served = 0
        try:
            while served < len(ready) and len(outbox) < limit:
                session = ready[served]
                served += 1
                session.is_ready = False
                session.advance(now)
                self._timers.update(session)
        finally:
            del ready[:served]
            self._watch_awake(now)
        packets = outbox[:limit]
        del outbox[:limit]
        return packets

    def is_busy(self) -> bool:
        """Whether packets_to_send() has something to do."""
        return bool(self._outbox or self._ready)

    def is_pressed(self) -> bool:
        """Whether turns wait for answers, or much waits for acknowledgements: then records are urgent."""
        counters = self.counters
        return counters.pieces > 0 or counters.buffered() > _MUCH_BYTES

    def next_event(self) -> SessionEnded | None:
        """Return the oldest event not yet fetched, or None."""
        return self._events.popleft() if self._events else None

    def next_check(self) -> ClientConnection | None:
        """Return a connection that is new, or whose client is silent, or None.

        Whoever can ask the online host's kernel whether it still exists tells its checked(). New ones are there for
        finding out whether the kernel knows the connections of their service at all.
        """
        return self._checks.popleft() if self._checks else None

    def find_connection(self, flow: FlowKey) -> ClientConnection | None:
        """Return the connection that is mirrored with this flow, from client to online service, or None."""
        return self._connections.get(flow)

    def saw_drops_since(self, since: float) -> bool:
        """Return whether the kernel has dropped packets since then."""
        return self._drops_at >= since

    def next_timer(self) -> float:
        """Return when handle_timer wants to be called."""
        return min(self._timers.next_timer(), self._rest_at)

    def handle_timer(self, now: float) -> None:
        """Act on every deadline that has come."""
        self._timers.handle_due(now)
        if self._rest_at <= now:
            self._rest_at = NEVER
            for common in self._commons.values():
                common.begin_period()
            self._awake[:] = [session for session in self._awake if session.stays_awake(now)]
        self._watch_awake(now)

    # -- status ---------------------------------------------------------------------------------------------

    def sessions(self) -> Iterator[Session]:
        """Iterate over the active sessions."""
        return iter(self._sessions.values())

    def has_session(self, flow: FlowKey) -> bool:
        """Return whether a session has this flow, from mirror to target."""
        return flow in self._sessions

    def connections(self) -> Iterator[ClientConnection]:
        """Iterate over the connections that are mirrored, in the order in which they were opened."""
        return iter(self._connections.values())

    def gauges(self) -> tuple[int, int]:
        """Return (octets held behind holes, octets buffered in sessions), counted afresh."""
        streams = {session.stream for session in self._sessions.values()}
        held = sum([stream.held_bytes for stream in streams])
        return held, sum([session.buffered() for session in self._sessions.values()])

    def status(self) -> dict[str, Any]:
        """Return the counters as JSON-able data."""
        held, buffered = self.gauges()
        return self.counters.to_json(held, buffered)

    def imbalance(self) -> list[str]:
        """Return the accounting invariants that do not hold; empty when everything adds up."""
        return self.counters.imbalance(*self.gauges())

    # -- what a connection needs from its owner -------------------------------------------------------------

    def session_ended(self, session: Session, reason: str, now: float) -> None:
        """Drop the session and tell whoever listens."""
        sender = session.wake().sender
        del self._sessions[session.flow]
        self._timers.discard(session)
        self._events.append(
            SessionEnded(
                session.connection.flow,
                session.flow,
                session.outcome,
                reason,
                session.turns,
                session.queued,
                sender.delivered,
                session.buffered(),
                sender.responses.received - sender.responses.finished,
                now - session.connection.opened_at,
            )
        )

    def connection_ended(self, connection: ClientConnection) -> None:
        """Drop the connection, unless its ports were reused and the table holds the newer one."""
        self._timers.discard(connection)
        if self._connections.get(connection.flow) is connection:
            del self._connections[connection.flow]
            self._remembered.note(connection.flow, "no_session", connection.isn)

    def feedback_is_up(self) -> bool:
        """Return whether any intercept link is established."""
        return self.admission.feedback

    def ask_whether_open(self, connection: ClientConnection) -> None:
        """Offer the connection to next_check()."""
        if len(self._checks) < MAX_CHECKS:
            self._checks.append(connection)

    def reschedule(self, connection: ClientConnection) -> None:
        """Look at the connection's deadline again."""
        self._timers.update(connection)

    # -- inside ---------------------------------------------------------------------------------------------

    def _watch_awake(self, now: float) -> None:
        """See to it that those who are awake are asked to fall asleep. All at once: that costs less than timers."""
        if self._rest_at == NEVER and self._awake:
            self._rest_at = now + REST_S

    def _common_of(self, target: tuple[bytes, int]) -> Common:
        targets = self._targets
        path, habits = targets.paths[target[0]], targets.habits[target]
        return Common(self.config, self.counters, self._emitter, self._ready, self._awake, path, habits)

    def _receive_unusual(
        self, connection: ClientConnection | None, buffer: octets.Buffer, now: float, is_checked: bool
    ) -> ClientConnection | None:
        """Deal with a segment that is not simply the next of a known connection; return the one that is to have it."""
        counters = self.counters
        segment = self._segment
        key = segment.key
        if not (segment.payload_len or segment.flags & SYN) and self._is_left_out(key):
            return None
        src, _, dst, dst_port = flow_ends(key)
        target = self._targets.find(dst, dst_port)
        if target is None or segment.flags & (SYN | ACK) == SYN | ACK:
            counters.dropped["not_mapped"] += 1
            return None
        if not is_checked and not tcp.are_checksums_valid(segment, buffer):
            counters.dropped["bad_checksum"] += 1
            return None
        if segment.flags & SYN:
            self._note_syn(key, octets.take(buffer, segment.ip_start, segment.payload_start + segment.captured_len))
            return None
        counters.captured += segment.captured_len
        if src in self._network:
            counters.ignore("from_client_network", segment.captured_len)
            return None
        if key in self._handshakes:
            connection = self._complete_handshake(key, target, connection, now)
        if connection is None:
            connection = self._join_or_ignore(key, target, now)
        return connection

    def _note_syn(self, key: FlowKey, packet: bytes) -> None:
        isn = self._segment.seq
        connection = self._connections.get(key)
        if (connection is not None and connection.isn == isn) or self._remembered.is_isn(key, isn):
            return  # the SYN again, of a connection that was counted already
        self._handshakes.note(key, packet)

    def _complete_handshake(
        self, key: FlowKey, target: tuple[bytes, int], connection: ClientConnection | None, now: float
    ) -> ClientConnection | None:
        """Return the connection that the segment belongs to: a new one if it answers the kept SYN's SYN/ACK."""
        handshakes = self._handshakes
        if (
            connection is not None
            and connection.goes_on_with(self._segment)
            and not handshakes.is_next(key, self._segment)
        ):
            handshakes.discard(key)  # online has challenged a stray SYN (RFC 5961, section 4.2), and goes on
            return connection
        if not handshakes.complete(key, self._segment, not self.admission.reason_to_leave_out(key)):
            if self._segment.flags & RST and connection is None:
                handshakes.discard(key)
            return connection
        syn = handshakes.syn
        if connection is not None:
            del self._connections[key]
            connection.superseded(now)
        connection = self._open(key, target, syn, now)
        if connection is not None and syn.captured_len:  # TCP Fast Open
            self.counters.captured += syn.captured_len
            syn.captured_at = self._segment.captured_at
            connection.receive(syn, handshakes.packet, now)
        return connection

    def _open(self, key: FlowKey, target: tuple[bytes, int], syn: Segment, now: float) -> ClientConnection | None:
        """Start to mirror the connection that `syn` opened; None if it is not mirrored."""
        self._midstream.discard(key)
        declined = self.admission.reason_to_decline(key, len(self._sessions))
        if declined:
            self.admission.decline(key, declined, syn.seq)
            return None
        common = self._commons[target]
        connection = ClientConnection(key, syn.seq, common, self, now)
        client, port, _, _ = flow_ends(key)
        sessions = 0
        for copy in range(self.admission.copies):
            mirror = self._network.choose(client, port, copy, target[0], target[1], self._sessions)
            if mirror is None:
                self.counters.decline_sessions("no_address", 1)
            else:
                connection.add(self._open_session(mirror, common, connection, syn, now))
                sessions += 1
        if not sessions:
            self._remembered.note(key, "no_session", syn.seq)
            return None
        self._remembered.discard(key)
        self._connections[key] = connection
        self._timers.update(connection)
        self.ask_whether_open(connection)
        return connection

    def _is_left_out(self, key: FlowKey) -> bool:
        """Return whether the connection is counted, and nothing more is to be known of it."""
        return self.admission.has_left_out(key) and key not in self._handshakes

    def _open_session(
        self, mirror: FlowKey, common: Common, connection: ClientConnection, syn: Segment, now: float
    ) -> Session:
        sender = Sender(common, mirror, syn.seq, syn.mss, syn.window_scale)
        session = Session(mirror, connection, connection.stream, sender, common, now)
        self._sessions[mirror] = session
        self.counters.open_session()
        sender.open(now)
        self._timers.update(session)
        return session

    def _join_or_ignore(self, key: FlowKey, target: tuple[bytes, int], now: float) -> ClientConnection | None:
        """Account for a segment of a connection that is not mirrored; return the connection if it is from now on."""
        segment, admission = self._segment, self.admission
        if admission.may_join(key, len(self._sessions)) and self._midstream.begins_request(key, segment, now):
            admission.join(key)
            syn = assumed_syn(segment, self._targets.largest_mss(segment.dst))
            others = len(self._sessions)
            connection = self._open(key, target, syn, now)
            self.counters.joined += len(self._sessions) - others
            return connection
        if segment.captured_len:
            reason = self._remembered.reason(key) or admission.count_midstream(key)
            self.counters.ignore(reason, segment.captured_len)
        return None

    def _reset_unknown(self, record: ResponseRecord) -> None:
        """Tell the target that a session is gone, e.g. one of a copy that was killed.

        The RST is at the sequence number the target expects, so it counts at once (RFC 5961). Never with the
        clients' own addresses: a session we do not know may then be a real client's.
        """
        self.counters.unknown_responses += 1
        if self.config.dry_run:
            return
        mirror, _, target, target_port = flow_ends(record.key)
        if record.flags & RST or not record.flags & ACK or mirror not in self._network:
            return
        if (target, target_port) in self._targets and len(self._outbox) < _MAX_WAITING:
            packet = build.build_packet(record.key, record.ack, 0, RST, 0, b"", b"", 0)
            self._outbox.append((packet, 0))
            self.counters.sender.packets += 1
            self.counters.sender.resets += 1
            self.counters.sender.octets += len(packet)
