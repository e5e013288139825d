"""What counts as a connection of the online service: handshakes that complete, at this host's own addresses."""

from __future__ import annotations

import pytest

from copytool.mirror import handshakes
from copytool.wire.build import build_options
from copytool.wire.segment import ACK, FIN, SYN

from .playbook import ONLINE, TARGET, Scene, flow, payloads


def test_a_refused_connection_never_reaches_the_target() -> None:
    """SYNs that the online service does not accept, however often they come, are no sessions."""
    scene = Scene()
    for port in range(40000, 40200):
        scene.client(port=port).syn().syn()
    assert scene.sent() == []
    assert scene.outcomes() == {}


def test_a_client_that_gives_up_its_handshake_is_no_session() -> None:
    """An RST in answer to the SYN/ACK ends it; what comes later is not part of it."""
    scene = Scene()
    client = scene.client().syn().rst(0)
    client.says(b"late")
    assert scene.sent() == []
    assert scene.outcomes() == {"midstream_skipped": 1}


def test_which_flows_are_taken_is_known() -> None:
    """Somebody else who sends to the target keeps off the sessions' flows."""
    scene = Scene()
    scene.client().opens()
    (session,) = scene.engine.sessions()
    assert scene.engine.has_session(session.flow)
    assert not scene.engine.has_session(session.flow[:-1] + b"\0")


@pytest.mark.parametrize("flags", [ACK, ACK | FIN])
def test_the_first_segment_behind_the_syn_opens_the_session(flags: int) -> None:
    """A pure acknowledgement, or the FIN of a client that says nothing, completes the handshake."""
    scene = Scene()
    scene.client().syn().segment(flags, 0)
    assert [packet.flags for packet in scene.sent()] == [SYN]
    assert scene.outcomes() == {"active": 1}


def test_data_completes_the_handshake_when_its_acknowledgement_was_not_captured() -> None:
    """The first request opens the session and is delivered with it, also when it comes out of order."""
    scene = Scene()
    client = scene.client().syn()
    client.segment(ACK, 3, b"def")
    client.segment(ACK, 0, b"abc")
    scene.target().accepts()
    assert scene.data() == b"abcdef"
    assert scene.outcomes() == {"active": 1}


def test_a_segment_of_an_older_connection_does_not_complete_the_handshake() -> None:
    """Numbers that do not follow the SYN belong to something else."""
    scene = Scene()
    client = scene.client().syn()
    client.segment(ACK, -5_000)
    client.segment(ACK, 1 << 21)
    assert scene.sent() == []


def test_fast_open_data_is_delivered() -> None:
    """What a SYN carries is the beginning of the stream, once the connection is accepted."""
    scene = Scene()
    client = scene.client()
    client.segment(SYN, -1, b"GET", options=build_options(1460, 7))
    assert scene.sent() == []
    client.segment(ACK, 3, b" /")
    scene.target().accepts()
    assert scene.data() == b"GET /"
    assert scene.outcomes() == {"active": 1}


def test_fast_open_syn_sent_again_without_its_data() -> None:
    """The service may have taken the data from the first one."""
    scene = Scene()
    client = scene.client()
    client.segment(SYN, -1, b"early", options=build_options(1460, 7)).syn()
    client.position = 5
    client.confirms().segment(ACK, 5).says(b" bird")
    scene.target().accepts()
    assert scene.data() == b"early bird"


def test_syns_with_data_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that do not fit push out the oldest; one that is far too large is kept alone."""
    monkeypatch.setattr(handshakes, "MAX_HANDSHAKE_BYTES", 10_000)
    scene = Scene()
    clients = [scene.client(port=port) for port in range(40000, 40003)]
    for client in clients:
        client.segment(SYN, -1, b"d" * 4000, options=build_options(1460, 7))
    for client in clients:
        client.segment(ACK, 4000, b"more")
    assert scene.outcomes() == {"active": 2, "midstream_skipped": 1}
    for target in scene.targets():
        target.accepts()
    assert len(scene.data()) == 2 * 4004


def test_a_flood_of_syns_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest handshake is forgotten first; its connection counts as midstream if it does complete."""
    monkeypatch.setattr(handshakes, "MAX_HANDSHAKES", 10)
    scene = Scene()
    clients = [scene.client(port=port).syn() for port in range(40000, 40011)]
    clients[0].confirms().says(b"abc")
    clients[1].confirms().says(b"abc")
    assert scene.outcomes() == {"active": 1, "midstream_skipped": 1}


def test_only_this_hosts_addresses_are_mirrored() -> None:
    """A mapping without online address does not mean what the host forwards."""
    scene = Scene()
    scene.engine.set_host(frozenset({TARGET}), {}, scene.now)
    scene.client().opens().says(b"abc")
    assert scene.outcomes() == {}
    assert scene.engine.counters.dropped["not_mapped"] == 3
    scene.engine.set_host(frozenset({ONLINE}), {}, scene.now)
    scene.client().opens()
    assert scene.outcomes() == {"active": 1}


def test_segments_fit_the_path() -> None:
    """The path's MTU bounds what is sent, for new sessions and, when it changes, for open ones."""
    scene = Scene()
    scene.engine.set_host(frozenset({ONLINE}), {TARGET: 1400}, scene.now)
    flow(scene, 3000, mss=1460)
    assert [len(packet.payload) for packet in scene.sent()] == [1360, 1360, 280]
    scene.engine.set_host(frozenset({ONLINE}), {TARGET: 540}, scene.now)
    scene.passes(2)
    again = payloads(scene.sent())
    assert again
    assert max(size for _, size in again) == 500
