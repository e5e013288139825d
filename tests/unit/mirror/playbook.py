"""A script-like way to drive one engine by hand: what the client sends, what the target says, what goes out.

`Scene` feeds captured packets and response records and collects what the engine sends. Positions are octets of the
payload, so the first byte of a direction is 0, whatever the sequence numbers on the wire are.
"""

from __future__ import annotations

from dataclasses import dataclass

from copytool.link.records import ResponseRecord, decode_records, encode_record
from copytool.mirror.config import MirrorConfig
from copytool.mirror.emitter import Outgoing
from copytool.mirror.engine import Engine
from copytool.mirror.events import SessionEnded
from copytool.mirror.mapping import ClientNetwork, ClientSelection
from copytool.wire.build import build_options, build_segment
from copytool.wire.burst import split_burst
from copytool.wire.segment import ACK, FIN, PSH, RST, SYN, Segment, parse_segment
from copytool.wire.seq import SEQ_MASK, seq_diff

CLIENT = bytes((10, 9, 0, 1))
ONLINE = bytes((192, 168, 50, 10))
TARGET = bytes((192, 168, 50, 101))
PORT = 1025
CLIENT_ISN = 1_000
ONLINE_ISN = 5_000_000
TARGET_ISN = 9_000_000
WINDOW = 65_535


@dataclass(frozen=True)
class Packet:
    """One packet the engine sent. position: of its first payload octet; seen: response octets acknowledged."""

    flags: int
    position: int
    payload: bytes
    seen: int
    seq: int
    mirror: tuple[bytes, int]
    mss: int
    window_scale: int
    urgent: int = 0

    @property
    def end(self) -> int:
        """Position behind the payload."""
        return self.position + len(self.payload)


class Client:
    """One client connection at the online host, as captured."""

    def __init__(self, scene: Scene, address: bytes = CLIENT, port: int = 40000, isn: int = CLIENT_ISN) -> None:
        self.scene, self.address, self.port, self.isn = scene, address, port, isn
        self.position = 0

    def segment(
        self, flags: int, position: int, payload: bytes = b"", seen: int = 0, options: bytes = b"", urgent: int = 0
    ) -> Client:
        """A captured segment; `position` is -1 for the SYN."""
        seq = (self.isn + 1 + position) & SEQ_MASK
        ack = (ONLINE_ISN + 1 + seen) & SEQ_MASK if flags & ACK else 0
        ends = (self.address, ONLINE, self.port, PORT)
        packet = build_segment(*ends, seq, ack, flags, WINDOW, options, payload, urgent)
        self.scene.engine.receive_segment(memoryview(packet), self.scene.now)
        self.scene.collect()
        return self

    def segment_at(self, captured_at: float, payload: bytes) -> Client:
        """The next octets of its stream, which the kernel had captured by then."""
        seq, ack = (self.isn + 1 + self.position) & SEQ_MASK, (ONLINE_ISN + 1) & SEQ_MASK
        ends = (self.address, ONLINE, self.port, PORT)
        packet = memoryview(build_segment(*ends, seq, ack, ACK | PSH, WINDOW, b"", payload))
        self.scene.engine.receive_segment(packet, self.scene.now, captured_at=captured_at)
        self.position += len(payload)
        self.scene.collect()
        return self

    def syn(self, mss: int = 1460, window_scale: int = 7) -> Client:
        """The client opens, with these options."""
        return self.segment(SYN, -1, options=build_options(mss, window_scale))

    def opens(self) -> Client:
        """SYN and the handshake's last acknowledgement."""
        return self.syn().confirms()

    def confirms(self) -> Client:
        """The handshake's last acknowledgement, which shows that the online service accepted."""
        return self.segment(ACK, 0)

    def says(self, payload: bytes, seen: int = 0) -> Client:
        """The next bytes of its stream."""
        self.segment(ACK | PSH, self.position, payload, seen)
        self.position += len(payload)
        return self

    def fin(self, seen: int = 0) -> Client:
        """The client closes."""
        return self.segment(ACK | FIN, self.position, b"", seen)

    def rst(self, position: int | None = None, seen: int = 0) -> Client:
        """The client resets, at the end of its stream unless told otherwise."""
        return self.segment(RST | ACK, self.position if position is None else position, b"", seen)


