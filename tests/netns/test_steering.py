"""Steering a copy that mirrors real connections: pause, ratio, copies, drain; one process and several."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from copytool.errors import HostError
from copytool.io.control import ask_daemon
from copytool.mirror.mapping import Sampler

from .faults import Load, Mirror, Record, check_accounts, check_arrivals, mirror_of, whole_sessions
from .hosts import output, wait_until

CLIENT = ip_address("192.168.50.200").packed


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    """The four hosts; nothing runs yet."""
    with mirror_of(tmp_path) as made:
        yield made


def _wait_for(load: Load, more: int) -> int:
    """Wait until so many more sessions have ended; return how many have."""
    count = len(load.sessions()) + more
    wait_until(lambda: len(load.sessions()) >= count, f"{count} sessions have ended", 20)
    return len(load.sessions())


def _finish(mirror: Mirror, *loads: Load) -> Record:
    """End the loads; return copy's status when nothing is mirrored any more, after checking what arrived."""
    for load in loads:
        load.finish()
    status = mirror.drain()
    check_accounts(status)
    check_arrivals(mirror, [session for load in loads for session in load.sessions()])
    return status


def _counts(status: Record) -> Record:
    return {word: count for word, count in status["sessions"]["outcomes"].items() if count}


@pytest.mark.parametrize("workers", [1, 2])
def test_pause_and_resume(mirror: Mirror, workers: int) -> None:
    """What comes while mirroring is paused is left alone; sessions that are open arrive whole all the same."""
    mirror.start(f"--workers {workers}")
    load = mirror.start_load("--long", 8)
    _wait_for(load, 40)
    assert mirror.steer("pause") == "paused: new connections are not mirrored"
    paused = mirror.network.online.status()
    assert paused["steering"]["paused"]
    _wait_for(load, 60)
    load.one_more_turn()
    assert mirror.steer("resume") == "100 % of new connections"
    _wait_for(load, 40)
    status = _finish(mirror, load)
    counts = _counts(status)
    assert set(counts) == {"mirrored", "paused"}
    assert counts["paused"] >= 50
    whole = whole_sessions(mirror)
    assert len(whole) == counts["mirrored"]
    assert whole >= {session["id"] for session in load.sessions() if session["kind"] == "long"}


@pytest.mark.parametrize("workers", [1, 2])
def test_ratio_of_a_running_mirror(mirror: Mirror, workers: int) -> None:
    """A lower ratio holds for new connections; open ones outside the new sample stay exact to their end."""
    mirror.start(f"--workers {workers}")
    load = mirror.start_load("--short", 0, "--long", 24)
    wait_until(lambda: mirror.network.online.status()["sessions"]["outcomes"]["active"] == 24, "all are open")
    assert mirror.steer("ratio 30%") == "30 % of new connections"
    load.one_more_turn()
    later = mirror.start_load()
    _wait_for(later, 80)
    status = _finish(mirror, later, load)
    sampler = Sampler(30)
    chosen = [session for session in later.sessions() if sampler.chooses(CLIENT, session["port"])]
    assert 0 < len(chosen) < len(later.sessions())
    assert whole_sessions(mirror) == {session["id"] for session in (*load.sessions(), *chosen)}
    left_out = len(later.sessions()) - len(chosen)
    assert _counts(status) == {"mirrored": 24 + len(chosen), "sampled_out": left_out}


