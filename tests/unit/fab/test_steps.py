"""Several commands go to a host as one script, and come back apart: run by a real shell."""

from __future__ import annotations

import subprocess

import pytest

from fabfile.steps import NEVER_RAN, Done, Step, join, new_mark, split, started

MARK = "--0123456789abcdef"


def run(*commands: str) -> list[tuple[int, str]]:
    steps = [Step("step", command) for command in commands]
    result = subprocess.run(["sh", "-c", join(steps, MARK)], capture_output=True, text=True, check=True)
    assert result.stderr == ""
    assert started(result.stdout, MARK)
    return [(done.status, done.output) for done in split(steps, MARK, result.stdout)]


@pytest.mark.parametrize(
    ("commands", "done"),
    [
        (["echo one", "echo two"], [(0, "one\n"), (0, "two\n")]),
        (["exit 3", "echo two"], [(3, ""), (0, "two\n")]),
        (["printf 'no end of line'", "true"], [(0, "no end of line"), (0, "")]),
        (["echo out; echo error >&2", "false"], [(0, "out\nerror\n"), (1, "")]),
        (["cd /; x=1", 'pwd | grep -qx / || echo "elsewhere $x"'], [(0, ""), (0, "elsewhere \n")]),
        (["echo '--other 7'"], [(0, "--other 7\n")]),
        (["echo one # a comment", "cat <<E\nhere\nE"], [(0, "one\n"), (0, "here\n")]),
    ],
)
def test_each_step_has_its_own_output_and_status(commands: list[str], done: list[tuple[int, str]]) -> None:
    assert run(*commands) == done


def test_a_script_that_is_broken_off_shows_how_far_it_came() -> None:
    steps = [Step("one", "true"), Step("two", "true"), Step("three", "true")]
    done = split(steps, MARK, f"{MARK}\na\n{MARK} 0\n{MARK}\nhalf a li")
    assert [(one.step.title, one.status, one.output) for one in done] == [
        ("one", 0, "a\n"),
        ("two", NEVER_RAN, "half a li"),
    ]
    assert split(steps, MARK, f"{MARK}\na{MARK} ")[0].status == NEVER_RAN


def test_what_comes_before_the_script_is_no_output_of_it() -> None:
    assert not started("ssh: no route\n", MARK)
    assert not started("", MARK)


def test_marks_differ() -> None:
    assert new_mark() != new_mark()


@pytest.mark.parametrize(
    ("inline", "output", "text"),
    [
        (False, "a\nb\n", "host: title\na\nb\n"),
        (False, "a\nb", "host: title\na\nb\n"),
        (False, "", "host: title\n"),
        (True, "active\n", "host: title active\n"),
        (True, "failed\nwhy\n", "host: title failed\nwhy\n"),
        (True, "failed\nwhy", "host: title failed\nwhy\n"),
        (True, "", "host: title\n"),
    ],
)
def test_output_stands_below_a_heading_or_in_it(inline: bool, output: str, text: str) -> None:
    assert Done(Step("title", "true", inline), 0, output).text("host") == text
