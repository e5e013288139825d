"""A deterministic model of everything around the engine: clients, online server, networks, target and link.

    client ==lossy==> tap ==> online server            target <==lossy== engine
                      |                                   ||               ^
                      +--> engine.receive_segment       lossy              | records
                                                          v                |
                                            ResponseCollector ==> InterceptEnd ==pipe==> CopyEnd

Time is simulated, randomness comes from one seed, and only the engine, the collector and the link ends are real.
"""

from __future__ import annotations

import heapq
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from copytool.link.collector import ResponseCollector
from copytool.link.connection import CopyEnd, InterceptEnd
from copytool.link.share import Share, ip_network
from copytool.mirror.config import MirrorConfig
from copytool.mirror.engine import Engine
from copytool.mirror.mapping import ClientNetwork
from copytool.wire import octets
from copytool.wire.build import build_segment
from copytool.wire.flow import FlowEnds
from copytool.wire.segment import ACK, RST, SYN, Segment, parse_segment

from .model_apps import Script, TurnClient, TurnServer
from .model_tcp import Endpoint, Stack
from .playbook import as_sent, let_rest

__all__ = ["EFFORT", "LOSSLESS", "Conditions", "MirrorSimulation", "Network", "Quality", "Simulation"]

ONLINE = (bytes((192, 168, 50, 10)), 1025)
TARGET = (bytes((192, 168, 50, 101)), 1025)
CLIENT_NETWORK = bytes((192, 168, 60, 1))
EFFORT = int(os.environ.get("COPYTOOL_EFFORT", "1"))
"""How many times the usual number of schedules a test tries; `COPYTOOL_EFFORT=100 pytest` for a long search."""

RESPONSE_HEADER_BYTES = 96  # intercept captures headers only


@dataclass(frozen=True)
class Quality:
    """How bad a path is: probabilities of loss and duplication, base delay and random extra delay."""

    loss: float = 0.0
    duplicate: float = 0.0
    delay_s: float = 0.0005
    jitter_s: float = 0.0
    mtu_bytes: int = 65535
    """Larger packets vanish, and nobody is told."""


LOSSLESS = Quality()


class Simulation:
    """An event queue on a simulated clock."""

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.random = random.Random(seed)
        self._queue: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._serial = 0

    def call_later(self, delay_s: float, function: Callable[..., None], *arguments: object) -> None:
        """Call the function when the clock has advanced by `delay_s`."""
        self._serial += 1
        heapq.heappush(self._queue, (self.now + delay_s, self._serial, function, arguments))

    def next_event_at(self) -> float:
        """Return when the next call is due, or infinity."""
        return self._queue[0][0] if self._queue else float("inf")

    def run_next(self) -> None:
        """Make the next call."""
        self.now, _, function, arguments = heapq.heappop(self._queue)
        function(*arguments)


class Network:
    """One direction of a path that loses, duplicates, delays and thereby reorders packets."""

    def __init__(self, simulation: Simulation, quality: Quality, deliver: Callable[[bytes], None]) -> None:
        self._simulation, self._quality, self._deliver = simulation, quality, deliver
        self.carried = 0

    def send(self, packet: bytes) -> None:
        """Take a packet."""
        self.carried += 1
        quality, rng = self._quality, self._simulation.random
        if len(packet) > quality.mtu_bytes:
            return
        for _ in range(1 + (rng.random() < quality.duplicate)):
            if rng.random() >= quality.loss:
                delay = quality.delay_s + quality.jitter_s * rng.random()
                self._simulation.call_later(delay, self._deliver, packet)


def _fail() -> None:
    raise


class BytePipe:
    """One direction of the link's TCP connection: in order, but cut anywhere."""

    def __init__(self, simulation: Simulation, deliver: Callable[[bytes], None]) -> None:
        self._simulation, self._deliver = simulation, deliver
        self._in_flight = 0

    def pump(self, pending: bytearray) -> None:
        """Send all of `pending`, in pieces of random size."""
        while pending:
            size = self._simulation.random.randint(1, len(pending))
            piece = bytes(pending[:size])
            del pending[:size]
            self._simulation.call_later(0.0002, self._deliver, piece)


@dataclass(frozen=True)
class Conditions:
    """The network and hosts of one run."""

    client_path: Quality = LOSSLESS
    target_path: Quality = LOSSLESS
    response_path: Quality = LOSSLESS
    client: Stack = field(default_factory=Stack)
    online: Stack = field(default_factory=Stack)
    target: Stack = field(default_factory=Stack)
    target_think_s: float = 0.001
    target_read_size: int = 1 << 30
    target_read_pause_s: float = 0.0
    flush_s: float = 0.0005
    capture_loss: float = 0.0
    capture_from_s: float = 0.0
    """When copy starts."""
    rests: bool = False
    """Whether sessions fall asleep whenever they can."""
    config: MirrorConfig = field(default_factory=lambda: MirrorConfig(syn_retries=30, data_retries=30))


