"""The pid file: locked while its process lives, and never somebody else's file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from copytool.cli.daemonise import PidFile
from copytool.errors import HostError


def test_stale_pid_file_is_taken_over(tmp_path: Path) -> None:
    """A file that nobody has locked is left over from a killed process."""
    path = tmp_path / "run" / "pid"
    path.parent.mkdir()
    path.write_text("99999999\n")
    pid_file = PidFile(path)
    assert path.read_text() == f"{os.getpid()}\n"
    pid_file.remove()
    assert not path.exists()


def test_held_pid_file_is_refused_by_the_host(tmp_path: Path) -> None:
    """The message names the process that holds it."""
    path = tmp_path / "pid"
    pid_file = PidFile(path)
    with pytest.raises(HostError, match=f"held by the running process {os.getpid()}"):
        PidFile(path)
    pid_file.remove()


def test_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    """What a link points to is not overwritten."""
    (tmp_path / "precious").write_text("data")
    (tmp_path / "pid").symlink_to(tmp_path / "precious")
    with pytest.raises(HostError, match=r"pid.*symbolic link"):
        PidFile(tmp_path / "pid")
    assert (tmp_path / "precious").read_text() == "data"
