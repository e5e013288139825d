"""The log file: rotation, and nothing that happens to it may end the daemon."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from copytool.cli.daemonise import set_up_logging
from copytool.io.log_limit import BURST


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, raising = root.handlers[:], root.level, logging.raiseExceptions
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers[:], logging.raiseExceptions = handlers, raising
    root.setLevel(level)


def test_log_file_that_cannot_be_reopened(tmp_path: Path) -> None:
    """While its directory is missing lines are lost; once it is back they are written again."""
    path = tmp_path / "log" / "copytool.log"
    set_up_logging("copy", path, "info")
    logging.info("first")
    shutil.rmtree(path.parent)
    logging.info("second")
    logging.info("third")
    path.parent.mkdir()
    logging.info("fourth")
    assert path.read_text().endswith("INFO fourth\n")


def test_rotated_log_file_is_reopened(tmp_path: Path) -> None:
    """Lines after a rename go to a new file of the old name."""
    path = tmp_path / "copytool.log"
    set_up_logging("copy", path, "info")
    logging.info("first")
    path.rename(tmp_path / "copytool.log.1")
    logging.info("second")
    assert path.read_text().endswith("INFO second\n")


_BUG = """
import sys
from copytool.cli import main
from copytool.io import intercept_daemon
intercept_daemon.InterceptDaemon = lambda settings, loop: 1 / 0
sys.exit(main.main(sys.argv[1:]))
"""


def test_what_ends_a_background_daemon_is_logged(tmp_path: Path) -> None:
    """A bug at start under -d is in the log with its traceback, and the command says so in one line."""
    log = tmp_path / "log"
    options = ["--plain", "-i", "lo", "-F", "tcp", "-d", "-P", str(tmp_path / "pid"), "-l", str(log)]
    words = [sys.executable, "-c", _BUG, "intercept", *options]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("copytool: internal error: ZeroDivisionError")
    assert len(done.stderr.splitlines()) == 1
    assert "ZeroDivisionError" in log.read_text() and "Traceback" in log.read_text()


def test_what_is_said_again_and_again_is_shown_now_and_then(tmp_path: Path) -> None:
    """In the log file as in the journal; who changed something is in it each time."""
    path = tmp_path / "copytool.log"
    set_up_logging("copy", path, "info")
    for number in range(50):
        logging.getLogger("copytool.io.ring").warning("dropped %d", number)
        logging.getLogger("copytool.audit").info("uid %d asked for pause: done", number)
    lines = path.read_text().splitlines()
    assert len([line for line in lines if "dropped" in line]) == BURST
    assert len([line for line in lines if "asked for" in line]) == 50


@pytest.mark.parametrize(("journal", "prefix"), [(True, "<3>copytool: "), (False, "copytool: ")])
def test_what_keeps_a_daemon_from_starting_is_an_error_in_the_journal(journal: bool, prefix: str) -> None:
    """Told by the priority in front of the line, which people who read stderr do not see."""
    reader, writer = os.pipe()
    status = os.fstat(writer)
    stream = f"{status.st_dev}:{status.st_ino}" if journal else "1:2"
    words = [sys.executable, "-m", "copytool", "copy"]
    done = subprocess.run(words, stderr=writer, env={**os.environ, "JOURNAL_STREAM": stream}, timeout=30, check=False)
    os.close(writer)
    with os.fdopen(reader) as said:
        assert said.readline().startswith(prefix)
    assert done.returncode == 2
