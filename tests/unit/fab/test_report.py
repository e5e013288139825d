"""Output and failures of many hosts, which are all this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from invoke.exceptions import Exit

from fabfile.fleet import Fleet, Host
from fabfile.report import INTERRUPTED_STATUS, carry_out, reporting
from fabfile.steps import Step

HOSTS = {name: Host(name, connection="local") for name in ("one", "two", "three")}
BROKEN = Host("broken", problem="'x' is undefined")


def fleet(*others: Host) -> Fleet:
    return Fleet(Path("here"), "", {**HOSTS, **{host.name: host for host in others}}, {})


def work(*steps: Step, hosts: Sequence[Host] = tuple(HOSTS.values()), timeout_s: float = 20) -> None:
    own = fleet(*hosts)
    with reporting(own, "work") as report:
        carry_out(report, dict.fromkeys(hosts, steps), timeout_s, as_root=False)


def test_each_host_s_output_stands_under_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    work(Step("greeting", "echo hello"), Step("state", "echo fine", inline=True))
    blocks = [f"{name}: greeting\nhello\n\n{name}: state fine\n" for name in HOSTS]
    assert capsys.readouterr().out == "\n" + "\n".join(blocks)


def test_lines_that_are_all_there_is_stand_close_together(capsys: pytest.CaptureFixture[str]) -> None:
    work(Step("state", "echo fine", inline=True))
    assert capsys.readouterr().out == "\none: state fine\ntwo: state fine\nthree: state fine\n"


def test_the_last_line_names_hosts_and_reasons() -> None:
    mixed = Step("mixed", "exit 3"), Step("named", "exit 1", reason="copytool copy"), Step("good", "true")
    with pytest.raises(Exit) as raised:
        work(*mixed, hosts=[HOSTS["one"], HOSTS["three"]])
    assert raised.value.code == 1
    last = str(raised.value.message).splitlines()[-1]
    assert last == "work failed on one (status 3, copytool copy), three (status 3, copytool copy)"


def test_hosts_that_cannot_be_reached_are_named_with_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Exit) as raised:
        work(Step("greeting", "echo hello"), hosts=[HOSTS["one"], BROKEN, HOSTS["two"]])
    shown = capsys.readouterr().out
    assert "broken cannot be reached: 'x' is undefined\n" in shown
    assert shown.index("one: greeting") < shown.index("broken") < shown.index("two: greeting")
    hint, last = str(raised.value.message).strip().splitlines()
    assert "ansible all -m ping" in hint
    assert last == "work failed on broken (cannot be reached)"


def test_a_command_that_takes_too_long_shows_what_it_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Exit, match=r"work failed on one \(no end after 0.5 s\)"):
        work(Step("slow", "echo begun; sleep 1000"), hosts=[HOSTS["one"]], timeout_s=0.5)
    assert capsys.readouterr().out == "\none: slow\nbegun\n\none: broken off: no end after 0.5 s\n"


def test_an_interrupted_task_has_the_status_of_shells() -> None:
    with pytest.raises(Exit) as raised, reporting(fleet(), "work"):
        raise KeyboardInterrupt
    assert raised.value.code == INTERRUPTED_STATUS
