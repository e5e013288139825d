"""Values and answers that no sane program makes get one line that says what is wrong, like any other mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from copytool.cli import watch
from copytool.cli.arguments import parse_arguments
from copytool.cli.main import main
from copytool.cli.status import as_lines, format_sessions, format_status
from copytool.errors import ConfigError, HostError

BASE = 'map = ["1-10.0.0.1:1"]\nintercept = ["10.0.0.2"]\nclient_network = ["10.9.0.x"]\n'


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("ratio = " + "[" * 1200, "too deeply nested"),
        ("ratio = " + "9" * 4400, "not TOML"),
        ("ratio = 0x" + "f" * 4000, r"\[copy\] ratio: the number is too long"),
        ("clients = [0x" + "f" * 4000 + "]", r"\[copy\] clients: the number is too long"),
        ('upstreams = ["fe80::%lo/64"]', "is no network"),
        ('interface = ["a\\u0000b"]', "is no interface name"),
        ('interface = ["ééééééééé"]', "is no interface name"),
    ],
)
def test_configuration(line: str, says: str, tmp_path: Path) -> None:
    """Python's own limits of depth and digits are no internal errors."""
    path = tmp_path / "copy.toml"
    path.write_text(f"[copy]\n{BASE}{line}\n")
    with pytest.raises(ConfigError, match=says):
        parse_arguments(["copy", "--config", str(path)])


def test_ports_and_filters() -> None:
    """A port of thousands of digits is out of range; libpcap would take the filter up to the zero octet."""
    with pytest.raises(ConfigError, match=r"is not in 1\.\.65535"):
        parse_arguments(["copy", "-x", "9" * 5000 + "-10.0.0.1:1"])
    with pytest.raises(ConfigError, match="zero octet"):
        parse_arguments(["intercept", "-F", "tcp\0 or udp"])


def test_a_client_network_has_no_scope() -> None:
    """It would be announced to intercept, and be shown and logged there, with whatever is in the scope's name."""
    with pytest.raises(ConfigError, match="is no client network"):
        parse_arguments(["copy", "-c", "fe80::%a\nb/64"])


def test_an_answer_that_makes_no_sense() -> None:
    """Of another version, or of no copytool: a line, and no traceback."""
    for document in ({}, {"role": "copy"}, {"sessions": [{}]}, {"sessions": 7, "ended": "x"}):
        for form in (format_status, format_sessions):
            with pytest.raises(HostError, match="has it the same version of copytool"):
                as_lines(form, document)


def test_nothing_in_an_answer_steers_the_terminal() -> None:
    """Reasons and versions come from other hosts."""
    link = {"peer": "10.0.0.2:1", "state": "closed", "reason": "refused: \x1b[2J\nlink 10.0.0.3:1 established \ud800"}
    document = {
        "role": "intercept", "version": "1", "flavour": "pure", "link": [link], "internal_errors": 0,
        "refused_links": 0, "capture": {"packets": 0, "drops": 0, "problems": {}}, "no_descriptor_left": 0,
        "responses": {"packets": 0, "records": 0}, "certificate": None,
    }  # fmt: skip
    lines = as_lines(format_status, document)
    assert lines[1] == "  link         10.0.0.2:1 closed refused: ?[2J?link 10.0.0.3:1 established ?"


def test_watch_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that is being replaced by another version shows figures again when it is back."""
    monkeypatch.setattr(watch, "ask_daemon", lambda _path, _command: {"role": "copy"})
    (line,) = watch.Figures(Path("x")).lines(1.0)
    assert line.startswith("NO FIGURES   the daemon's answer makes no sense here")


def test_commands_say_it_in_a_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 3, as where no daemon answers."""
    answers: list[Any] = [{"paused": 0}, {"role": "copy"}]
    for module in ("status", "control"):
        monkeypatch.setattr(f"copytool.cli.{module}.ask_daemon", lambda *_, **__: answers[0])
    for arguments in (
        ["status", "copy"],
        ["pause"],
        ["drain"],
        ["log-level", "debug"],
        ["status", "copy", "--sessions"],
    ):
        assert main(arguments) == 3
        assert "makes no sense here" in capsys.readouterr().err
