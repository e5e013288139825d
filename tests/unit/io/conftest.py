"""What tests of the io layer share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from copytool.io.loop import EventLoop


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    made = EventLoop()
    yield made
    made.close()
    assert made.failures == 0
