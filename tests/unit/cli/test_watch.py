"""`copytool status --watch`: rates, what is new, and daemons that come and go."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from copytool.cli.main import main
from copytool.cli.watch import Figures, format_view
from copytool.io.budgets import budgets_status
from copytool.io.settings import BudgetLimits
from copytool.mirror.counters import EngineCounters

from ..io.answering import Answering


def copy_status(seconds: int) -> dict[str, Any]:
    """Return what copy says after so many seconds of steady work."""
    counters = EngineCounters()
    counters.open_session()
    counters.decline_sessions("mirrored", 20 * seconds)
    counters.decline_sessions("sampled_out", 5 * seconds)
    counters.captured = counters.accepted = counters.queued = 10_000 * seconds
    counters.delivered = 9_000 * seconds
    counters.release.answered = 30 * seconds
    counters.release.quiet = 10 * seconds
    counters.decline_sessions("shed_cpu", seconds)
    counters.sender.packets = 100 * seconds
    for _ in range(10 * seconds):
        counters.lag.note(0.0009)
    if seconds > 1:
        for _ in range(30):
            counters.lag.note(0.09)
    return {
        "role": "copy",
        "version": "1",
        "flavour": "pure",
        "dry_run": False,
        **counters.to_json(0, 1_000),
        "steering": {"paused": False, "ratio_percent": 80.0, "ratio_goal_percent": 80.0, "copies": 1},
        "budgets": budgets_status(
            BudgetLimits(cpu_percent=50),
            1000,
            {"sessions": 1, "cpu": 12.5, "memory": 300 << 20, "bandwidth": 1_200_000},
            counters.outcomes,
        ),
        "capture": {"packets": 200 * seconds, "drops": 0, "problems": {"ens18": "Network is down"}},
        "send": {"errors": {}, "unreachable": {"192.168.50.101": "no route"}},
        "link": [{"peer": "192.168.50.102:36524", "state": "established", "reason": "", "encrypted": True}],
        "certificate": None,
        "internal_errors": 0,
        "imbalance": [],
    }


def rows(lines: list[str]) -> dict[str, list[str]]:
    """Return the columns of the table by title."""
    return {line[2:26].strip(): line[26:].split() for line in lines}


def test_rates_are_of_the_time_between_two_looks() -> None:
    """The totals beside them are since the start; outcomes that did not occur are left out."""
    lines = format_view(copy_status(5), copy_status(3), 2.0)
    shown = rows(lines)
    assert shown["sessions"] == ["26", "131"]
    assert shown["turns"] == ["40", "200"]
    assert shown["bytes from clients"] == ["10,000", "50,000"]
    assert shown["bytes to targets"] == ["9,000", "45,000"]
    assert shown["captured packets"] == ["200", "1,000"]
    assert shown["sampled_out"] == ["5", "25"]
    assert "capture_gap" not in shown
    text = "\n".join(lines)
    assert "80 % of new connections" in text
    assert "UNREACHABLE  192.168.50.101: no route" in text
    assert "NO CAPTURE   on ens18: Network is down" in text
    assert "sessions open: 1; bytes under way: 1,000" in text
    assert lines[-4:] == [
        "  budgets      sessions   1 of 1,000 [                    ] 0%",
        "               cpu        12.5 of 50 % of a CPU [#####               ] 25%, 5 shed",
        "               memory     300 MiB, no limit",
        "               bandwidth  1.2 Mbit/s, no limit",
    ]


def test_durations_are_those_since_the_last_look() -> None:
    """A mirror that has just begun to fall behind shows it, however long it kept up."""
    calm, late = copy_status(1), copy_status(2)
    assert "for half of them" not in "\n".join(format_view(calm, calm, 1.0)), "nothing happened"
    assert "under 1.6 ms for half of them" in "\n".join(format_view(calm, calm, 0.0)), "since the start"
    assert "under 102 ms for half of them" in "\n".join(format_view(late, calm, 1.0))


def test_the_first_look_has_no_rates() -> None:
    """There is nothing to compare with."""
    status = copy_status(2)
    assert rows(format_view(status, status, 0.0))["sessions"] == ["-", "53"]


def test_intercept() -> None:
    """What it has captured and reported."""
    before = {
        "role": "intercept", "version": "1", "flavour": "pure", "link": [], "certificate": None, "internal_errors": 0,
        "responses": {"packets": 100, "records": 40, "no_owner": 0},
        "capture": {"packets": 100, "drops": 0, "problems": {}},
    }  # fmt: skip
    after = {**before, "responses": {"packets": 300, "records": 60, "no_owner": 2}}
    shown = rows(format_view(after, before, 2.0))
    assert (shown["packets"], shown["records"], shown["no_owner"]) == (["100", "300"], ["10", "60"], ["1", "2"])


class Daemon(Answering):
    """Answers `status` with one second's work more each time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seconds = 0
        super().__init__({path: {"status": self._status}})

    def _status(self, _request: dict[str, Any]) -> dict[str, Any]:
        self.seconds += 1
        return copy_status(self.seconds)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    made = Daemon(tmp_path / "control.sock")
    yield made
    made.close()


