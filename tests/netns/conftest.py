"""Fixtures of the tests in bare network namespaces."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from .hosts import Network
from .servers import Rooted, rooted, server_root
from .watch import watched_network


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip loudly without root; LAB_REQUIRED=1 turns that into a failure."""
    if os.geteuid() == 0 and shutil.which("ip"):
        return
    if os.environ.get("LAB_REQUIRED") == "1":
        raise pytest.UsageError("tests/netns needs root and iproute2, and LAB_REQUIRED=1 forbids skipping")
    for item in items:
        item.add_marker(pytest.mark.skip(reason="network namespaces need root and iproute2"))


@pytest.fixture
def bare_network(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Network]:
    """The four hosts, no services, no mirror yet; watched for packets that must never be sent.

    The marker `watch` says what else a test allows (`services`, `links`, …), or `off` with a reason.
    """
    marker = request.node.get_closest_marker("watch")
    with watched_network(tmp_path, **(marker.kwargs if marker else {})) as made:
        yield made


@pytest.fixture
def network(bare_network: Network) -> Network:
    """The four hosts, echo services running, no mirror yet."""
    bare_network.start_services()
    return bare_network


@pytest.fixture
def packaged(bare_network: Network) -> dict[str, Rooted]:
    """What runs packaged servers on online and target and their clients on client."""
    image = server_root()
    if not image.is_dir():
        message = f"no root file system for real servers at {image}: run scripts/servers-rootfs"
        if os.environ.get("LAB_REQUIRED") == "1":
            pytest.fail(message)
        pytest.skip(message)
    return rooted(bare_network, image)
