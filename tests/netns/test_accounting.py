"""Everything adds up: what clients sent, what the target read, and the reason of whatever lies between."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from .faults import Load, Mirror, Record, check_accounts, check_arrivals, check_octets, mirror_of, whole_sessions
from .hosts import wait_until


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    """The four hosts; nothing runs yet."""
    with mirror_of(tmp_path) as made:
        yield made


def _run_load(mirror: Mirror, *options: object) -> Load:
    load = mirror.start_load(*options)
    wait_until(lambda: len(load.sessions()) >= 80, "80 sessions have ended", 20)
    load.finish()
    return load


def _outcomes(mirror: Mirror) -> dict[str, int]:
    outcomes: dict[str, int] = mirror.network.online.status()["sessions"]["outcomes"]
    return outcomes


def _check(mirror: Mirror, load: Load, status: Record, *outcomes: str) -> None:
    """The outcomes are these, the counters fit each other, and they fit what client, online and target counted."""
    sessions = load.sessions()
    assert [session["error"] for session in sessions if session["error"]] == []
    check_accounts(status)
    check_arrivals(mirror, sessions)
    assert {word for word, count in status["sessions"]["outcomes"].items() if count} == set(outcomes)
    assert status["sessions"]["seen"] == len(sessions)
    sent = sum(session["bytes"] for session in sessions)
    served = sum(record["bytes"] for record in mirror.logs["online"].read())
    assert sent == served
    check_octets(status, sessions)
    assert status["sessions"]["outcomes"]["mirrored"] == len(whole_sessions(mirror))


def test_more_sessions_than_allowed(mirror: Mirror) -> None:
    """Sessions above --max-sessions are shed_budget from their first octet on; the others arrive whole."""
    mirror.start("--max-sessions 5")
    load = _run_load(mirror, "--long", 4)
    status = mirror.drain()
    _check(mirror, load, status, "mirrored", "shed_budget")
    arrived = sum(record["bytes"] for record in mirror.logs["target"].read())
    assert status["bytes"]["delivered"] == arrived


def test_silent_sessions(mirror: Mirror) -> None:
    """A session in which nothing happens for --idle-timeout is reset at the target; its client goes on undisturbed."""
    mirror.start("--idle-timeout 1")
    load = mirror.start_load("--short", 0, "--long", 5, "--long-pause", 60)
    wait_until(lambda: _outcomes(mirror)["idle_timeout"] == 5, "all five are given up", 10)
    load.finish()
    status = mirror.drain()
    _check(mirror, load, status, "idle_timeout")
    assert [record["end"] for record in mirror.logs["target"].read()] == ["reset"] * 5
    assert status["bytes"]["ignored"]["no_session"] > 0


def test_target_that_reads_nothing(mirror: Mirror) -> None:
    """Sessions whose buffers fill up are shed_memory; they end with RST, and clients do not wait for the target."""
    mirror.start("--session-buffer 1")
    service = mirror.services["target"]
    service.send_signal(signal.SIGSTOP)
    load = mirror.start_load("--short", 0, "--long", 3, "--long-bytes", 2_000_000, "--long-pause", 0.01)
    wait_until(lambda: _outcomes(mirror)["shed_memory"] == 3, "all three are shed", 20)
    load.finish()
    service.send_signal(signal.SIGCONT)
    status = mirror.drain()
    _check(mirror, load, status, "shed_memory")
    assert status["bytes"]["undelivered"]["shed_memory"] > 0
    wait_until(lambda: len(mirror.logs["target"].read()) == 3, "the target has logged them")
    assert {record["end"] for record in mirror.logs["target"].read()} == {"reset"}


def test_copy_stopped(mirror: Mirror) -> None:
    """SIGTERM ends what is open as aborted; the log's last numbers add up, and the next copy starts from zero."""
    mirror.start()
    load = mirror.start_load("--short", 0, "--long", 5, "--long-pause", 60)
    online = mirror.network.online
    wait_until(lambda: online.status()["bytes"]["delivered"] == 3500, "five first turns arrived")
    mirror.copies[0].terminate()
    assert mirror.copies[0].wait(10) == 0
    wait_until(lambda: not mirror.open_at_target(), "none is open at the target")
    wait_until(lambda: len(mirror.logs["target"].read()) == 5, "the target has logged them")
    assert [(record["end"], record["bytes"]) for record in mirror.logs["target"].read()] == [("reset", 700)] * 5
    mirror.start_copy()
    mirror.network.wait_for_link()
    load.finish()
    check_accounts(status := mirror.drain())
    assert status["sessions"]["outcomes"]["midstream_skipped"] == status["sessions"]["seen"] == 5
    assert status["bytes"]["ignored"]["midstream"] == status["bytes"]["captured"] == 3500
    check_arrivals(mirror, load.sessions())