class MirrorSimulation:
    """Scripts played by clients against online, mirrored to the target by the real engine and link."""

    def __init__(self, seed: int, conditions: Conditions | None = None) -> None:
        self.clock = simulation = Simulation(seed)
        self.conditions = conditions = conditions or Conditions()
        network = ClientNetwork([(CLIENT_NETWORK, 254)])
        self.engine = Engine({(None, ONLINE[1]): TARGET}, network, conditions.config)
        self.collector = ResponseCollector()
        self.clients: dict[tuple[bytes, int], tuple[Endpoint, TurnClient]] = {}
        self.online: dict[tuple[bytes, int], tuple[Endpoint, TurnServer]] = {}
        self.target: dict[tuple[bytes, int], tuple[Endpoint, TurnServer]] = {}
        self.lost: list[tuple[Endpoint, TurnServer]] = []
        self._scripts: dict[tuple[bytes, int], tuple[Script, list[int]]] = {}
        self._to_online = Network(simulation, conditions.client_path, self._reach_online)
        self._to_client = Network(simulation, conditions.client_path, self._reach_client)
        self._to_target = Network(simulation, conditions.target_path, self._reach_target)
        self._to_intercept = Network(simulation, conditions.response_path, self._reach_intercept)
        self._flushing = self._link_is_cut = False
        self._segment = Segment()
        self._make_link()

    # -- the link -------------------------------------------------------------------------------------------

    def _make_link(self) -> None:
        share = Share([ip_network("192.168.60.0/24")], [TARGET])
        self.copy_end = CopyEnd(share, "1", self.clock.now)
        self.intercept_end = InterceptEnd(self.clock.now)
        self._up = BytePipe(self.clock, self._reach_intercept_end)
        self._down = BytePipe(self.clock, self._reach_copy_end)
        self._up.pump(self.copy_end.data_to_send())
        self._run_while(lambda: not self.copy_end.established)
        self.engine.set_feedback(True, self.clock.now)

    def _reach_intercept_end(self, piece: bytes) -> None:
        self.intercept_end.receive_data(piece, self.clock.now)
        if self.intercept_end.awaits_decision:
            self.intercept_end.welcome("1", self.clock.now)
            self.collector.add_owner(self.intercept_end, self.intercept_end.share)

    def _reach_copy_end(self, piece: bytes) -> None:
        for body in self.copy_end.receive_data(piece, self.clock.now):
            self.engine.receive_records(body, self.clock.now, _fail)
        assert not self.copy_end.closed_because

    def cut_link(self, cut: bool) -> None:
        """Lose every response record from now on, or no longer."""
        self._link_is_cut = cut

    def _reach_intercept(self, packet: bytes) -> None:
        if self._link_is_cut:
            return
        self.collector.receive_packet(memoryview(packet[:RESPONSE_HEADER_BYTES]))
        if not self._flushing:
            self._flushing = True
            self.clock.call_later(self.conditions.flush_s, self._flush)

    def _flush(self) -> None:
        self._flushing = False
        while self.collector.has_records(self.intercept_end):
            body = self.collector.take_records(self.intercept_end)
            self.intercept_end.send_records(body)

    # -- the hosts ------------------------------------------------------------------------------------------

    def start_client(
        self, script: Script, responses: list[int] | None = None, port: int = 40000, isn: int = 0
    ) -> tuple[bytes, int]:
        """Let a client play `script`; the target answers with `responses` (default: as online). Returns its address."""
        address = (bytes((10, 9, 0, 1)), port)
        app = TurnClient(self.clock, script)
        endpoint = Endpoint(self.clock, address, ONLINE, isn, self._to_online.send, app, self.conditions.client)
        self.clients[address] = endpoint, app
        self._scripts[address] = script, responses or [length for _, length in script.turns]
        endpoint.connect()
        return address

    def _reach_online(self, packet: bytes) -> None:
        now = self.clock.now
        if self.clock.random.random() < self.conditions.capture_loss:
            self.engine.note_drops(now)
        elif now >= self.conditions.capture_from_s:
            self.engine.receive_segment(memoryview(packet), now)
        self._parse(packet)
        peer = (self._segment.src, self._segment.src_port)
        if peer not in self.online:
            script, _ = self._scripts[peer]
            app = TurnServer(self.clock, script, [length for _, length in script.turns])
            isn = self.clock.random.randrange(2**32)
            args = (ONLINE, peer, isn, self._to_client.send, app, self.conditions.online)
            self.online[peer] = Endpoint(self.clock, *args), app
            self.online[peer][0].listen()
        self._hand_over(self.online[peer][0], packet)

    def _reach_client(self, packet: bytes) -> None:
        self._parse(packet)
        endpoint, _ = self.clients[self._segment.dst, self._segment.dst_port]
        self._hand_over(endpoint, packet)

    def _reach_target(self, packet: bytes) -> None:
        self._parse(packet)
        segment = self._segment
        assert (segment.dst, segment.dst_port) == TARGET
        assert segment.src.startswith(CLIENT_NETWORK[:3])
        peer = (segment.src, segment.src_port)
        if peer not in self.target:
            if not segment.flags & SYN:
                self._refuse(segment)
                return
            self.target[peer] = self._new_target_endpoint(peer)
        self._hand_over(self.target[peer][0], packet)

    def _new_target_endpoint(self, peer: tuple[bytes, int]) -> tuple[Endpoint, TurnServer]:
        script, responses = next(iter(self._scripts.values())) if len(self._scripts) == 1 else self._script_of(peer)
        conditions = self.conditions
        app = TurnServer(
            self.clock,
            script,
            responses,
            conditions.target_think_s,
            conditions.target_read_size,
            conditions.target_read_pause_s,
        )
        isn = self.clock.random.randrange(2**32)
        endpoint = Endpoint(self.clock, TARGET, peer, isn, self._to_intercept.send, app, conditions.target)
        endpoint.listen()
        return endpoint, app

    def _script_of(self, peer: tuple[bytes, int]) -> tuple[Script, list[int]]:
        """Return the script of the client that kept its port in the client network."""
        return next(entry for address, entry in self._scripts.items() if address[1] == peer[1])

    def _refuse(self, segment: Segment) -> None:
        if not segment.flags & RST and segment.flags & ACK:
            ends = (*TARGET, segment.src, segment.src_port)
            self._to_intercept.send(build_segment(ends[0], ends[2], ends[1], ends[3], segment.ack, 0, RST, 0))

    def _parse(self, packet: bytes) -> None:
        assert parse_segment(self._segment, memoryview(packet)) == 0
        assert octets.ones_sum(packet, 0, 20) == 0xFFFF

    def _hand_over(self, endpoint: Endpoint, packet: bytes) -> None:
        self._parse(packet)
        endpoint.receive(self._segment, packet[self._segment.payload_start :])

    def restart_target(self) -> None:
        """The target's host forgets every connection, and answers what comes for them with RST."""
        for endpoint, _ in self.target.values():
            endpoint.state = "closed"
        self.lost += self.target.values()
        self.target = {}

    def _is_open_online(self, key: FlowEnds) -> bool:
        endpoint, _ = self.online[key[:2]]
        return endpoint.state != "closed" and not (endpoint.fin_acked and endpoint.fin_received)

    def _answer_checks(self) -> None:
        while (connection := self.engine.next_check()) is not None:
            saw_drops = self.engine.saw_drops_since(connection.opened_at)
            connection.checked(self._is_open_online(connection.key), saw_drops, self.clock.now)

    # -- time -----------------------------------------------------------------------------------------------

    def run(self, limit_s: float = 600.0) -> None:
        """Run until nothing moves any more except the link's heartbeat and idle time-outs, or `limit_s` passed."""
        end = self.clock.now + limit_s
        self._run_while(lambda: self.clock.now < end and self._is_busy())

    def run_for(self, duration_s: float) -> None:
        """Run for this long."""
        end = self.clock.now + duration_s
        self.clock.call_later(duration_s, lambda: None)
        self._run_while(lambda: self.clock.now < end)

    def _is_busy(self) -> bool:
        counters = self.engine.counters
        unfinished = any(not app.done for _, app in self.clients.values())
        return unfinished or counters.outcomes["active"] > 0 or not counters.seen

    def _run_while(self, condition: Callable[[], bool]) -> None:
        steps = 0
        while condition():
            steps += 1
            assert steps < 500_000, "the simulation does not come to an end"
            self._step()
            self._answer_checks()
            for packet in as_sent(self.engine.packets_to_send(self.clock.now)):
                self._to_target.send(packet)
            if self.conditions.rests:
                let_rest(self.engine)
            self._up.pump(self.copy_end.data_to_send())
            self._down.pump(self.intercept_end.data_to_send())

    def _step(self) -> None:
        clock = self.clock
        timed = min((self.engine, self.copy_end, self.intercept_end), key=lambda item: item.next_timer())
        due, event = timed.next_timer(), clock.next_event_at()
        assert min(due, event) < float("inf"), "everything waits for nothing"
        if due < event:
            clock.now = max(due, clock.now)
            timed.handle_timer(clock.now)
        else:
            clock.run_next()
