"""What people type: tasks, options and mistakes, without any host."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fabric import Config, Connection
from invoke.context import Context
from invoke.exceptions import Exit

import fabfile
from fabfile.options import FleetTask, fleet_of

REPOSITORY = Path(__file__).parents[3]
STEERING = {"pause", "resume", "ratio", "copies", "drain"}
SHOWN = {"status", "check", "ended", "logs", "follow", "route"}
TASKS = {"restart", "start", "stop", "capture", "sessions", "run"} | SHOWN | STEERING
INVENTORY = "all:\n  children:\n    online_hosts:\n      hosts:\n        web:\n"


def fab(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).with_name("fab")), *arguments],
        cwd=REPOSITORY,
        env={name: value for name, value in os.environ.items() if not name.startswith("COPYTOOL_")},
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    (tmp_path / "hosts.yml").write_text(INVENTORY)
    return tmp_path


def context(**values: object) -> Context:
    return Context(Config(overrides={"connect_kwargs": values}, lazy=True))


def test_every_task_is_listed() -> None:
    listed = fab("--list").stdout.splitlines()
    assert {line.split()[0] for line in listed if line.startswith("  ") and line[2] != " "} == TASKS
    assert set(fabfile.__all__) == TASKS


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_option_has_a_help_text_and_the_common_ones_their_letters(name: str) -> None:
    task: FleetTask = getattr(fabfile, name)
    arguments = task.get_arguments()
    for argument in arguments:
        assert argument.help, f"{name} --{argument.name}"
        assert "h" not in argument.names, "-h is for help"
    letters = {argument.name: argument.nicknames for argument in arguments}
    assert letters["inventory"] == ("i",)
    assert letters.get("hosts", ("H",)) == ("H",)
    assert "hosts" in letters or name in ("capture", "sessions")


def test_letters_of_old_stay() -> None:
    """They are in people's fingers."""
    letters = {argument.name: argument.nicknames for argument in fabfile.capture.get_arguments()}
    assert (letters["output"], letters["seconds"], letters["packets"]) == (("o",), ("s",), ("p",))
    assert [argument.nicknames for argument in fabfile.logs.get_arguments()][:2] == [("d",), ("l",)]


def test_an_inventory_may_stand_before_the_task_too(inventory: Path) -> None:
    """-i before the task is fab's own, for a key; nobody has a key that is a directory."""
    assert list(fleet_of(context(key_filename=[str(inventory)]), "").hosts) == ["web"]
    assert list(fleet_of(context(key_filename=[str(inventory / "hosts.yml")]), "").hosts) == ["web"]
    with pytest.raises(Exit, match="more than one inventory"):
        fleet_of(context(key_filename=[str(inventory)]), str(inventory))


def test_a_key_before_the_task_is_a_key(inventory: Path) -> None:
    fleet = fleet_of(context(key_filename=["/keys/mine"], timeout=3), str(inventory))
    assert fleet.hosts["web"].key == "/keys/mine"
    assert fleet.connect_timeout_s == 3


def test_an_ssh_config_may_be_named(inventory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = inventory / "ssh config"
    monkeypatch.setenv("COPYTOOL_SSH_CONFIG", str(config))
    with pytest.raises(Exit, match="check COPYTOOL_SSH_CONFIG"):
        fleet_of(context(), str(inventory))
    config.touch()
    assert fleet_of(context(), str(inventory)).hosts["web"].arguments == f"-F '{config}'"


def test_fabs_own_hosts_are_not_taken_for_ours(inventory: Path) -> None:
    with pytest.raises(Exit, match="write it behind the task: --hosts web"):
        fleet_of(Connection("web"), str(inventory))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["logs", "--daemon", "kopie"], "no daemon 'kopie'"),
        (["capture", "nowhere"], "matches 'nowhere'"),
        (["status", "--inventory", "nowhere"], "no inventory nowhere"),
        (["status", "--hosts", "nowhere"], "matches 'nowhere'"),
        (["-i", "inventory/lab", "stop", "-H", "client"], "no host of --hosts client runs one of"),
        (["-H", "target", "status"], "write it behind the task"),
        (["run", ""], "no command"),
        (["run"], "'command'"),
        (["capture", "online,target", "--output", "x"], "--output is one file, and there are online, target"),
        (["check", "--count", "3"], "--count"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments: list[str], message: str) -> None:
    result = fab(*arguments)
    assert result.returncode == 1
    assert message in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("order", [["run", "--help"], ["--help", "run"], ["run", "-h"]])
def test_help_says_how_to_use_a_task(order: list[str]) -> None:
    shown = fab(*order).stdout
    assert "fab run 'ss -tn' --hosts target" in shown
    assert "--[no-]sudo" in shown
