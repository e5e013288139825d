"""What is kept of a session while nothing happens: most of its state follows from the little that does not.

Theory of operation. A session that is open and has nothing to release, to send or to acknowledge is at rest. Then the
sender's positions are all the same, its buffer is empty, its timers are off, and what only matters while something is
under way or lost is as in a new sender. Asleep.keep() makes sure of each of that, and takes the rest down.
Asleep.wake() gives it to parts that another session has left, or to new ones, and they differ in nothing from the old.

This module alone knows which field is which. A field that is added to one of the parts is either kept here, or
keep() refuses where it is not as in a new object: the test goes through all of them.
"""

from __future__ import annotations

from ..wire.flow import FlowKey
from .common import Common
from .release import ReleaseRule
from .sender import OPEN, Sender
from .timers import NEVER

__all__ = ["Asleep", "Awake"]


class Awake:
    """The parts of a session that do something."""

    __slots__ = ("rule", "sender")

    def __init__(self, sender: Sender, rule: ReleaseRule) -> None:
        self.sender = sender
        self.rule = rule


class Asleep:
    """The same at rest."""

    __slots__ = (
        "_answered_at",
        "_base_received",
        "_base_seen",
        "_began_at",
        "_congestion_mss",
        "_congestion_window",
        "_differed",
        "_doublings",
        "_finished",
        "_in_write",
        "_irs",
        "_iss",
        "_largest_window",
        "_longest_gap_s",
        "_received",
        "_recover",
        "_released_at",
        "_released_at_received",
        "_smoothed_s",
        "_target_mss",
        "_threshold",
        "_turn_seen",
        "_una",
        "_variation_s",
        "_went_alone",
        "_window_octets",
        "_window_scale",
    )

    def keep(self, awake: Awake, turns: int) -> bool:
        """Take down what `awake` is; False if it is not at rest. `turns` is given again to wake it."""
        sender, rule = awake.sender, awake.rule
        if not (self._is_sender_at_rest(sender) and self._is_rule_at_rest(rule, sender, turns)):
            return False
        self._keep_sender(sender)
        self._keep_rule(rule)
        return True

    def wake(self, common: Common, key: FlowKey, turns: int) -> Awake:
        """Return what was taken down."""
        common.woken += 1
        awake = common.spares.pop() if common.spares else self._new_parts(common, key)
        self._give_to_sender(awake.sender, key)
        self._give_to_rule(awake.rule, turns)
        return awake

    def _new_parts(self, common: Common, key: FlowKey) -> Awake:
        sender = Sender(common, key, self._iss, 0, self._window_scale)
        return Awake(sender, ReleaseRule(common.config, common.counters.release, common.habits))

    def _is_sender_at_rest(self, sender: Sender) -> bool:
        una, buffer, responses, size = sender._una, sender._buffer, sender.responses, sender._segment_size
        return (
            sender.state == OPEN
            and una == sender._next == sender._sent_to == sender.delivered + 1
            and sender._retries == sender._head_timeouts == 0
            and sender._rto_at == sender._persist_at == responses.ack_at == NEVER
            and not (sender.failure or sender.reason)
            and una == buffer.start == buffer.end
            and not (buffer.finished or buffer._pieces or buffer._starts or buffer._urgent or buffer._first)
            and responses._acked_to == responses.received
            and not (responses._unacked_segments or sender.rtt.backoff)
            and not (sender._congestion._in_recovery or sender._congestion._duplicates or sender._mss)
            and sender.rtt._timed_end == -1
            and sender.rtt._timed_at == size._failing_since == size._tried == 0
        )

    def _is_rule_at_rest(self, rule: ReleaseRule, sender: Sender, turns: int) -> bool:
        return (
            rule._waiting_since == rule.wake_at == NEVER
            and rule._received == sender.responses.received
            and rule._finished == sender.responses.finished
            and rule.turns == turns
        )

    def _keep_sender(self, sender: Sender) -> None:
        congestion, window, responses, rtt = sender._congestion, sender._window, sender.responses, sender.rtt
        self._iss = sender._iss
        self._una = sender._una
        self._target_mss = sender._segment_size.target_mss
        self._congestion_window = congestion.window
        self._congestion_mss = congestion._mss
        self._threshold = congestion._threshold
        self._recover = congestion._recover
        self._window_scale = window.scale
        self._window_octets = window.octets
        self._largest_window = window._largest
        self._irs = responses._irs
        self._doublings = responses._doublings
        self._went_alone = responses._went_alone
        self._received = responses.received
        self._finished = responses.finished
        self._smoothed_s = rtt.smoothed_s
        self._variation_s = rtt.variation_s

    def _give_to_sender(self, sender: Sender, key: FlowKey) -> None:
        congestion, window, responses, rtt = sender._congestion, sender._window, sender.responses, sender.rtt
        sender.state = OPEN
        sender._key = key
        sender._iss = self._iss
        sender._una = sender._next = sender._sent_to = sender._buffer.start = sender._buffer.end = self._una
        sender.delivered = self._una - 1
        sender._segment_size.target_mss = self._target_mss
        congestion.window = self._congestion_window
        congestion._mss = self._congestion_mss
        congestion._threshold = self._threshold
        congestion._recover = self._recover
        window.scale = self._window_scale
        window.octets = self._window_octets
        window._largest = self._largest_window
        responses._irs = self._irs
        responses._doublings = self._doublings
        responses._went_alone = self._went_alone
        responses._acked_to = responses.received = self._received
        responses.finished = self._finished
        rtt.smoothed_s = self._smoothed_s
        rtt.variation_s = self._variation_s

    def _keep_rule(self, rule: ReleaseRule) -> None:
        self._answered_at = rule._answered_at
        self._base_received = rule._base_received
        self._base_seen = rule._base_seen
        self._began_at = rule._began_at
        self._differed = rule._differed
        self._in_write = rule.in_write
        self._longest_gap_s = rule._longest_gap_s
        self._released_at = rule._released_at
        self._released_at_received = rule._released_at_received
        self._turn_seen = rule._turn_seen

    def _give_to_rule(self, rule: ReleaseRule, turns: int) -> None:
        rule._answered_at = self._answered_at
        rule._base_received = self._base_received
        rule._base_seen = self._base_seen
        rule._began_at = self._began_at
        rule._differed = self._differed
        rule._finished = self._finished
        rule.in_write = self._in_write
        rule._longest_gap_s = self._longest_gap_s
        rule._received = self._received
        rule._released_at = self._released_at
        rule._released_at_received = self._released_at_received
        rule._turn_seen = self._turn_seen
        rule.turns = turns
