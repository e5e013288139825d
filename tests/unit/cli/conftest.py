"""No test of the command line starts a daemon in this process."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def no_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake that is not found must not start a daemon on this machine."""

    def refuse() -> None:
        raise AssertionError("a daemon would have been started")

    monkeypatch.setattr("copytool.io.loop.EventLoop", refuse)
