"""What comes through a worker's channel before it is ready."""

from __future__ import annotations

import json
import socket

import pytest

from copytool.errors import ConfigError, HostError
from copytool.io.worker import Worker, WorkerFailed, _report


def reading(octets: bytes) -> Worker:
    """Return a worker that has reported this."""
    worker = Worker.__new__(Worker)
    worker.number, worker.ready = 1, False
    worker.channel, its_channel = socket.socketpair()
    with worker.channel, its_channel:
        its_channel.sendall(octets)
        worker.read_report()
    return worker


def test_ready() -> None:
    """An empty error."""
    assert reading(json.dumps({"error": "", "kind": ""}).encode()).ready


@pytest.mark.parametrize(
    "octets", [b"{", b"[]", b"{}", b'{"error": ""}', b"7", b"[" * 4000, b"\xff"], ids=lambda octets: repr(octets[:9])
)
def test_what_is_no_report(octets: bytes) -> None:
    """The worker counts as failed; its supervisor starts it again."""
    with pytest.raises(WorkerFailed, match="does not say whether it is ready"):
        reading(octets)


@pytest.mark.parametrize(("kind", "error"), [("config", ConfigError), ("host", HostError), ("?", WorkerFailed)])
def test_long_reasons_come_whole(kind: str, error: type[Exception]) -> None:
    """As far as they fit into one read, whatever letters they have."""
    ours, its = socket.socketpair()
    with ours, its:
        _report(its, "\U0001f600" * 5000, kind)
        octets = ours.recv(1 << 20)
    with pytest.raises(error, match="\U0001f600" * 300):
        reading(octets)
