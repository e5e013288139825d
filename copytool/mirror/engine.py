"""The mirror engine: captured segments, response records and time in; packets and events out.

Four things drive it, and none of them is called from here: whoever captures calls receive_segment(), the link calls
receive_response() and set_feedback(), the clock calls handle_timer() at next_timer(), and after any of them the caller
drains packets_to_send() and next_event(). Time is a parameter, in seconds of any monotonic clock.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..link.records import ResponseRecord
from ..wire.segment import ACK, DROP_REASONS, RST, SYN, Segment, build_segment, parse_segment
from ..wire.seq import seq_diff
from .client import ClientConnection, ClientKey
from .config import MirrorConfig
from .counters import EngineCounters
from .emitter import Emitter
from .mapping import ClientNetwork, MirrorKey, Sampler
from .sender import Sender
from .session import Session
from .timers import TimerQueue

__all__ = ["MAX_EVENTS", "MAX_HANDSHAKES", "MAX_REMEMBERED", "Engine", "SessionEnded", "TargetMap"]

MAX_REMEMBERED = 65536
"""Connections that are not mirrored (any more) and would be counted twice if forgotten; the oldest go first."""

MAX_HANDSHAKES = 65536
"""SYNs kept until their handshakes complete; a flood pushes out the oldest, which then count as midstream."""

MAX_EVENTS = 4096
"""Events kept for next_event(); a caller that does not ask loses the oldest."""

_MAX_SYN = 2048  # headers, and what a SYN with TCP Fast Open may carry
_MAX_FIRST_FLIGHT = 1 << 20  # the handshake's last packet may be lost, and some of the data behind it

TargetMap = dict[tuple[bytes | None, int], tuple[bytes, int]]
"""(online address or None for any, online port) -> (target address, target port); addresses packed."""


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """A session has its final outcome."""

    client: tuple[bytes, int]
    """Packed address and port of the client."""

    mirror: MirrorKey
    """Mirror address and port, target address and port."""

    outcome: str
    """A key of outcome.OUTCOMES."""

    turns: int
    """Requests released to the target."""

    delivered_bytes: int
    """Client bytes that the target acknowledged."""

    response_bytes: int
    """Response octets of the target."""

    duration_s: float
    """From the end of the client's handshake to the end of the mirror session."""