class Target:
    """The target's side of one mirrored session. acked: octets taken; answered: octets of response sent."""

    def __init__(self, scene: Scene, mirror: tuple[bytes, int], isn: int) -> None:
        self.scene, self.mirror, self.client_isn = scene, mirror, isn
        self.acked = 0
        self.answered = 0
        self.window = WINDOW

    def segment(self, flags: int, octets: int = 0, *, position: int | None = None, options: bytes = b"") -> Segment:
        """Return the parsed segment that the target would send now; its payload is cut off like intercept's capture."""
        at = self.answered if position is None else position
        seq = (TARGET_ISN + 1 + at) & SEQ_MASK
        ack = (self.client_isn + 1 + self.acked) & SEQ_MASK
        ends = (TARGET, self.mirror[0], PORT, self.mirror[1])
        packet = build_segment(*ends, seq, ack, flags, self.window, options, b"r" * octets)
        segment = Segment()
        assert parse_segment(segment, memoryview(packet[: len(packet) - octets])) == 0
        return segment

    def sends(self, *segments: Segment) -> Target:
        """The segments reach intercept within one flush, and copy as one record."""
        record = ResponseRecord.of(segments[0])
        for segment in segments[1:]:
            record.merge(segment)
        (record,) = decode_records(encode_record(record))
        self.scene.engine.receive_response(record, self.scene.now)
        self.scene.collect()
        return self

    def accepts(self, mss: int = 1460, window_scale: int = 7) -> Target:
        """SYN/ACK, a millisecond after the SYN."""
        self.scene.passes(0.001)
        return self.sends(self.segment(SYN | ACK, position=-1, options=build_options(mss, window_scale)))

    def acks(self, acked: int, window: int | None = None) -> Target:
        """A pure acknowledgement of `acked` octets."""
        self.acked = acked
        self.window = self.window if window is None else window
        return self.sends(self.segment(ACK))

    def answers(self, octets: int, acked: int | None = None) -> Target:
        """Response bytes, which acknowledge too."""
        self.acked = self.acked if acked is None else acked
        self.sends(self.segment(ACK | PSH, octets))
        self.answered += octets
        return self

    def fin(self, acked: int | None = None) -> Target:
        """The target closes."""
        self.acked = self.acked if acked is None else acked
        self.sends(self.segment(ACK | FIN))
        self.answered += 1
        return self

    def rst(self, offset: int = 0) -> Target:
        """The target resets, `offset` octets from where it should."""
        return self.sends(self.segment(RST, position=self.answered + offset))

    def refuses(self) -> Target:
        """RST in answer to the SYN."""
        return self.sends(self.segment(RST | ACK, position=-1))


