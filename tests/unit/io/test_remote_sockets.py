"""What other hosts' kernels say of connections stands in for what this one's would."""

from __future__ import annotations

import pytest

from copytool.io import remote_sockets
from copytool.io.remote_sockets import RemoteSockets
from copytool.io.sockdiag import GONE, OPEN, UNKNOWN
from copytool.wire.flow import FlowKey, flow_ends, flow_key

CLIENT, ONLINE = bytes((10, 9, 0, 1)), bytes((192, 168, 50, 10))
FLOW = flow_key(CLIENT, 40000, ONLINE, 1025)
OTHER = flow_key(CLIENT, 40001, ONLINE, 1026)


def test_who_asks_is_answered_later() -> None:
    """Nothing is known until then, and closing forgets nothing that was open."""
    asked: list[FlowKey] = []
    sockets = RemoteSockets(asked.append)
    assert sockets.find(flow_ends(FLOW)) == UNKNOWN
    assert sockets.find(flow_ends(OTHER)) == UNKNOWN
    assert asked == [FLOW, OTHER]
    sockets.close()


def test_which_services_a_kernel_knows() -> None:
    """Those of which it has found a connection."""
    sockets = RemoteSockets(lambda _flow: None)
    for state in (UNKNOWN, GONE):
        sockets.answered(FLOW, state)
        assert not sockets.knows(flow_ends(FLOW))
    sockets.answered(FLOW, OPEN)
    assert sockets.knows((CLIENT, 50000, ONLINE, 1025))
    assert not sockets.knows(flow_ends(OTHER))


def test_services_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A forward that makes them up fills no memory."""
    monkeypatch.setattr(remote_sockets, "_MAX_SERVICES", 2)
    sockets = RemoteSockets(lambda _flow: None)
    ends = [(CLIENT, 40000, ONLINE, port) for port in (1, 2, 3)]
    for key in ends:
        sockets.answered(flow_key(*key), OPEN)
    assert [sockets.knows(key) for key in ends] == [True, True, False]
