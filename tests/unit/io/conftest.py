"""What tests of the io layer share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from copytool.io.loop import EventLoop

from .links import TlsLink


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    made = EventLoop()
    yield made
    made.close()
    assert made.failures == 0


@pytest.fixture
def link(tmp_path: Path, loop: EventLoop) -> Iterator[TlsLink]:
    made = TlsLink(tmp_path, loop)
    yield made
    made.close()