class Engine:
    """Mirrors the client connections to `targets` from `network`, within the limits of `config`."""

    def __init__(self, targets: TargetMap, network: ClientNetwork, config: MirrorConfig) -> None:
        self.config = config
        self.counters = EngineCounters()
        self._targets = targets
        self._target_set = frozenset(targets.values())
        self._network = network
        self._sampler = Sampler(config.ratio_percent)
        self._segment = Segment()
        self._syn = Segment()
        self._handshakes: dict[ClientKey, bytes] = {}
        self._local_addresses: frozenset[bytes] | None = None
        self._path_mtu: dict[bytes, int] = {}
        self._connections: dict[ClientKey, ClientConnection] = {}
        self._sessions: dict[MirrorKey, Session] = {}
        self._remembered: dict[ClientKey, tuple[str, int]] = {}
        self._timers = TimerQueue()
        self._ready: OrderedDict[Session, None] = OrderedDict()
        self._outbox: deque[bytes] = deque()
        self._events: deque[SessionEnded] = deque(maxlen=MAX_EVENTS)
        self._feedback = False

    # -- in -------------------------------------------------------------------------------------------------

    def receive_segment(self, packet: memoryview, now: float) -> None:
        """Take in one captured packet, from its IP header."""
        counters = self.counters
        counters.client_packets += 1
        segment = self._segment
        reason = parse_segment(segment, packet)
        if reason:
            counters.dropped[DROP_REASONS[reason]] += 1
            return
        target = self._target_of(segment.dst, segment.dst_port)
        if target is None or segment.flags & (SYN | ACK) == SYN | ACK:
            counters.dropped["not_mapped"] += 1
            return
        key = (segment.src, segment.src_port, segment.dst, segment.dst_port)
        if segment.flags & SYN:
            self._note_syn(key, packet)
            return
        counters.captured += segment.captured_len
        if segment.src in self._network:
            counters.ignore("from_client_network", segment.captured_len)
            return
        connection = self._connections.get(key)
        if key in self._handshakes:
            connection = self._complete_handshake(key, target, connection, now)
        if connection is not None:
            connection.receive(segment, packet, now)
        else:
            self._ignore(key)

    def receive_response(self, record: ResponseRecord, now: float) -> None:
        """Take in one response record from a link."""
        self.counters.responses += 1
        session = self._sessions.get((record.mirror, record.mirror_port, record.target, record.target_port))
        if session is not None:
            session.receive_response(record, now)
            self._ready[session] = None
        else:
            self._reset_unknown(record)

    def set_host(self, local_addresses: frozenset[bytes], path_mtu: dict[bytes, int]) -> None:
        """Say which packed addresses this host has, and the largest IP packet towards each target's address.

        A mapping without online address then means these addresses only: not what this host forwards, e.g. for
        containers. Until this is called it means any address.
        """
        self._local_addresses = local_addresses
        if path_mtu != self._path_mtu:
            self._path_mtu = path_mtu
            for session in self._sessions.values():
                session.sender.limit_payload(self._payload_limit(session.key[2]))

    def set_feedback(self, up: bool, now: float) -> None:
        """Say whether any intercept link is established; without one no new session is mirrored."""
        if up and not self._feedback:
            for session in self._sessions.values():
                session.sender.expedite(now)
                self._timers.update(session)
        self._feedback = up

    def shut_down(self, now: float) -> None:
        """End every session; the target gets an RST for each."""
        for session in list(self._sessions.values()):
            session.end("aborted", now)

    # -- out ------------------------------------------------------------------------------------------------

    def packets_to_send(self, now: float, limit: int = 1 << 30) -> list[bytes]:
        """Return up to `limit` IP packets to send now, in order; each goes to one of the targets.

        The sessions that have something new are served here and not as input comes in: taking in what was captured must
        stay cheap, because what is not taken in time is lost, and several segments of a session are served at once.
        """
        outbox = self._outbox
        ready = self._ready
        while ready and len(outbox) < limit:
            session, _ = ready.popitem(last=False)
            session.advance(now)
            self._timers.update(session)
        return [outbox.popleft() for _ in range(min(limit, len(outbox)))]

    @property
    def is_busy(self) -> bool:
        """Whether packets_to_send() has something to do."""
        return bool(self._outbox or self._ready)

    def next_event(self) -> SessionEnded | None:
        """Return the oldest event not yet fetched, or None."""
        return self._events.popleft() if self._events else None

    def next_timer(self) -> float:
        """Return when handle_timer wants to be called."""
        return self._timers.next_timer()

    def handle_timer(self, now: float) -> None:
        """Act on every deadline that has come."""
        self._timers.handle_due(now)

    # -- status ---------------------------------------------------------------------------------------------

    def sessions(self) -> Iterator[Session]:
        """Iterate over the active sessions."""
        return iter(self._sessions.values())

    def gauges(self) -> tuple[int, int]:
        """Return (octets held behind holes, octets buffered in sessions), counted afresh."""
        streams = {session.connection.stream for session in self._sessions.values()}
        return sum(s.held_bytes for s in streams), sum(s.buffered for s in self._sessions.values())

    def status(self) -> dict[str, Any]:
        """Return the counters as JSON-able data."""
        held, buffered = self.gauges()
        return self.counters.to_json(held, buffered)

    def imbalance(self) -> list[str]:
        """Return the accounting invariants that do not hold; empty when everything adds up."""
        return self.counters.imbalance(*self.gauges())

    # -- what a connection needs from its owner -------------------------------------------------------------

    def session_ended(self, session: Session, now: float) -> None:
        """Drop the session and tell whoever listens."""
        del self._sessions[session.key]
        self._ready.pop(session, None)
        self._timers.discard(session)
        self._events.append(
            SessionEnded(
                client=session.connection.key[:2],
                mirror=session.key,
                outcome=session.outcome,
                turns=session.turns,
                delivered_bytes=session.sender.delivered,
                response_bytes=session.sender.received,
                duration_s=now - session.opened_at,
            )
        )

    def connection_ended(self, connection: ClientConnection) -> None:
        """Drop the connection, unless its ports were reused and the table holds the newer one."""
        self._timers.discard(connection)
        if self._connections.get(connection.key) is connection:
            del self._connections[connection.key]
            self._remember(connection.key, "no_session", connection.isn)

    def feedback_is_up(self) -> bool:
        """Return whether any intercept link is established."""
        return self._feedback

    def buffers_are_full(self) -> bool:
        """Return whether the total buffer limit is reached."""
        counters = self.counters
        held = counters.captured - counters.accepted - counters.duplicate - counters.discarded - counters.ignored_total
        buffered = counters.queued - counters.delivered - counters.undelivered_total
        return held + buffered > self.config.total_buffer_bytes

    def session_ready(self, session: Session) -> None:
        """Serve the session with the next packets_to_send()."""
        self._ready[session] = None

    def reschedule(self, connection: ClientConnection) -> None:
        """Look at the connection's deadline again."""
        self._timers.update(connection)

    # -- inside ---------------------------------------------------------------------------------------------

    def _target_of(self, online: bytes, port: int) -> tuple[bytes, int] | None:
        target = self._targets.get((online, port))
        if target is None and (self._local_addresses is None or online in self._local_addresses):
            target = self._targets.get((None, port))
        return target

    def _note_syn(self, key: ClientKey, packet: memoryview) -> None:
        """Keep a SYN until the client's next segment shows that the online service accepted the connection.

        What it refuses must not reach the target, and neither must a flood of SYNs that it answers with cookies.
        """
        isn = self._segment.seq
        connection = self._connections.get(key)
        remembered = self._remembered.get(key)
        if (connection is not None and connection.isn == isn) or (remembered is not None and remembered[1] == isn):
            return  # the SYN again, of a connection that was counted already
        self._handshakes.pop(key, None)
        while len(self._handshakes) >= MAX_HANDSHAKES:
            del self._handshakes[next(iter(self._handshakes))]
        self._handshakes[key] = bytes(packet[:_MAX_SYN])

    def _complete_handshake(
        self, key: ClientKey, target: tuple[bytes, int], connection: ClientConnection | None, now: float
    ) -> ClientConnection | None:
        """Return the connection that the segment belongs to: a new one if it answers the kept SYN's SYN/ACK."""
        segment, syn = self._segment, self._syn
        packet = memoryview(self._handshakes[key])
        parse_segment(syn, packet)
        if segment.flags & RST:
            if connection is None:
                del self._handshakes[key]
            return connection
        if not segment.flags & ACK or not 0 < seq_diff(segment.seq, syn.seq) <= _MAX_FIRST_FLIGHT:
            return connection
        del self._handshakes[key]
        if connection is not None:
            self._supersede(connection, now)
        connection = self._open(key, target, now)
        if connection is not None and syn.captured_len:  # TCP Fast Open
            self.counters.captured += syn.captured_len
            connection.receive(syn, packet, now)
        return connection

    def _open(self, key: ClientKey, target: tuple[bytes, int], now: float) -> ClientConnection | None:
        """Start to mirror the connection that self._syn opened; None if it is not mirrored."""
        isn = self._syn.seq
        declined = self._reason_to_decline(key)
        if declined:
            self.counters.decline_sessions(declined, self.config.copies)
            self._remember(key, "sampled_out" if declined == "sampled_out" else "no_session", isn)
            return None
        self._remembered.pop(key, None)
        connection = ClientConnection(key, isn, self.config, self.counters, self)
        for copy in range(self.config.copies):
            mirror = self._network.choose(key[0], key[1], copy, *target, self._sessions)
            if mirror is None:
                self.counters.decline_sessions("no_address", 1)
            else:
                connection.sessions.append(self._open_session(mirror, connection, now))
        if not connection.sessions:
            self._remember(key, "no_session", isn)
            return None
        self._connections[key] = connection
        return connection

    def _reason_to_decline(self, key: ClientKey) -> str:
        if not self._sampler.chooses(key[0], key[1]):
            return "sampled_out"
        if not self._feedback:
            return "no_feedback"
        if len(self._sessions) + self.config.copies > self.config.max_sessions:
            return "shed_sessions"
        return ""

    def _open_session(self, mirror: MirrorKey, connection: ClientConnection, now: float) -> Session:
        syn = self._syn
        emitter = Emitter(mirror, syn.mss, syn.window_scale, self._outbox, self.counters.sender)
        sender = Sender(emitter, syn.seq, syn.window_scale, self.config)
        sender.limit_payload(self._payload_limit(mirror[2]))
        session = Session(mirror, connection, sender, self.config, self.counters, now)
        self._sessions[mirror] = session
        self.counters.open_session()
        sender.open(now)
        self._timers.update(session)
        return session

    def _payload_limit(self, target: bytes) -> int:
        headers = 40 if len(target) == 4 else 60
        return min(self.config.max_segment_bytes, self._path_mtu.get(target, 1 << 16) - headers)

    def _supersede(self, connection: ClientConnection, now: float) -> None:
        """The client reuses its ports: the old sessions drain on their own, the new one gets the key."""
        del self._connections[connection.key]
        if connection.stream.has_hole:
            connection.end_sessions("capture_gap", now)
        elif not connection.stream.finished:
            connection.client_gone(now)

    def _ignore(self, key: ClientKey) -> None:
        """Account for a segment that belongs to no mirrored connection."""
        size = self._segment.captured_len
        if not size:
            return
        remembered = self._remembered.get(key)
        if remembered is not None:
            reason = remembered[0]
        else:
            sampled = self._sampler.chooses(key[0], key[1])
            reason = "midstream" if sampled else "sampled_out"
            self.counters.decline_sessions("midstream_skipped" if sampled else reason, self.config.copies)
            self._remember(key, reason, -1)
        self.counters.ignore(reason, size)

    def _remember(self, key: ClientKey, reason: str, isn: int) -> None:
        remembered = self._remembered
        remembered.pop(key, None)
        while len(remembered) >= MAX_REMEMBERED:
            del remembered[next(iter(remembered))]
        remembered[key] = (reason, isn)

    def _reset_unknown(self, record: ResponseRecord) -> None:
        """Tell the target that a session is gone, e.g. one of a copy that was killed.

        The RST is at the sequence number the target expects, so it counts at once (RFC 5961). Never with the
        clients' own addresses: a session we do not know may then be a real client's.
        """
        self.counters.unknown_responses += 1
        if record.flags & RST or not record.flags & ACK or record.mirror not in self._network:
            return
        if len(record.mirror) == len(record.target) and (record.target, record.target_port) in self._target_set:
            self._outbox.append(
                build_segment(
                    record.mirror, record.target, record.mirror_port, record.target_port, record.ack, 0, RST, 0
                )
            )
            self.counters.sender.resets += 1
