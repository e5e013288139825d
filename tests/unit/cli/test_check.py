"""`copytool check`: its arguments, its table, its exit status."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from copytool.cli import check
from copytool.cli.arguments import parse_arguments
from copytool.cli.exit_status import ExitStatus
from copytool.cli.main import main
from copytool.errors import ConfigError
from copytool.io.checks.result import Result, failed, ok, skipped, warning

COPY = ["-x", "1025-192.168.50.101:1025", "-s", "192.168.50.102", "-c", "192.168.60.x"]
INTERCEPT = ["-i", "ens18", "-F", "tcp"]
ROOT = Path(__file__).parents[3]
TOML = '[copy]\nmap = ["1-10.0.0.2:2"]\nintercept = ["10.0.0.3"]\nclient_network = ["10.9.0.0/16"]\n'


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where daemons are configured."""
    monkeypatch.setattr(check, "CONFIG_DIRECTORY", tmp_path)
    return tmp_path


def parsed(*words: str) -> dict[str, Any]:
    """What the arguments say."""
    command, values = parse_arguments(["check", *words])
    assert command == "check"
    return values


def test_options_of_the_daemon() -> None:
    """Those of copy, also for the target; of intercept, and the client network."""
    for role in ("copy", "target"):
        values = parsed(role, *COPY)
        assert list(values["options"]) == [role]
        assert values["options"][role]["ratio"] == 100
    values = parsed("intercept", *INTERCEPT, "-c", "192.168.60.x", "--wait", "30", "--json", "--no-probe")
    assert (values["wait_s"], values["json"], values["probe"]) == (30, True, False)
    assert str(values["options"]["intercept"]["client_network"][0][0]) == "192.168.60.0/24"


@pytest.mark.parametrize("words", [("--json", "copy"), ("copy", "--json")])
def test_own_options_before_or_behind_the_role(words: tuple[str, ...]) -> None:
    """Both places are right."""
    values = parsed(*words, *COPY)
    assert (values["json"], values["probe"], values["wait_s"]) == (True, True, None)


def test_configuration_files(directory: Path) -> None:
    """Without a role those that are there; without an option the role's; one that is named wins."""
    (directory / "copy.toml").write_text(TOML)
    assert list(parsed()["options"]) == ["copy"]
    assert parsed("target")["options"]["target"]["map"] == {(None, 1): (bytes([10, 0, 0, 2]), 2)}
    assert (None, 1) not in parsed("copy", *COPY)["options"]["copy"]["map"]
    (directory / "intercept.toml").write_text('[intercept]\ninterface = ["e"]\nfilter = "tcp"\n')
    assert list(parsed()["options"]) == ["copy", "intercept"]
    other = directory / "other.toml"
    other.write_text(TOML.replace("10.0.0.2", "10.0.0.7"))
    mapped = parsed("copy", "--config", str(other), "-r", "5")["options"]["copy"]
    assert mapped["map"][None, 1][0] == bytes([10, 0, 0, 7]) and mapped["ratio"] == 5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "nothing is configured in"),
        (("copy", *COPY, "--wait", "x"), "--wait: 'x' is not a number"),
        (("copy", "-x", "1"), "-x (--map): '1' is not"),
        (("online",), "invalid choice"),
    ],
)
def test_mistakes(words: tuple[str, ...], message: str) -> None:
    """They are named."""
    with pytest.raises(ConfigError, match=re.escape(message)):
        parsed(*words)


def test_what_is_missing_has_the_usage_status(capsys: pytest.CaptureFixture[str]) -> None:
    """Like the daemon's own message."""
    assert main(["check", "copy", "-x", "1-10.0.0.2:2"]) == ExitStatus.USAGE
    assert "-s (--intercept) is missing" in capsys.readouterr().err


RESULTS = [
    ok("daemon", "runs"),
    warning("mtu", "lost", "a small link", "-M 1400", "10.0.0.2"),
    skipped("clock", "no answer", "10.0.0.2"),
    failed("port", "refused", "nothing listens", "start it", "10.0.0.2:2"),
]


def outcome(monkeypatch: pytest.MonkeyPatch, results: list[Result], *words: str) -> ExitStatus:
    """The exit status when the checks find this."""
    monkeypatch.setattr(check, "_results", lambda *_: iter(results))
    return main(["check", "copy", *COPY, *words])


def test_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A line each, with cause and fix below; the sum names the first that failed."""
    assert outcome(monkeypatch, RESULTS) == ExitStatus.CHECK_FAILED
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "online host, copy"
    assert [line.split()[:2] for line in lines[1:3]] == [["ok", "daemon"], ["WARNING", "mtu"]]
    assert lines[3:5] == ["           cause: a small link", "           fix:   -M 1400"]
    assert lines[-1] == "1 ok, 1 WARNING, 1 skipped, 1 FAILED; the first that failed: port 10.0.0.2:2"


def test_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """One object; warnings do not fail."""
    assert outcome(monkeypatch, RESULTS[:3], "--json") == ExitStatus.OK
    document = json.loads(capsys.readouterr().out)
    assert document["failed"] == 0
    assert [(one["role"], one["check"], one["state"]) for one in document["checks"]] == [
        ("copy", "daemon", "ok"), ("copy", "mtu", "warning"), ("copy", "clock", "skipped"),
    ]  # fmt: skip


def test_the_target_needs_python_only() -> None:
    """What runs there imports nothing that is not in Python, nor what its neighbours on the other hosts need."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import copytool.cli.main, copytool.io.checks.target_side;"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program, ROOT], capture_output=True, text=True, check=True)
    assert not {"pyroute2", "prometheus_client"} & set(done.stdout.split())
