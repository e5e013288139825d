"""A running mirror under load, something that goes wrong in the middle, and what must be true afterwards."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .hosts import COPY, INTERCEPT, Network, output, wait_until
from .watch import watched_network

PROGRAMS = Path(__file__).parent
RECOVERY_S = 10.0
"""Within this long after a cause is gone, a new session must have arrived at the target."""

Record = dict[str, Any]
_ENDED = re.compile(r"session of \S+ port (\d+): (\w+)")


class SessionFile:
    """The JSON lines that a service or the load has written; reads only what is new."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._records: list[Record] = []

    def read(self) -> list[Record]:
        """Return all records so far."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._offset)
                lines = file.read().split(b"\n")
            self._offset += sum(len(line) + 1 for line in lines[:-1])
            self._records += [json.loads(line) for line in lines[:-1]]
        return self._records


class Mirror:
    """The four hosts with services that verify what they read, both daemons, and clients."""

    def __init__(self, network: Network, scratch: Path) -> None:
        self.network = network
        self._scratch = scratch
        self.services: dict[str, subprocess.Popen[str]] = {}
        self.logs: dict[str, SessionFile] = {}
        self.copies: list[subprocess.Popen[str]] = []
        self.intercept: subprocess.Popen[str] | None = None

    def start_service(self, name: str) -> None:
        """Start the service on a host, and wait until it listens."""
        log = self._scratch / f"{name}.jsonl"
        self.logs.setdefault(name, SessionFile(log))
        host = self.network.hosts[name]
        self.services[name] = host.start(sys.executable, PROGRAMS / "verified_server.py", "--port", 1025, "--log", log)
        self.network.wait_listening(name, 1025)

    def start_intercept(self, *prefix: str) -> None:
        """Start intercept; `prefix` are words before the command."""
        assistant = self.network.assistant
        self.intercept = assistant.start(*prefix, *assistant.copytool(INTERCEPT))

    def kill_intercept(self) -> None:
        """End intercept at once."""
        assert self.intercept is not None
        self.intercept.kill()
        self.intercept.wait(10)

    def start_copy(self, options: str = "", *prefix: str) -> None:
        """Start copy; it logs how each session ends that is not mirrored to its end."""
        online = self.network.online
        self.copy_log = self._scratch / f"copy{len(self.copies)}.log"
        words = online.copytool(f"{COPY} --log-level debug --log-file {self.copy_log} {options}")
        self.copies.append(online.start(*prefix, *words))

    def start(self, options: str = "", *prefix: str) -> None:
        """Start the services and both daemons, and wait for the link."""
        for name in ("online", "target"):
            self.start_service(name)
        self.start_intercept(*prefix)
        self.network.wait_listening("assistant", 36524)
        self.start_copy(options, *prefix)
        self.network.wait_for_link()

    def start_load(self, *options: object) -> Load:
        """Start clients."""
        program = PROGRAMS / "verified_load.py"
        child = self.network.client.start(sys.executable, program, "192.168.50.10", *options)
        return Load(child)

    def steer(self, words: str) -> str:
        """Run a command like `pause` on online; return what it says."""
        return self.network.online.run(*self.network.online.copytool(words)).stdout.strip()

    def switch(self, *words: str) -> None:
        """Run `ip` in the switch, where the hosts' ports are."""
        subprocess.run(["ip", "-n", f"{self.network._prefix}switch", *words], check=True, capture_output=True)

    def ended_otherwise(self) -> dict[int, str]:
        """Return the outcome of each client port whose session copy ended with another one than mirrored."""
        text = "".join(log.read_text() for log in sorted(self._scratch.glob("copy*.log")))
        return {int(port): outcome for port, outcome in _ENDED.findall(text)}

    def open_at_target(self) -> list[str]:
        """Return the sessions from the client network that the target's kernel holds open."""
        states = ["ss", "-Htn", "state", "connected", "exclude", "time-wait", "dst", "192.168.60.0/24"]
        return self.network.target.run(*states).stdout.splitlines()

    def drain(self, timeout_s: float = 20) -> Record:
        """Wait until copy mirrors nothing any more and the target holds nothing open; return copy's status."""
        deadline = time.monotonic() + timeout_s
        while (status := self.network.online.status())["sessions"]["outcomes"]["active"] or self.open_at_target():
            if time.monotonic() > deadline:
                what = {key: status[key] for key in ("sessions", "bytes", "mirror", "link")}
                pytest.fail(
                    f"still open after {timeout_s:g} s, at the target {self.open_at_target()}; copy says {what}"
                )
            time.sleep(0.1)
        return status


