"""The log file: rotation, and nothing that happens to it may end the daemon."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from copytool.cli.daemonise import set_up_logging


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
    set_up_logging(path, "info")
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
    set_up_logging(path, "info")
    logging.info("first")
    path.rename(tmp_path / "copytool.log.1")
    logging.info("second")
    assert path.read_text().endswith("INFO second\n")
