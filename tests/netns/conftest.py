"""Fixtures of the tests in bare network namespaces."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from .hosts import Network
from .watch import Watch


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip loudly without root; LAB_REQUIRED=1 turns that into a failure."""
    if os.geteuid() == 0 and shutil.which("ip"):
        return
    if os.environ.get("LAB_REQUIRED") == "1":
        raise pytest.UsageError("tests/netns needs root and iproute2, and LAB_REQUIRED=1 forbids skipping")
    for item in items:
        item.add_marker(pytest.mark.skip(reason="network namespaces need root and iproute2"))


@pytest.fixture
def network(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Network]:
    """The four hosts, echo services running, no mirror yet; watched for packets that must never be sent.

    The marker `watch` says what else a test allows (`services`, `links`, …), or `off` with a reason.
    """
    marker = request.node.get_closest_marker("watch")
    options = dict(marker.kwargs) if marker else {}
    off = options.pop("off", "")
    made = Network(tmp_path)
    try:
        made.create()
        made.watch = Watch(made, **options)
        made.start_services()
        yield made
        made.stop()
        violations = {} if off else made.watch.violations()
    finally:
        made.delete()
        if made.watch:
            made.watch.close()
    assert violations == {}, "packets that must never be sent"