def test_the_kernel_stops_to_show_what_a_lower_ratio_leaves_out(mirror: Mirror) -> None:
    """Once no open session needs it. A higher ratio shows it again at once."""
    mirror.start()
    steering = lambda: mirror.network.online.status()["steering"]  # noqa: E731
    load = mirror.start_load("--short", 0, "--long", 8)
    wait_until(lambda: mirror.network.online.status()["sessions"]["outcomes"]["active"] == 8, "all are open")
    mirror.steer("ratio 10%")
    assert (steering()["ratio_percent"], steering()["captured_percent"]) == (10, 100)
    load.finish()
    wait_until(lambda: steering()["captured_percent"] == 10, "the filter is narrow", 30)
    before = mirror.network.online.status()["bytes"]
    later = mirror.start_load()
    _wait_for(later, 40)
    later.finish()
    status = mirror.drain()
    check_accounts(status)
    assert status["bytes"]["ignored"] == before["ignored"]
    assert mirror.steer("ratio 100% ramp 2s").endswith("on the way to 100 %")
    assert steering()["captured_percent"] == 100
    wait_until(lambda: steering()["ratio_percent"] == 100, "the ramp is over")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_ratio_that_is_raised_and_lowered_under_load(mirror: Mirror, workers: int) -> None:
    """Nothing is cut off, whatever is under way in rings and handshakes when it changes."""
    mirror.start(f"-r 10 --workers {workers}")
    load = mirror.start_load("--short", 16, "--turn-pause", 0.002)
    for words in ("ratio 90%", "ratio 20%", "ratio 100%", "ratio 5%", "ratio 60% ramp 2s"):
        _wait_for(load, 150)
        mirror.steer(words)
    wait_until(lambda: mirror.network.online.status()["steering"]["ratio_percent"] == 60, "the ramp is over")
    _wait_for(load, 100)
    status = _finish(mirror, load)
    counts = _counts(status)
    assert set(counts) <= {"mirrored", "sampled_out", "midstream_skipped"}
    assert len(whole_sessions(mirror)) == counts["mirrored"]
    assert counts.get("midstream_skipped", 0) < 20
    print(f"figures: {counts}")


@pytest.mark.parametrize("workers", [1, 2])
def test_copies_of_a_running_mirror(mirror: Mirror, workers: int) -> None:
    """New connections arrive so many times each."""
    mirror.start(f"--workers {workers}")
    assert mirror.steer("copies 3") == "100 % of new connections, 3 times each"
    load = mirror.start_load()
    _wait_for(load, 40)
    load.finish()
    status = mirror.drain()
    assert status["imbalance"] == []
    assert _counts(status) == {"mirrored": 3 * len(load.sessions())}


def test_a_worker_that_is_started_again_does_what_holds(mirror: Mirror) -> None:
    """Paused stays paused for its share of the connections, and so does the ratio."""
    mirror.start("--workers 2")
    mirror.steer("ratio 60%")
    mirror.steer("pause")
    pids = [worker["pid"] for worker in mirror.network.online.status()["workers"]]
    mirror.network.online.run("kill", f"-{signal.SIGKILL}", pids[0])

    def runs_again() -> bool:
        workers = mirror.network.online.status()["workers"]
        return workers[0]["state"] == "running" and workers[0]["pid"] != pids[0]

    wait_until(runs_again, "the worker runs again")
    mirror.network.wait_for_link()
    load = mirror.start_load()
    _wait_for(load, 60)
    load.finish()
    status = mirror.drain()
    check_accounts(status)
    assert set(_counts(status)) == {"paused", "sampled_out"}
    assert whole_sessions(mirror) == set()


def test_drain(mirror: Mirror) -> None:
    """It comes back when no session is open, or at its time-out; what comes meanwhile is not mirrored."""
    mirror.start()
    load = mirror.start_load("--short", 0, "--long", 5)
    wait_until(lambda: mirror.network.online.status()["sessions"]["outcomes"]["active"] == 5, "all are open")
    online = mirror.network.online
    late = online.run(*online.copytool("drain --timeout 0.3s"), check=False)
    assert (late.returncode, late.stderr) == (
        3,
        "copytool: after 0.3 s 5 sessions are open; copy stays paused\n",
    )
    drain = online.start(*online.copytool("drain"))
    wait_until(lambda: "5 sessions are open" in output(drain), "drain waits")
    load.finish()
    assert drain.wait(20) == 0
    assert output(drain).splitlines()[-1] == "no session is open"
    assert _counts(online.status()) == {"mirrored": 5}


def test_changes_are_logged_with_who_made_them(mirror: Mirror) -> None:
    """Also when little else is, and when they are refused; the log level itself can be changed."""
    mirror.start("--log-level error")
    mirror.steer("ratio 30%")
    with pytest.raises(HostError, match=r"copies refused by .*2000 is not a whole number"):
        ask_daemon(mirror.network.online.control_socket, "copies", count=2000)
    mirror.steer("log-level debug")
    text = mirror.copy_log.read_text()
    assert "asked for ratio percent=30.0 ramp_s=0.0: done" in text
    assert f"uid 0 (pid {os.getpid()}) asked for copies count=2000: copies: 2000 is not a whole number" in text
    assert "asked for log-level level=debug: done" in text
