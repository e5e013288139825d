"""A probe: one SYN to each target from the client network, as a mirrored session would send it, and what comes of it.

It shows whether the whole way works, copy to target to assistant to intercept and back over the link, without a client
and without a session: what the target opens is reset at once.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any

from ..link.records import ResponseRecord, decode_records
from ..mirror.emitter import Outgoing
from ..wire import seq as serial
from ..wire.address import format_address
from ..wire.build import build_options, build_packet
from ..wire.flow import FlowKey, flow_ends, flow_key
from ..wire.segment import ACK, RST, SYN
from .channel import format_endpoint

__all__ = ["GIVE_UP_S", "Probe", "flow_for_probe"]

GIVE_UP_S = 3.0
"""How long a probe waits for the target's answer."""

_AGAIN_S = (0.0, 0.5, 1.5)  # when a SYN is sent, after the start
_NEVER = float("inf")
_MSS = {4: 1460, 16: 1440}
_WINDOW = 65535
_WINDOW_SCALE = 7
# A range that hosts do not choose clients' ports from by themselves: hardly a new session takes one meanwhile.
_FIRST_PORT, _PORTS = 1024, 7168
_MAX_TRIES = 64


def flow_for_probe(
    ranges: Sequence[tuple[bytes, int]], target: bytes, target_port: int, is_taken: Callable[[FlowKey], bool]
) -> FlowKey | None:
    """Return a flow to the target from the last address of its family in `ranges` (first packed address, count).

    None if there is no address of that family, or no free port was found.
    """
    own = [pair for pair in ranges if len(pair[0]) == len(target)]
    if not own:
        return None
    first, count = own[-1]
    mirror = (int.from_bytes(first, "big") + count - 1).to_bytes(len(first), "big")
    for _ in range(_MAX_TRIES):
        flow = flow_key(mirror, _FIRST_PORT + secrets.randbelow(_PORTS), target, target_port)
        if not is_taken(flow):
            return flow
    return None


class _Attempt:
    """The probe of one target. state: waiting, answered, refused, no_answer or not_sent."""

    __slots__ = ("answer_s", "flow", "isn", "reason", "sent", "state")

    def __init__(self, flow: FlowKey) -> None:
        self.flow = flow
        self.isn = secrets.randbits(32)
        self.state = "waiting"
        self.reason = ""
        self.sent = 0
        self.answer_s = 0.0


class Probe:
    """The attempts at all targets.

    send(packets, now) returns why they could not be sent, "" if they were. An attempt that is over has told the target
    so: nothing stays there.
    """

    def __init__(
        self,
        flows: Sequence[FlowKey],
        send: Callable[[list[Outgoing], float], str],
        now: float,
    ) -> None:
        self._attempts = {flow: _Attempt(flow) for flow in flows}
        self._send = send
        self._started_at = now

    @property
    def done(self) -> bool:
        """Whether each attempt is over."""
        return all(attempt.state != "waiting" for attempt in self._attempts.values())

    def next_timer(self) -> float:
        """Return when handle_timer wants to be called."""
        waiting = [attempt.sent for attempt in self._attempts.values() if attempt.state == "waiting"]
        return min((self._started_at + _due_s(sent) for sent in waiting), default=_NEVER)

    def handle_timer(self, now: float) -> None:
        """Send the SYNs that are due, and give up."""
        for attempt in self._attempts.values():
            if attempt.state != "waiting" or now < self._started_at + _due_s(attempt.sent):
                continue
            if attempt.sent < len(_AGAIN_S):
                options = build_options(_MSS[(len(attempt.flow) - 4) // 2], _WINDOW_SCALE)
                self._emit(attempt, SYN, attempt.isn, options, now)
                attempt.sent += 1
            else:
                attempt.state = "not_sent" if attempt.reason else "no_answer"
                self._reset(attempt, now)  # its SYN/ACK may be what got lost

    def receive(self, bodies: list[bytes], now: float) -> None:
        """Look for answers among the bodies of a link's RECORDS frames."""
        for body in bodies:
            for record in decode_records(body):
                attempt = self._attempts.get(record.key)
                if attempt is not None and attempt.state == "waiting":
                    self._answered(attempt, record, now)

    def _answered(self, attempt: _Attempt, record: ResponseRecord, now: float) -> None:
        expected = serial.seq_add(attempt.isn, 1)
        if not record.flags & ACK or record.ack != expected:
            return  # an answer to something else
        attempt.answer_s = now - self._started_at
        attempt.reason = ""
        if record.flags & RST:
            attempt.state = "refused"
        elif record.flags & SYN:
            attempt.state = "answered"
            self._reset(attempt, now)

    def _reset(self, attempt: _Attempt, now: float) -> None:
        self._emit(attempt, RST, serial.seq_add(attempt.isn, 1), b"", now)

    def _emit(self, attempt: _Attempt, flags: int, seq: int, options: bytes, now: float) -> None:
        packet = build_packet(attempt.flow, seq, 0, flags, _WINDOW, options, b"", 0)
        reason = self._send([(packet, 0)], now)
        if flags & SYN:
            attempt.reason = reason

    def cancel(self, now: float) -> None:
        """Reset what is not over."""
        for attempt in self._attempts.values():
            if attempt.state == "waiting":
                attempt.state = "no_answer"
                self._reset(attempt, now)

    def to_json(self) -> list[dict[str, Any]]:
        """Return how each attempt stands."""
        documents = []
        for attempt in self._attempts.values():
            mirror, port, target, target_port = flow_ends(attempt.flow)
            documents.append({
                "target": format_endpoint((format_address(target), target_port)),
                "mirror": format_endpoint((format_address(mirror), port)),
                "state": attempt.state,
                "reason": attempt.reason,
                "sent": attempt.sent,
                "answer_s": round(attempt.answer_s, 4),
            })  # fmt: skip
        return documents


def _due_s(sent: int) -> float:
    return _AGAIN_S[sent] if sent < len(_AGAIN_S) else GIVE_UP_S