class Scene:
    """An engine, a clock, and everything the engine has sent since last asked.

    rests: whether each session falls asleep whenever it can, not only after a while.
    """

    def __init__(
        self, feedback: bool = True, addresses: int = 254, clients: ClientSelection | None = None, **config: float
    ) -> None:
        network = ClientNetwork([(bytes((192, 168, 60, 1)), addresses)])
        self.engine = Engine({(None, PORT): (TARGET, PORT)}, network, MirrorConfig(**config), clients)
        self.now = 0.0
        self.rests = False
        self.engine.set_feedback(feedback, self.now)
        self._sent: list[Packet] = []
        self._targets: dict[tuple[bytes, int], Target] = {}

    # -- people ---------------------------------------------------------------------------------------------

    def client(self, **fields: object) -> Client:
        """Another client connection."""
        return Client(self, **fields)

    def targets(self) -> list[Target]:
        """The target's sides of all sessions it got a SYN of."""
        return list(self._targets.values())

    def target(self, index: int = -1) -> Target:
        """The target's side of a session, in order of the SYNs it got; the newest by default."""
        self.collect()
        return self.targets()[index]

    def opened(self, **config: float) -> tuple[Client, Target]:
        """A client connection whose mirror session is open; what was sent for it is forgotten."""
        client = self.client().opens()
        target = self.target().accepts()
        self.sent()
        return client, target

    def half_closed(self) -> tuple[Client, Target]:
        """A session that is open, has delivered "abc" and the client's FIN, and waits for the target."""
        client, target = self.opened()
        client.says(b"abc").fin()
        target.acks(4)
        return client, target

    # -- what happened --------------------------------------------------------------------------------------

    def collect(self) -> None:
        """Fetch what the engine wants to send."""
        segment = Segment()
        for packet in as_sent(self.engine.packets_to_send(self.now)):
            assert parse_segment(segment, memoryview(packet)) == 0
            assert (segment.dst, segment.dst_port) == (TARGET, PORT)
            mirror = (segment.src, segment.src_port)
            if segment.flags & SYN:
                self._targets.pop(mirror, None)
                self._targets[mirror] = Target(self, mirror, segment.seq)
            isn = self._targets[mirror].client_isn if mirror in self._targets else 0
            self._sent.append(
                Packet(
                    flags=segment.flags,
                    position=seq_diff(segment.seq, (isn + 1) & SEQ_MASK),
                    payload=packet[segment.payload_start :],
                    seen=seq_diff(segment.ack, TARGET_ISN + 1),
                    seq=segment.seq,
                    mirror=mirror,
                    mss=segment.mss,
                    window_scale=segment.window_scale,
                    urgent=segment.urgent,
                )
            )
        if self.rests:
            let_rest(self.engine)

    def sent(self) -> list[Packet]:
        """Return, and forget, what was sent."""
        self.collect()
        packets, self._sent = self._sent, []
        return packets

    def data(self) -> bytes:
        """Return, and forget, the payload that was sent, joined."""
        return b"".join(packet.payload for packet in self.sent())

    def passes(self, seconds: float) -> Scene:
        """Time goes by; timers fire when they are due."""
        end = self.now + seconds
        while (due := self.engine.next_timer()) <= end:
            self.now = max(due, self.now)
            self.engine.handle_timer(self.now)
            self.collect()
        self.now = end
        return self

    def outcomes(self) -> dict[str, int]:
        """Return the outcomes that occurred, after checking that everything adds up."""
        assert self.engine.imbalance() == []
        return {word: count for word, count in self.engine.counters.outcomes.items() if count}

    def events(self) -> list[SessionEnded]:
        """Return the events not yet fetched."""
        events = []
        while (event := self.engine.next_event()) is not None:
            events.append(event)
        return events


def let_rest(engine: Engine) -> int:
    """Let all sessions that can fall asleep do so; return how many sleep."""
    return sum([session.rest() for session in engine.sessions()])


def as_sent(packets: list[Outgoing]) -> list[bytes]:
    """Return the packets as they cross the network, bursts cut into segments."""
    return [part for packet, size in packets for part in (split_burst(packet, size) if size else (packet,))]


def flow(scene: Scene, size: int, **syn_ack: int) -> Target:
    """Return the target of a session that is open and has `size` octets to send; those it sent are not fetched."""
    scene.client().opens().says(b"d" * size)
    scene.sent()
    return scene.target().accepts(**syn_ack)


def sent_at(scene: Scene, seconds: float, step: float = 0.001) -> list[float]:
    """Let time pass; return when packets with payload or SYN or FIN were sent."""
    times = []
    end = scene.now + seconds
    while scene.now < end:
        scene.passes(step)
        times += [scene.now for packet in scene.sent() if packet.payload or packet.flags & (SYN | FIN)]
    return times


def payloads(packets: list[Packet]) -> list[tuple[int, int]]:
    """Return (position, size) of each packet with payload."""
    return [(packet.position, len(packet.payload)) for packet in packets if packet.payload]
