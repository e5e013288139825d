"""The commands that steer a running copy, as people type them."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from copytool.cli.control import CONTROL_COMMANDS, parse_duration, parse_percent
from copytool.cli.main import main
from copytool.cli.status import format_steering
from copytool.errors import ConfigError

from ..io.answering import Answering

STEERING = {"paused": False, "ratio_percent": 100.0, "ratio_goal_percent": 100.0, "copies": 1}


class Daemon(Answering):
    """Answers control commands as copy does, and keeps what it was asked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked: list[dict[str, Any]] = []
        self.active = [3, 3, 1, 0]
        self.paused = True
        self.workers: list[list[dict[str, Any]]] = []
        names = ("pause", "resume", "ratio", "copies", "log-level", "status")
        super().__init__({path: dict.fromkeys(names, self._answer)})

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(request)
        command = request["command"]
        if command == "status":
            active = self.active.pop(0) if self.active else 7
            workers = {"workers": self.workers.pop(0)} if self.workers else {}
            return {"steering": {"paused": self.paused}, "sessions": {"outcomes": {"active": active}}, **workers}
        return {"log_level": request["level"]} if command == "log-level" else {**STEERING, "paused": command == "pause"}


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    made = Daemon(tmp_path / "control.sock")
    yield made
    made.close()


@pytest.mark.parametrize(
    ("words", "request_", "said"),
    [
        ("pause", {"command": "pause"}, "paused: new connections are not mirrored"),
        ("resume", {"command": "resume"}, "100 % of new connections"),
        ("ratio 5%", {"command": "ratio", "percent": 5.0, "ramp_s": 0.0}, "100 % of new connections"),
        ("ratio 0.5 ramp 10m", {"command": "ratio", "percent": 0.5, "ramp_s": 600.0}, "100 % of new connections"),
        ("copies 3", {"command": "copies", "count": 3}, "100 % of new connections"),
        ("log-level debug", {"command": "log-level", "level": "debug"}, "log level: debug"),
        ("log-level error intercept", {"command": "log-level", "level": "error"}, "log level: error"),
    ],
)
def test_commands(daemon: Daemon, capsys: pytest.CaptureFixture[str], words: str, request_: Any, said: str) -> None:
    """Each becomes one request, and says what holds then."""
    assert main([*words.split(), "--control-socket", str(daemon.path)]) == 0
    assert daemon.asked == [request_]
    assert capsys.readouterr().out == f"{said}\n"


def test_drain_waits_until_no_session_is_open(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    """It pauses first, and says how many are left whenever that changes."""
    assert main(["drain", "--control-socket", str(daemon.path)]) == 0
    assert [request["command"] for request in daemon.asked] == ["pause", *["status"] * 4]
    first, *counted, last = capsys.readouterr().out.splitlines()
    assert first == "paused: new connections are not mirrored"
    assert counted == ["3 sessions are open", "1 session is open"]
    assert last == "no session is open"


def test_drain_gives_up_after_its_timeout(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 3; copy stays paused."""
    daemon.active = []
    assert main(["drain", "--timeout", "0.2s", "--control-socket", str(daemon.path)]) == 3
    assert capsys.readouterr().err == "copytool: after 0.2 s 7 sessions are open; copy stays paused\n"


def test_drain_waits_for_workers_that_do_not_say_what_is_open(
    daemon: Daemon, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their sessions are missing from the sum."""
    daemon.active = [0, 0]
    daemon.workers = [
        [{"worker": 1, "state": "running"}, {"worker": 2, "state": "no answer within 1 s"}],
        [{"worker": 1, "state": "running"}, {"worker": 2, "state": "running"}],
    ]
    assert main(["drain", "--control-socket", str(daemon.path)]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "worker 2 does not say what is open: no answer within 1 s",
        "no session is open",
    ]


def test_drain_ends_when_copy_mirrors_again(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    """That nothing is open at that moment means nothing."""
    daemon.active, daemon.paused = [0], False
    assert main(["drain", "--control-socket", str(daemon.path)]) == 3
    assert "copy mirrors new connections again" in capsys.readouterr().err


def test_a_drain_that_is_interrupted_has_not_succeeded(daemon: Daemon) -> None:
    """Ctrl-C must not let `copytool drain && systemctl stop` go on."""
    daemon.active = []
    words = [sys.executable, "-m", "copytool", "drain", "--control-socket", str(daemon.path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as drain:
        assert drain.stdout is not None
        drain.stdout.readline()
        drain.stdout.readline()
        drain.send_signal(signal.SIGINT)
        _, error = drain.communicate(timeout=20)
    assert (drain.returncode, error) == (3, "copytool: interrupted before copy was drained; it stays paused\n")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("ratio", "the following arguments are required: PERCENT"),
        ("ratio 0%", "'0' is not a number above 0 and up to 100"),
        ("ratio x", "'x' is not a number above 0 and up to 100"),
        ("ratio 5 ramp", "ratio: 'ramp' is not like `ramp 10m`"),
        ("ratio 5 in 10m", "ratio: 'in 10m' is not like `ramp 10m`"),
        ("ratio 5 ramp soon", "'soon' is no duration, like 90s, 10m or 1.5h"),
        ("ratio 5 ramp 25h", "ratio: a ramp of '25h' is longer than 24h"),
        ("copies none", "copies: 'none' is not a whole number in 1..1024"),
        ("log-level loud", "argument LEVEL: invalid choice: 'loud'"),
        ("pause now", "unrecognized arguments: now"),
        ("drain --timeout x", "drain: 'x' is no duration"),
    ],
)
def test_mistakes(capsys: pytest.CaptureFixture[str], words: str, reason: str) -> None:
    """One line and status 2, before anything is asked."""
    assert main([*words.split(), "--control-socket", "/nonexistent.sock"]) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert len(error.splitlines()) == 1


def test_no_daemon(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Status 3, and what to do."""
    for command in ("pause", "resume", "drain"):
        assert main([command, "--control-socket", str(tmp_path / "none.sock")]) == 3
        assert "is it started" in capsys.readouterr().err


@pytest.mark.parametrize("command", CONTROL_COMMANDS)
def test_help(capsys: pytest.CaptureFixture[str], command: str) -> None:
    """Each explains itself and its exit statuses."""
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "exit status:" in shown
    assert "--control-socket" in shown


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "100 % of new connections"),
        ({"copies": 3}, "100 % of new connections, 3 times each"),
        ({"ratio_percent": 12.345, "ratio_goal_percent": 50.0}, "12.3 % of new connections, on the way to 50 %"),
        ({"paused": True, "copies": 3}, "paused: new connections are not mirrored"),
    ],
)
def test_what_holds_in_one_line(changes: dict[str, Any], text: str) -> None:
    """The same in `copytool status` and after each change."""
    assert format_steering({**STEERING, **changes}) == text


def test_values() -> None:
    """Per cent with or without the sign; durations in seconds unless they say otherwise."""
    assert [parse_percent(text) for text in ("5%", "5", "0.25%", "100")] == [5, 5, 0.25, 100]
    assert [parse_duration(text) for text in ("90", "90s", "10m", "1.5h")] == [90, 90, 600, 5400]
    for text in ("", "-1", "1d", "m", "1 m"):
        with pytest.raises(ConfigError):
            parse_duration(text)