def test_a_daemon_that_does_not_answer_is_asked_again(daemon: Daemon, tmp_path: Path) -> None:
    """When it is back, rates begin anew: its counters do."""
    figures = Figures(daemon.path)
    figures.lines(100.0)
    assert rows(figures.lines(101.0))["sessions"] == ["26", "53"]
    socket_path, figures._path = figures._path, tmp_path / "none.sock"
    (line,) = figures.lines(103.0)
    assert line.startswith("NO ANSWER    no daemon: ")
    figures._path = socket_path
    assert rows(figures.lines(104.0))["sessions"][0] == "-"
    daemon.seconds = 0
    assert rows(figures.lines(105.0))["sessions"] == ["-", "27"], "it was started again between two looks"


def test_on_a_terminal_each_look_takes_the_place_of_the_last(daemon: Daemon) -> None:
    """Ctrl-C ends it, and is no failure."""
    words = [sys.executable, "-m", "copytool", "status", "--watch", "0.1", "--control-socket", str(daemon.path)]
    master, slave = pty.openpty()
    watching = subprocess.Popen(words, stdout=slave, stderr=subprocess.PIPE, text=True)
    os.close(slave)
    shown = b""
    while shown.count(b"a second") < 3:
        shown += os.read(master, 4096)
    watching.send_signal(signal.SIGINT)
    assert watching.wait(10) == 0
    assert watching.stderr is not None and watching.stderr.read() == ""
    watching.stderr.close()
    os.close(master)
    assert shown.count(b"\x1b[H\x1b[2J") >= 3


def test_into_a_pipe_it_writes_plain_text(daemon: Daemon) -> None:
    """And ends when nobody reads it any more."""
    words = [sys.executable, "-m", "copytool", "status", "--watch", "0.1", "--control-socket", str(daemon.path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None and watching.stderr is not None
        lines = [watching.stdout.readline() for _ in range(60)]
        watching.stdout.close()
        assert watching.wait(10) == 0
        assert watching.stderr.read() == ""
    assert "\x1b" not in "".join(lines)
    assert sum("captured packets" in line for line in lines) >= 2


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("--watch 0", "--watch: '0' is not a number from 0.1 to 3600"),
        ("--watch copy", "put it first: copytool status copy --watch"),
        ("--watch --json", "--watch shows figures for people"),
        ("--watch --sessions", "--watch shows figures for people"),
    ],
)
def test_mistakes(capsys: pytest.CaptureFixture[str], words: str, reason: str) -> None:
    """One line and status 2."""
    assert main(["status", *words.split()]) == 2
    assert reason in capsys.readouterr().err
