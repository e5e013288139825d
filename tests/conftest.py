"""What all tests share.

LAB_REQUIRED=1, as `make test` sets it, makes a skipped test a failed run. COPYTOOL_FLAVOUR=compiled or pure, as
`scripts/flavour NAME COMMAND` sets it, makes a run fail at once that would test anything else.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import copytool
from copytool.flavour import flavour

PURE_ONLY = "only with pure Python: "


def pytest_configure(config: pytest.Config) -> None:
    """Fail when what is imported is not the flavour that was asked for."""
    wanted = os.environ.get("COPYTOOL_FLAVOUR")
    if wanted and wanted != flavour():
        raise pytest.UsageError(
            f"COPYTOOL_FLAVOUR={wanted}, but {Path(copytool.__file__).parent} is {flavour()}: "
            f"run it with scripts/flavour {wanted} COMMAND"
        )


def pytest_report_header(config: pytest.Config) -> str:
    """Say what is tested."""
    return f"copytool: {flavour()}, {Path(copytool.__file__).parent}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked pure_only when compiled modules are tested."""
    for item in items:
        marker = item.get_closest_marker("pure_only")
        if marker and flavour() != "pure":
            item.add_marker(pytest.mark.skip(reason=PURE_ONLY + marker.kwargs["reason"]))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run in which something was skipped that must not be."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if os.environ.get("LAB_REQUIRED") == "1" and any(PURE_ONLY not in str(report.longrepr) for report in skipped):
        reporter.write_line("LAB_REQUIRED=1: skipped tests count as failed")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
