"""Protocols whose messages go both ways at once: WebSocket and gRPC."""

from __future__ import annotations

import pytest

from .hosts import Network, wait_until
from .servers import BOTH, exact, logged, multiset, run_client, start_app, start_mirror


@pytest.mark.parametrize(
    ("app", "connections", "answers", "records", "keys"),
    [
        ("websocket.py", 20, 40, 20, ("path", "messages", "bytes", "sha256", "end")),
        ("rpc.py", 10, 3, 30, ("method", "bytes", "sha256")),
    ],
    ids=["websocket", "grpc"],
)
def test_messages_both_ways(
    bare_network: Network, app: str, connections: int, answers: int, records: int, keys: tuple[str, ...]
) -> None:
    """The target's application reads each connection's messages as the online one does."""
    for name in BOTH:
        start_app(bare_network, name, app, "server")
    start_mirror(bare_network)
    report = run_client(bare_network, app, "client", "--connections", connections)
    assert report["results"] == [answers] * connections
    exact(bare_network, connections)
    wait_until(lambda: len(logged(bare_network, "target")) >= records, f"the target logged {records} records")
    online = multiset(logged(bare_network, "online"), *keys)
    assert online.total() == records
    assert multiset(logged(bare_network, "target"), *keys) == online
