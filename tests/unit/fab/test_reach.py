"""How a script gets to a host, and what it means when it does not."""

from __future__ import annotations

import subprocess
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from fabfile.fleet import Host
from fabfile.reach import CLOSED, REFUSES, SILENT, UnreachableError, command_for, explain

PATIENCE_S = 20


def options(command: list[str]) -> dict[str, str]:
    """What -o says first, as that is what counts."""
    given: dict[str, str] = {}
    for flag, value in pairwise(command):
        if flag == "-o":
            name, _, setting = value.partition("=")
            given.setdefault(name, setting)
    return given


def test_ssh_gets_what_the_inventory_says(tmp_path: Path) -> None:
    config = tmp_path / "ssh config"
    config.touch()
    host = Host(
        "web",
        address="192.0.2.1",
        user="admin",
        port="2222",
        key="~/key",
        arguments=f"-F '{config}' -o ControlMaster=auto -J jump",
    )
    command = command_for(host, "true", 7)
    assert command[0] == "ssh"
    given = options(command)
    assert (given["User"], given["Port"], given["ConnectTimeout"]) == ("admin", "2222", "7")
    assert given["IdentityFile"] == f'"{Path("~/key").expanduser()}"'
    assert given["BatchMode"] == "yes", "nobody is there to answer questions"
    assert given["ControlMaster"] == "no", "ours come first"
    assert command[-2] == "192.0.2.1"
    assert ["-F", str(config), "-o", "ControlMaster=auto", "-J", "jump"] == command[-8:-2]
    assert "exec sudo -n " in command[-1]


def test_what_the_inventory_does_not_say_is_left_to_ssh() -> None:
    given = options(command_for(Host("web", address="web"), "true", 7))
    assert not {"User", "Port", "IdentityFile", "StrictHostKeyChecking"} & set(given)
    assert options(command_for(Host("web", check_host_key=False), "true", 7))["StrictHostKeyChecking"] == "no"


@pytest.mark.parametrize(
    ("host", "part"),
    [
        (Host("web"), "exec sudo -n "),
        (Host("web", user="admin"), "exec sudo -n "),
        (Host("web", user="admin", become_password="secret"), "exec sudo -S "),
    ],
)
def test_who_is_not_root_uses_sudo(host: Host, part: str) -> None:
    command = command_for(host, "true", 7)
    assert part in command[-1]
    assert "secret" not in " ".join(command)
    assert "sudo" not in command_for(host, "true", 7, as_root=False)[-1]
    assert "sudo" not in command_for(replace(host, user="root"), "true", 7)[-1]


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        (Host("web", connection="winrm"), "winrm; fab knows ssh and local only"),
        (Host("web", become_method="su"), "root by su; fab knows sudo only"),
        (Host("web", arguments="-F /nowhere/ssh_config"), "no /nowhere/ssh_config"),
        (Host("web", arguments="-F/nowhere/ssh_config"), "no /nowhere/ssh_config"),
        (Host("web", problem="'x' is undefined"), "'x' is undefined"),
    ],
)
def test_what_cannot_be_reached_says_why(host: Host, reason: str) -> None:
    with pytest.raises(UnreachableError, match=reason):
        command_for(host, "true", 7)


def test_no_config_file_is_a_choice_too() -> None:
    assert "-F" in command_for(Host("web", arguments="-F none"), "true", 7)


@pytest.mark.parametrize(
    ("messages", "what", "part"),
    [
        ("", SILENT, "no message"),
        ("ssh: connect to host 192.0.2.1 port 22: Connection timed out\n", SILENT, "timed out"),
        ("x\nConnection closed by UNKNOWN port 65535\n", SILENT, "Connection closed"),
        ("ssh: Could not resolve hostname web: Name or service not known", CLOSED, "ansible_host"),
        ("No ED25519 host key is known for web\nHost key verification failed.", CLOSED, "log in once"),
        ("@ REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.", CLOSED, "find out why"),
        ("admin@web: Permission denied (publickey,password).", REFUSES, "ansible_ssh_private_key_file"),
        ("sudo: a password is required\n", REFUSES, "ansible_become_password"),
        ("sudo: no password was provided\nsudo: 1 incorrect password attempt\n", REFUSES, "does not take"),
        ("Sorry, try again.\nsudo: 1 incorrect password attempt\n", REFUSES, "does not take"),
        ("bash: line 1: sudo: command not found\n", REFUSES, "no sudo"),
    ],
)
def test_failures_are_explained_in_one_line(messages: str, what: str, part: str) -> None:
    said, reason = explain(Host("web", address="192.0.2.1"), messages)
    assert said == what
    assert part in reason
    assert "\n" not in reason and "{" not in reason


LOCAL = Host("here", connection="local")


def local(script: str) -> list[str]:
    return command_for(LOCAL, script, 7, as_root=False)


@pytest.mark.parametrize(("script", "status"), [("exit 0", 0), ("exit 3", 3), ("exit 255", 254), ("kill $$", 143)])
def test_the_status_is_that_of_the_script_but_never_that_of_ssh(script: str, status: int) -> None:
    with subprocess.Popen(local(script), stdin=subprocess.PIPE) as process:
        assert process.wait(PATIENCE_S) == status


def test_a_script_reads_nothing_and_says_all() -> None:
    command = local("cat; echo 'it'\"'s\" $0; echo e >&2")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        process.stdin.write(b"a password that nobody asked for\n")
        process.stdin.flush()
        assert process.wait(PATIENCE_S) == 0
        assert (process.stdout.read(), process.stderr.read()) == (b"it's fab\n", b"e\n")


def test_the_end_of_the_input_ends_the_script_and_what_it_started(tmp_path: Path) -> None:
    """As when the connection breaks, or fab is gone."""
    process = subprocess.Popen(
        local("sleep 1000 & echo $!; wait"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None and process.stdout is not None
    pid = int(process.stdout.readline())
    process.stdin.close()
    assert process.wait(PATIENCE_S) == 143
    end = time.monotonic() + PATIENCE_S
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            break
        time.sleep(0.01)
    else:
        assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("user", ["root", ""])
def test_root_needs_no_sudo_whoever_says_that_it_is_root(user: str, tmp_path: Path) -> None:
    """A sudo and an id of our own stand in for those of a host: this says which way is taken."""
    for name, text in (("id", "echo ${FAKE_UID}"), ("sudo", 'echo "sudo $1"; shift; exec "$@"')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    for uid, said in (("0", "done\n"), ("1000", "sudo -n\ndone\n" if not user else "done\n")):
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "FAKE_UID": uid}
        with subprocess.Popen(
            command_for(replace(LOCAL, user=user), "echo done", 7),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        ) as process:
            assert process.wait(PATIENCE_S) == 0
            assert process.stdout is not None
            assert process.stdout.read() == said
