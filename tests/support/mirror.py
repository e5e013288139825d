"""The mirror under test: its daemons' status, and runs of sessions through it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from testinfra.host import Host

from .sessions import Driven, Driving, Multiset, SessionLog, start_driver
from .topology import Topology
from .waiting import Unmet, wait_until

__all__ = ["Mirror", "Passage"]

LINK_TIMEOUT_S = 30
SETTLE_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class Passage:
    """What each hop saw of one run of sessions."""

    driven: Driven
    at_online: Multiset
    at_target: Multiset
    target_entries: list[dict[str, Any]]
    outcomes: dict[str, int]
    """How much each of copy's outcomes grew."""
    seen: int
    """How many sessions copy saw."""


@dataclass(slots=True)
class Mirror:
    """The four hosts and what is asked of them most."""

    topology: Topology
    hosts: dict[str, Host] = field(repr=False)

    def status(self, daemon: str) -> dict[str, Any]:
        """What `copytool status` says; {} when the daemon does not answer."""
        answer = self.hosts[host_of(daemon)].run("copytool status --json %s", daemon)
        return json.loads(answer.stdout) if answer.rc == 0 else {}

    def link_states(self) -> dict[str, list[str]]:
        """The state of each link that a daemon has."""
        return {
            daemon: [peer["state"] for peer in self.status(daemon).get("link", [])] for daemon in ("copy", "intercept")
        }

    def wait_for_link(self, timeout_s: float = LINK_TIMEOUT_S) -> None:
        """Wait until both daemons say that they are connected."""

        def established() -> object:
            states = self.link_states()
            return all("established" in own for own in states.values()) or Unmet(states)

        wait_until(established, timeout_s, "the link between copy and intercept is established on both sides")

    def main_pid(self, daemon: str) -> int:
        """The daemon's process; 0 when there is none."""
        host = self.hosts[host_of(daemon)]
        return int(host.check_output("systemctl show -P MainPID copytool@%s", daemon))

    def wait_for_new_process(self, daemon: str, old_pid: int, timeout_s: float = LINK_TIMEOUT_S) -> None:
        """Wait until systemd has started the daemon again."""

        def restarted() -> object:
            return self.main_pid(daemon) not in (0, old_pid)

        wait_until(restarted, timeout_s, f"systemd restarts copytool@{daemon}")

    def drive(self, **options: object) -> Driving:
        """Start test sessions."""
        return start_driver(self.topology, **options)

    def pass_sessions(self, copies: int = 1, during: Callable[[], object] | None = None, **options: object) -> Passage:
        """Drive sessions, wait until they have gone through, and say what each hop saw."""
        online_log, target_log = SessionLog(self.hosts["online"]), SessionLog(self.hosts["target"])
        before = self.status("copy")["sessions"]
        driving = self.drive(**options)
        if during is not None:
            during()
        driven = driving.result()
        after = self.settle(before["seen"] + driven.sessions * copies)
        outcomes = {word: count - before["outcomes"][word] for word, count in after["outcomes"].items()}

        def logged() -> object:
            count = target_log.sessions().total()
            return count >= outcomes["mirrored"] or Unmet(f"{count} of {outcomes['mirrored']} lines")

        wait_until(logged, SETTLE_TIMEOUT_S, "the target service logs the sessions that copy mirrored")
        entries = target_log.entries()
        at_target = Multiset((entry["bytes"], entry["sha256"]) for entry in entries)
        seen = after["seen"] - before["seen"]
        return Passage(driven, online_log.sessions(), at_target, entries, outcomes, seen)

    def settle(self, seen: int) -> dict[str, Any]:
        """Wait until copy saw this many sessions and is done with all; returns its session counters."""

        def done() -> object:
            sessions = self.status("copy").get("sessions", {"seen": 0, "outcomes": {"active": 0}})
            settled = sessions["seen"] >= seen and sessions["outcomes"]["active"] == 0
            return sessions if settled else Unmet({key: value for key, value in sessions.items() if value})

        result: Any = wait_until(done, SETTLE_TIMEOUT_S, f"copy saw {seen} sessions and is done with them")
        return dict(result)


def host_of(daemon: str) -> str:
    """The kind of host that runs a daemon."""
    return {"copy": "online", "intercept": "assistant"}[daemon]
