"""The README stays true: every option, outcome word and command in it exists."""

from __future__ import annotations

import re
from pathlib import Path

from copytool.cli.arguments import COMMANDS
from copytool.mirror.outcome import OUTCOMES

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_option_is_in_the_readme() -> None:
    """Each long option of each command is explained."""
    for options in COMMANDS.values():
        for option in options:
            assert f"--{option.long}" in README


def test_every_option_in_the_readme_exists() -> None:
    """No option is promised that a command does not have."""
    known = {option.long for options in COMMANDS.values() for option in options}
    known |= {"config", "json", "sessions", "version", "list", "check", "diff", "count", "timeout", "ramp", "watch"}
    known |= {"wait", "no-probe", "hosts", "inventory", "limit"}
    assert set(re.findall(r"--([a-z][a-z-]+)", README)) <= known


def test_defaults_in_the_readme() -> None:
    """The tables show the defaults that the options have."""
    for option in COMMANDS["copy"]:
        row = re.search(rf"^\| [^|]*`--{option.long}`[^|]*\|[^|]*\| ([^|]*?) ?\|$", README, re.MULTILINE)
        if row and option.default is not None:
            assert as_shown(option.default) in row[1].split(", ")


def as_shown(default: object) -> str:
    """Return a default as tables have it."""
    if isinstance(default, tuple):
        return ":".join(map(str, default))
    return default if isinstance(default, str) else f"{default:g}"


def test_outcome_words_in_the_readme_exist() -> None:
    """Words that look like outcomes are outcomes."""
    words = set(re.findall(r"`((?:target|capture|no|midstream|sampled|shed|idle)_[a-z_]+)`", README))
    assert words
    assert words <= set(OUTCOMES)


def test_files_and_playbooks_in_the_readme_exist() -> None:
    """Paths that the README sends people to are there."""
    for path in re.findall(r"(?:playbooks|inventory|docs|tests)/[a-z_/]+(?:\.[a-z]+)?", README):
        assert path == "inventory/yours" or (ROOT / path).exists(), path
