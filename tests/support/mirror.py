"""The mirror under test: its daemons' status, and runs of sessions through it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from testinfra.host import Host

from .sessions import Driven, Driving, Entries, Multiset, SessionLog, multiset, start_driver
from .topology import Topology
from .waiting import Unmet, wait_until

__all__ = ["KIND_OF", "Mirror", "Passage"]

LINK_TIMEOUT_S = 30
SETTLE_TIMEOUT_S = 60
KIND_OF = {"copy": "online", "intercept": "assistant"}
"""The kind of host that runs a daemon."""

Statuses = dict[str, dict[str, Any]]
"""Each host's daemon's status; {} when it does not answer."""


@dataclass(frozen=True, slots=True)
class Passage:
    """What each hop saw of one run of sessions."""

    driven: Driven
    online_entries: dict[str, Entries]
    """What the service on each online host logged."""
    target_entries: dict[str, Entries]
    """What the service on each target logged."""
    outcomes: dict[str, int]
    """How much each of the copies' outcomes grew."""
    seen: dict[str, int]
    """How many sessions each online host's copy saw."""
    responses: dict[str, dict[str, int]]
    """How much each of intercept's counters of responses grew on each assistant."""

    @property
    def at_online(self) -> Multiset:
        """The sessions that all online services read."""
        return multiset(entry for entries in self.online_entries.values() for entry in entries)

    @property
    def at_target(self) -> Multiset:
        """The sessions that all target services read."""
        return multiset(entry for entries in self.target_entries.values() for entry in entries)


@dataclass(slots=True)
class Mirror:
    """The hosts and what is asked of them most."""

    topology: Topology
    hosts: dict[str, Host] = field(repr=False)

    def of_kind(self, kind: str) -> dict[str, Host]:
        """The hosts of a kind, by name."""
        return {name: self.hosts[name] for name in self.topology.names[kind]}

    def interface(self, name: str) -> str:
        """A host's interface on the network that the hosts share; it may have others."""
        shown = self.hosts[name].check_output("ip -o -4 addr show to %s", self.topology.addresses[name])
        return shown.split()[1]

    def statuses(self, daemon: str) -> Statuses:
        """What `copytool status` says on each of the daemon's hosts."""
        answers = {
            name: host.run("copytool status --json %s", daemon) for name, host in self.of_kind(KIND_OF[daemon]).items()
        }
        return {name: json.loads(answer.stdout) if answer.rc == 0 else {} for name, answer in answers.items()}

    def link_states(self) -> dict[tuple[str, str], list[str]]:
        """The state of each link of each daemon, by daemon and host."""
        return {
            (daemon, name): [peer["state"] for peer in status.get("link", [])]
            for daemon in KIND_OF
            for name, status in self.statuses(daemon).items()
        }

    def wait_for_link(self, timeout_s: float = LINK_TIMEOUT_S) -> None:
        """Wait until all daemons say that they are connected."""

        def established() -> object:
            states = self.link_states()
            return all("established" in own for own in states.values()) or Unmet(states)

        wait_until(established, timeout_s, "the links between copy and intercept are established on both sides")

    def main_pids(self, daemon: str) -> dict[str, int]:
        """The daemon's process on each of its hosts; 0 where there is none."""
        return {
            name: int(host.check_output("systemctl show -P MainPID copytool@%s", daemon))
            for name, host in self.of_kind(KIND_OF[daemon]).items()
        }

    def wait_for_new_process(self, daemon: str, name: str, old_pid: int, timeout_s: float = LINK_TIMEOUT_S) -> None:
        """Wait until systemd has started a host's daemon again."""

        def restarted() -> object:
            return self.main_pids(daemon)[name] not in (0, old_pid)

        wait_until(restarted, timeout_s, f"systemd restarts copytool@{daemon} on {name}")

    def drive(self, **options: object) -> Driving:
        """Start test sessions."""
        return start_driver(self.topology, **options)

    def pass_sessions(self, copies: int = 1, during: Callable[[], object] | None = None, **options: object) -> Passage:
        """Drive sessions, wait until they have gone through, and say what each hop saw."""
        logs = {kind: self._logs(kind) for kind in ("online", "target")}
        before, responses_before = self._sessions(), self.statuses("intercept")
        driving = self.drive(**options)
        if during is not None:
            during()
        driven = driving.result()
        after = self.settle(sum(own["seen"] for own in before.values()) + driven.sessions * copies)
        outcomes = Counter[str]()
        for name, own in after.items():
            outcomes.update({word: n - before[name]["outcomes"][word] for word, n in own["outcomes"].items()})

        def logged() -> object:
            count = sum(len(log.entries()) for log in logs["target"].values())
            return count >= outcomes["mirrored"] or Unmet(f"{count} of {outcomes['mirrored']} lines")

        wait_until(logged, SETTLE_TIMEOUT_S, "the target services log the sessions that copy mirrored")
        responses = {
            name: {key: n - responses_before[name]["responses"][key] for key, n in status["responses"].items()}
            for name, status in self.statuses("intercept").items()
        }
        entries = {kind: {name: log.entries() for name, log in own.items()} for kind, own in logs.items()}
        seen = {name: own["seen"] - before[name]["seen"] for name, own in after.items()}
        return Passage(driven, entries["online"], entries["target"], dict(outcomes), seen, responses)

    def _logs(self, kind: str) -> dict[str, SessionLog]:
        ports = {"online": self.topology.service_ports, "target": self.topology.target_ports}[kind]
        return {name: SessionLog(host, ports) for name, host in self.of_kind(kind).items()}

    def _sessions(self) -> Statuses:
        unknown = {"seen": 0, "outcomes": {"active": 0}}
        return {name: status.get("sessions", unknown) for name, status in self.statuses("copy").items()}

    def settle(self, seen: int) -> Statuses:
        """Wait until the copies saw this many sessions and are done with all; returns their session counters."""

        def done() -> Statuses | Unmet:
            sessions = self._sessions()
            count = sum(own["seen"] for own in sessions.values())
            active = sum(own["outcomes"]["active"] for own in sessions.values())
            return sessions if count >= seen and not active else Unmet(sessions)

        settled = wait_until(done, SETTLE_TIMEOUT_S, f"the copies saw {seen} sessions and are done with them")
        assert not isinstance(settled, Unmet)
        return settled
