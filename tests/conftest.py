"""What all tests share: LAB_REQUIRED=1, as `make test` sets it, makes a skipped test a failed run."""

from __future__ import annotations

import os

import pytest


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run in which something was skipped that must not be."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("LAB_REQUIRED") == "1" and reporter and reporter.stats.get("skipped"):
        reporter.write_line("LAB_REQUIRED=1: skipped tests count as failed")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