class Load:
    """Clients that go on until they are told to stop."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self._child = child
        self._file = SessionFile(Path(child.log.name))  # type: ignore[attr-defined]

    def sessions(self) -> list[Record]:
        """Return the sessions that have ended."""
        return self._file.read()

    def one_more_turn(self) -> None:
        """Have each long session send a turn now."""
        self._child.send_signal(signal.SIGUSR1)

    def finish(self) -> None:
        """Let the sessions end as they should, and wait for that."""
        self._child.terminate()
        assert self._child.wait(40) == 0, output(self._child)[-2000:]


@contextlib.contextmanager
def mirror_of(scratch: Path) -> Iterator[Mirror]:
    """Make the four hosts, and remove them whatever happens."""
    with watched_network(scratch) as network:
        yield Mirror(network, scratch)


class Fault:
    """One fault under load: begin, make the cause, `cause_is_gone`, `finish`, then the checks."""

    def __init__(self, mirror: Mirror, name: str, *load: object) -> None:
        self.mirror = mirror
        self.name = name
        self.load = mirror.start_load(*load)
        wait_until(lambda: len(self.load.sessions()) >= 60, "60 sessions have ended", 20)
        wait_until(lambda: self._arrived_since(0.0), "sessions arrive")
        self.began_at = time.monotonic()
        self.made_at = self.over_at = self.gone_at = self.recovered_at = 0.0
        self.status: Record = {}

    def last(self, seconds: float) -> None:
        """Let the fault, which has been made by now, last so many seconds."""
        self.made_at = time.monotonic()
        time.sleep(seconds)
        self.over_at = time.monotonic()

    def _arrived_since(self, since: float) -> list[float]:
        whole = [record for record in self.mirror.logs["target"].read() if record["end"] == "eof"]
        return [record["ended"] for record in whole if record["id"] / 1e9 > since]

    def cause_is_gone(self, was_outage: bool = True) -> None:
        """Wait until a session that was opened from now on arrives at the target; nothing may have arrived before."""
        self.gone_at = time.monotonic()
        arrived = [ended for ended in self._arrived_since(self.made_at + 0.05) if ended < self.over_at]
        assert not (was_outage and arrived), (
            f"{self.name}: {len(arrived)} sessions arrived during the fault: it was none"
        )
        arrived = wait_until(
            lambda: self._arrived_since(self.gone_at), f"{self.name}: a new session arrives", RECOVERY_S + 1
        )
        self.recovered_at = min(arrived)
        assert self.recovered_at - self.gone_at < RECOVERY_S

    def finish(self) -> None:
        """Let some more sessions come and go, end the load, and wait until nothing is open."""
        count = len(self.load.sessions())
        wait_until(lambda: len(self.load.sessions()) >= count + 40, "40 more sessions", 20)
        self.load.finish()
        self.status = self.mirror.drain()

    # -- checks ---------------------------------------------------------------------------------------------

    def check_clients(self, may_stall: bool = False) -> None:
        """No client saw an error or a wrong octet, and none had to wait longer than before the fault."""
        sessions = self.load.sessions()
        errors = [session["error"] for session in sessions if session["error"]]
        assert not errors, f"{self.name}: clients saw {errors[:5]}"
        served = {record["id"]: record for record in self.mirror.logs["online"].read()}
        for session in sessions:
            record = served[session["id"]]
            assert (record["bytes"], record["corrupt_at"]) == (session["bytes"], -1), f"{self.name}: {record}"
        before, during = self.latencies()
        print(f"{self.name}: latency before p99 {p99(before):.4f} max {max(before):.4f} of {len(before)};", end=" ")
        print(f"during p99 {p99(during):.4f} max {max(during):.4f} of {len(during)}")
        if not may_stall:
            assert p99(during) < 3 * p99(before) + 0.1, self.name
            assert max(during) < 3 * max(before) + 0.5, self.name

    def latencies(self) -> tuple[list[float], list[float]]:
        """Return the latencies of the requests before and during the fault, sorted."""
        before, during = [], []
        for session in self.load.sessions():
            for started, latency in session["requests"]:
                if started + latency < self.began_at:
                    before.append(latency)
                elif started <= self.recovered_at:
                    during.append(latency)
        return sorted(before), sorted(during)

    def check_sessions(self, *expected: str, may: tuple[str, ...] = (), unsure: tuple[float, float] = (0, 0)) -> None:
        """What arrived is right, what did not has its outcome: each of `expected`, perhaps `may`, and no other.

        `unsure`: sessions that were open in that time may be cut off without copy knowing.
        """
        outcomes = {word: count for word, count in self.status["sessions"]["outcomes"].items() if count}
        print(f"{self.name}: recovered {self.recovered_at - self.gone_at:.2f} s after the cause; outcomes {outcomes}")
        assert {"mirrored", *expected} <= set(outcomes) <= {"mirrored", *expected, *may}, f"{self.name}: {outcomes}"
        check_accounts(self.status)
        check_arrivals(self.mirror, self.load.sessions())
        if len(self.mirror.copies) == 1:
            check_octets(self.status, self.load.sessions())
        whole = whole_sessions(self.mirror)
        seen = {record["id"] for record in self.mirror.logs["target"].read()}
        otherwise = self.mirror.ended_otherwise()
        unseen = 0
        for session in self.load.sessions():
            if session["id"] in whole or (session["opened"] < unsure[1] and session["ended"] > unsure[0]):
                continue
            in_time = session["opened"] <= self.recovered_at and session["ended"] >= self.began_at - 0.5
            assert in_time, f"{self.name}: {session} was not open during the fault, and is missing"
            if session["port"] not in otherwise:
                assert session["id"] not in seen, f"{self.name}: {session} is mirrored, but not whole"
                unseen += 1
        if unsure == (0, 0):
            told = Counter(otherwise.values())["no_feedback"]
            assert unseen == outcomes.get("no_feedback", 0) - told, f"{self.name}: {unseen} sessions never arrived"
            assert self.status["sessions"]["seen"] == len(self.load.sessions())


def p99(latencies: list[float]) -> float:
    """Return the 99th percentile of sorted values."""
    return latencies[len(latencies) * 99 // 100]


def whole_sessions(mirror: Mirror) -> set[int]:
    """Return the numbers of the sessions that the target read to the last octet that online read."""
    served = {record["id"]: record["bytes"] for record in mirror.logs["online"].read()}
    return {record["id"] for record in mirror.logs["target"].read() if record["bytes"] == served.get(record["id"])}


def check_arrivals(mirror: Mirror, sessions: list[Record]) -> None:
    """Each session at the target is one of the clients', once, a prefix of it, and closed with FIN only if whole."""
    sent = {session["id"]: session for session in sessions}
    served = {record["id"]: record["bytes"] for record in mirror.logs["online"].read()}
    arrived = mirror.logs["target"].read()
    repeated = [number for number, count in Counter(record["id"] for record in arrived).items() if count > 1]
    assert not [number for number in repeated if number >= 0], "a session arrived twice"
    for record in arrived:
        assert record["corrupt_at"] < 0, record
        if record["bytes"] < 8:  # too short to say which one it is
            assert record["end"] != "eof", record
            continue
        assert record["id"] in sent, f"nobody sent {record}"
        assert record["bytes"] <= served[record["id"]], record
        if record["end"] == "eof":
            assert record["bytes"] == served[record["id"]], f"cut off, but closed as if whole: {record}"
            assert sent[record["id"]]["end"] == "eof", record


def check_octets(status: Record, sessions: list[Record]) -> None:
    """Every octet that clients sent was captured; what came again counts as duplicate where it was mirrored."""
    sent = sum(session["bytes"] for session in sessions)
    assert status["capture"]["drops"] == 0
    assert 0 <= status["bytes"]["captured"] - status["bytes"]["duplicate"] - sent <= sent / 100


def check_accounts(status: Record) -> None:
    """Each session has one outcome, and each captured octet is delivered or has a reason."""
    sessions, octets = status["sessions"], status["bytes"]
    assert status["imbalance"] == []
    assert status["internal_errors"] == 0
    assert sessions["seen"] == sum(sessions["outcomes"].values())
    placed = octets["accepted"] + octets["duplicate"] + octets["discarded"] + octets["held"]
    assert octets["captured"] == placed + sum(octets["ignored"].values())
    assert octets["queued"] == octets["delivered"] + octets["buffered"] + sum(octets["undelivered"].values())
    assert octets["queued"] == octets["accepted"]
    if not sessions["outcomes"]["active"]:
        assert (octets["held"], octets["buffered"]) == (0, 0)
