"""Which connections are mirrored, and what is counted and remembered of those that are not."""

from __future__ import annotations

from ..wire.flow import FlowKey, flow_ends
from .config import MirrorConfig
from .counters import EngineCounters
from .mapping import ClientSelection, Sampler, flow_hash
from .remembered import Remembered

__all__ = ["Admission"]

_LEFT_OUT = ("sampled_out", "filtered", "shed_cpu", "shed_bandwidth")
_TOLD_APART = (*_LEFT_OUT, "dry_run")


class Admission:
    """Decides about each connection once, by what the user wants at that time and what there is room for.

    copies, paused: may be changed at any time. ratio_percent: set_ratio() changes it. share: the part of these that the
    budgets admit, 0 to 1; set_share() changes it. session_cap: the most sessions that the memory has room for.
    feedback: whether any intercept link is established; without one nothing is mirrored. remembered: connections that
    are not mirrored, or not any more.
    """

    __slots__ = (
        "_clients",
        "_config",
        "_counters",
        "_share_threshold",
        "_shed_outcome",
        "_takes_all",
        "_threshold",
        "copies",
        "feedback",
        "paused",
        "ratio_percent",
        "remembered",
        "session_cap",
        "share",
    )

    def __init__(self, config: MirrorConfig, clients: ClientSelection, counters: EngineCounters) -> None:
        self._config = config
        self._counters = counters
        self._clients = clients
        self.copies = config.copies
        self.paused = config.paused
        self.feedback = False
        self.remembered = Remembered()
        self.session_cap = config.max_sessions
        self.share = 1.0
        self._shed_outcome = ""
        self.set_ratio(config.ratio_percent)

    def set_ratio(self, ratio_percent: float) -> None:
        """Mirror this share of the connections that come from now on."""
        self.ratio_percent = ratio_percent
        self._set_thresholds()

    def set_share(self, share: float, outcome: str) -> None:
        """Admit this part of what the ratio chooses from now on; the rest counts as `outcome`."""
        self.share = share
        self._shed_outcome = outcome
        self._set_thresholds()

    def admitted_percent(self) -> float:
        """Return the share of all connections that both choose. Its sample is a part of the ratio's."""
        return self.ratio_percent * self.share

    def _set_thresholds(self) -> None:
        admitted_percent = self.admitted_percent()
        self._threshold = Sampler(self.ratio_percent).threshold
        self._share_threshold = Sampler(admitted_percent).threshold
        self._takes_all = self._clients.takes_all() and admitted_percent >= 100

    def reason_to_leave_out(self, key: FlowKey) -> str:
        """Return why such a connection is neither wanted nor afforded: the kernel may keep its data from coming up."""
        if self._takes_all:
            return ""
        client, port, _, _ = flow_ends(key)
        if client not in self._clients:
            return "filtered"
        value = flow_hash(client, port)
        if value >= self._threshold:
            return "sampled_out"
        return self._shed_outcome if value >= self._share_threshold else ""

    def reason_to_decline(self, key: FlowKey, sessions: int) -> str:
        """Return the outcome of a connection that is not mirrored, beside `sessions` others, or ""."""
        left_out = self.reason_to_leave_out(key)
        if left_out:
            return left_out
        if self.paused:
            return "paused"
        if self._config.dry_run:
            return "dry_run"
        if not self.feedback:
            return "no_feedback"
        if sessions + self.copies > self._config.max_sessions:
            return "shed_budget"
        if sessions + self.copies > self.session_cap:
            return "shed_memory"
        return ""

    def decline(self, key: FlowKey, outcome: str, isn: int) -> None:
        """Count a connection that is not mirrored."""
        self._counters.decline_sessions(outcome, self.copies)
        self.remembered.note(key, outcome if outcome in _TOLD_APART else "no_session", isn)

    def has_left_out(self, key: FlowKey) -> bool:
        """Return whether the newest connection with this key is one that reason_to_leave_out() named, and counted."""
        return self.remembered.reason(key) in _LEFT_OUT

    def count_midstream(self, key: FlowKey) -> str:
        """Count a connection that was open before copy started; return why its octets are ignored.

        One that is left out is not counted, whatever comes up of it: the kernel shows the data of hardly any.
        """
        reason = self.reason_to_leave_out(key)
        sessions = 0
        if not reason:
            reason = "midstream"
            sessions = self.copies
            self._counters.decline_sessions("midstream_skipped", sessions)
        self.remembered.note(key, reason, -1, sessions)
        return reason

    def may_join(self, key: FlowKey, sessions: int) -> bool:
        """Return whether a connection that was open before copy started may be mirrored from here on."""
        if not self._config.join_midstream or self.remembered.reason(key) not in ("", "midstream"):
            return False
        return not self.reason_to_decline(key, sessions)

    def join(self, key: FlowKey) -> None:
        """Take back that the connection was counted as skipped, if it was."""
        self._counters.recall_declined("midstream_skipped", self.remembered.sessions(key))
