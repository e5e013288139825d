"""The engine's counters, and the invariants that tie them together."""

from __future__ import annotations

from typing import Any

from ..wire.segment import DROP_REASONS
from .emitter import SenderCounters
from .histogram import Histogram
from .outcome import ACTIVE, OUTCOMES
from .release import ReleaseCounters

__all__ = ["PIECE_BYTES", "EngineCounters"]

PIECE_BYTES = 128
"""Roughly what holding one piece of a stream takes beside its octets."""

_PIECE_BYTES = PIECE_BYTES

_IGNORED = (
    "sampled_out",
    "filtered",
    "shed_cpu",
    "shed_bandwidth",
    "dry_run",
    "midstream",
    "no_session",
    "from_client_network",
)


class EngineCounters:
    """Everything the engine counts.

    Sessions: `seen` counts mirror sessions (copies times client connections), each with one outcome in `outcomes`;
    `joined` are those of connections that were open before copy started.
    Client bytes are counted twice over: as captured (`captured` == `accepted` + `duplicate` + held + sum(`ignored`)),
    and per session (`queued` == `delivered` + buffered + sum(`undelivered`)), where held and buffered are
    gauges of the moment. Of `ignored`, `sampled_out` and `filtered` are what came up of such sessions nevertheless: the
    kernel's filter keeps their octets from being captured, and in time those of `shed_cpu` and `shed_bandwidth`, too.
    `pieces` is how many pieces the buffered octets that wait for release are in. `lag`: from the capture of octets to
    their release to the target.
    """

    __slots__ = (
        "accepted",
        "captured",
        "client_packets",
        "delivered",
        "discarded",
        "dropped",
        "duplicate",
        "ignored",
        "ignored_total",
        "joined",
        "lag",
        "outcomes",
        "pieces",
        "queued",
        "release",
        "responses",
        "seen",
        "sender",
        "undelivered",
        "undelivered_total",
        "unknown_responses",
    )

    def __init__(self) -> None:
        self.client_packets = 0
        self.dropped = dict.fromkeys((*DROP_REASONS[1:], "not_mapped", "bad_checksum"), 0)
        self.seen = 0
        self.joined = 0
        self.outcomes = dict.fromkeys(OUTCOMES, 0)
        self.captured = 0
        self.accepted = 0
        self.duplicate = 0
        self.discarded = 0
        self.ignored = dict.fromkeys(_IGNORED, 0)
        self.ignored_total = 0
        self.queued = 0
        self.pieces = 0
        self.delivered = 0
        self.undelivered = dict.fromkeys(OUTCOMES, 0)
        self.undelivered_total = 0
        self.responses = 0
        self.unknown_responses = 0
        self.lag = Histogram()
        self.sender = SenderCounters()
        self.release = ReleaseCounters()

    def ignore(self, reason: str, size: int) -> None:
        """Count captured octets that belong to no mirrored session."""
        self.ignored[reason] += size
        self.ignored_total += size

    def buffered(self) -> int:
        """Return the octets buffered in sessions."""
        return self.queued - self.delivered - self.undelivered_total

    def footprint(self) -> int:
        """Return the memory that held and buffered octets take, roughly."""
        held = self.captured - self.accepted - self.duplicate - self.discarded - self.ignored_total
        return held + self.buffered() + self.pieces * _PIECE_BYTES

    def open_session(self) -> None:
        """Count a session that is mirrored from now on."""
        self.seen += 1
        self.outcomes[ACTIVE] += 1

    def end_session(self, outcome: str) -> None:
        """Give an active session its final outcome."""
        self.outcomes[ACTIVE] -= 1
        self.outcomes[outcome] += 1

    def decline_sessions(self, outcome: str, count: int) -> None:
        """Count sessions that were seen but never mirrored."""
        self.seen += count
        self.outcomes[outcome] += count

    def recall_declined(self, outcome: str, count: int) -> None:
        """Take back that sessions were declined: they are mirrored after all."""
        self.seen -= count
        self.outcomes[outcome] -= count

    def to_json(self, held: int, buffered: int) -> dict[str, Any]:
        """Return the counters as `copytool status --json` shows them; `held` and `buffered` are the gauges."""
        return {
            "sessions": {"seen": self.seen, "outcomes": dict(self.outcomes), "joined": self.joined},
            "bytes": {
                "captured": self.captured,
                "accepted": self.accepted,
                "duplicate": self.duplicate,
                "discarded": self.discarded,
                "held": held,
                "ignored": dict(self.ignored),
                "queued": self.queued,
                "delivered": self.delivered,
                "buffered": buffered,
                "undelivered": {word: count for word, count in self.undelivered.items() if count},
            },
            "lag": self.lag.to_json(),
            "answer_time": self.release.answer_time.to_json(),
            "packets": {"captured": self.client_packets, "dropped": dict(self.dropped)},
            "mirror": {
                "packets_sent": self.sender.packets,
                "bytes_sent": self.sender.octets,
                "segments_sent": self.sender.segments,
                "acks_sent": self.sender.acks,
                "resets_sent": self.sender.resets,
                "retransmissions": self.sender.retransmissions,
                "unacceptable_responses": self.sender.unacceptable,
                "responses": self.responses,
                "unknown_responses": self.unknown_responses,
                "turns_answered": self.release.answered,
                "turns_quiet": self.release.quiet,
                "turns_held": self.release.held,
            },
        }

    def imbalance(self, held: int, buffered: int) -> list[str]:
        """Return the invariants that do not hold, as text; empty when everything adds up."""
        sums = (
            ("seen == sum(outcomes)", self.seen, sum(self.outcomes.values())),
            (
                "captured == accepted + duplicate + discarded + held + ignored",
                self.captured,
                self.accepted + self.duplicate + self.discarded + held + sum(self.ignored.values()),
            ),
            (
                "queued == delivered + buffered + undelivered",
                self.queued,
                self.delivered + buffered + sum(self.undelivered.values()),
            ),
        )
        return [f"{name}: {left} != {right}" for name, left, right in sums if left != right]
