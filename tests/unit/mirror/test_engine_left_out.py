"""Connections that the user does not want mirrored: counted once each, though the kernel shows none of their data."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copytool.mirror.mapping import ClientSelection, Sampler
from copytool.wire.build import build_options
from copytool.wire.segment import ACK, FIN, PSH, RST, SYN

from .playbook import CLIENT, Client, Scene

OUTSIDE = bytes((10, 9, 1, 1))


def _sampled_out(**config: float) -> tuple[Scene, str]:
    return Scene(ratio_percent=0, **config), "sampled_out"


def _filtered(**config: float) -> tuple[Scene, str]:
    return Scene(clients=ClientSelection([(OUTSIDE, 32), (bytes(16), 64)]), **config), "filtered"


@pytest.fixture(params=[_sampled_out, _filtered])
def make(request: pytest.FixtureRequest) -> Callable[..., tuple[Scene, str]]:
    """An engine that leaves out the usual client, and the outcome that says so."""
    return request.param


Make = Callable[..., tuple[Scene, str]]


def test_counted_without_their_data(make: Make) -> None:
    """The handshake is enough, and the rest of a connection counts nothing."""
    scene, outcome = make(copies=2)
    client = scene.client().opens()
    assert scene.outcomes() == {outcome: 2}
    client.segment(ACK, 5000, seen=700).fin().rst()
    scene.client(port=40001).opens()
    assert scene.outcomes() == {outcome: 4}
    assert scene.engine.counters.captured == 0
    assert scene.sent() == []


def test_data_that_comes_up_is_ignored(make: Make) -> None:
    """What the kernel could not judge is counted under its reason, and opens nothing."""
    scene, outcome = make()
    scene.client().opens().says(b"abc").says(b"de")
    assert scene.outcomes() == {outcome: 1}
    assert scene.engine.counters.ignored[outcome] == 5
    assert scene.sent() == []


def test_syns_sent_again_are_not_counted_again(make: Make) -> None:
    """Neither before the handshake nor behind it; a new one on the same ports is."""
    scene, outcome = make()
    scene.client().syn().syn().confirms().syn().segment(ACK, 700)
    assert scene.outcomes() == {outcome: 1}
    scene.client(isn=77).opens()
    assert scene.outcomes() == {outcome: 2}


def test_syns_alone_are_no_sessions(make: Make) -> None:
    """A flood counts nothing, and neither does what the service refuses or the client gives up."""
    scene, _ = make()
    for port in range(40000, 40100):
        scene.client(port=port).syn()
    scene.client().syn().segment(RST, 0).segment(ACK, 0)
    assert scene.outcomes() == {}


@pytest.mark.parametrize("octets", [1, 1 << 20, 1 << 30])
@pytest.mark.parametrize("flags", [ACK, ACK | FIN, ACK | RST, RST])
def test_handshake_whose_last_packet_had_data(make: Make, octets: int, flags: int) -> None:
    """However much the client has sent before its first packet without data, that one completes the handshake."""
    scene, outcome = make()
    scene.client().syn().segment(flags, octets)
    assert scene.outcomes() == {outcome: 1}


@pytest.mark.parametrize("flags", [0, FIN, PSH])
def test_segments_without_ack_complete_nothing(make: Make, flags: int) -> None:
    """Nobody reads them, so they do not show that the service has accepted."""
    scene, _ = make()
    scene.client().syn().segment(flags, 5)
    assert scene.outcomes() == {}


def test_fast_open(make: Make) -> None:
    """A SYN with data comes up whole; its data belongs to nothing."""
    scene, outcome = make()
    scene.client().segment(SYN, -1, b"GET", options=build_options(1460, 7)).segment(ACK, 3)
    assert scene.outcomes() == {outcome: 1}
    assert scene.sent() == []


@pytest.mark.parametrize("join", [False, True])
def test_open_before_copy_started(make: Make, join: bool) -> None:
    """Those are not counted, whatever comes up of them: neither as left out nor as skipped, and none is joined."""
    scene, outcome = make(join_midstream=join)
    client = scene.client()
    client.segment(ACK, 0, seen=100).segment(ACK, 0, seen=400)
    scene.passes(0.05)
    client.says(b"GET", seen=400).fin()
    assert scene.outcomes() == {}
    assert scene.engine.counters.ignored[outcome] == 3
    scene.client(isn=77).opens()
    assert scene.outcomes() == {outcome: 1}


def test_others_are_mirrored() -> None:
    """A client of the selection is, whoever else is not."""
    scene, outcome = _filtered()
    scene.client().opens()
    scene.client(address=OUTSIDE).opens().says(b"abc")
    assert scene.outcomes() == {outcome: 1, "active": 1}


SCRIPTS = st.tuples(
    st.booleans(),
    st.lists(st.tuples(st.sampled_from([0, 1, 100, 30_000]), st.booleans()), max_size=5),
    st.sampled_from([ACK, ACK | FIN, RST, ACK | RST]),
)
"""A client: whether its handshake ends with a pure packet; (octets, and whether it acknowledges then); its end."""


def _packets(script: tuple[bool, list[tuple[int, bool]], int]) -> Iterator[tuple[int, int, bytes]]:
    """Yield the client's packets as (flags, position, payload)."""
    is_bare, turns, end = script
    position = 0
    yield SYN, -1, b""
    if is_bare or not any(size for size, _ in turns):
        yield ACK, 0, b""
    for size, has_answer in turns:
        if size:
            yield ACK | PSH, position, bytes(size)
        position += size
        if has_answer:
            yield ACK, position, b""
    yield end, position, b""


@given(st.lists(SCRIPTS, min_size=2, max_size=8))
def test_the_kernels_filter_changes_no_count(scripts: list[tuple[bool, list[tuple[int, bool]], int]]) -> None:
    """The sessions, and what is delivered, are the same whether the data of those left out comes up or not."""
    sampler = Sampler(40)
    whole, narrow = Scene(ratio_percent=40), Scene(ratio_percent=40)
    for port, script in enumerate(scripts, 40000):
        for flags, position, payload in _packets(script):
            Client(whole, port=port).segment(flags, position, payload)
            if not payload or sampler.chooses(CLIENT, port):
                Client(narrow, port=port).segment(flags, position, payload)
    assert narrow.outcomes() == whole.outcomes()
    assert narrow.engine.counters.seen == len(scripts)
    assert narrow.engine.counters.queued == whole.engine.counters.queued
