"""Packets that the kernel could not keep for copy: sessions with a hole are ended, none arrives with a wrong octet."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .faults import Fault, Load, Mirror, check_accounts, check_arrivals, mirror_of, whole_sessions
from .hosts import wait_until

SETTLED_S = 12.0
"""After the overflow, no session whose client has gone may be active for longer."""


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    """The four hosts; copy's ring overflows soon; holes and silent clients are given a second."""
    with mirror_of(tmp_path) as made:
        # Not less: a ring of 1 MiB is used up in 8 ms, and a busy machine keeps copy from running for as long.
        made.start("--ring-size 16 --gap-timeout 1 --check-after 1")
        yield made


def _stop(mirror: Mirror) -> None:
    mirror.copies[0].send_signal(signal.SIGSTOP)


def _go_on(mirror: Mirror) -> None:
    mirror.copies[0].send_signal(signal.SIGCONT)


def _served_bytes(mirror: Mirror) -> int:
    return sum(int(record["bytes"]) for record in mirror.logs["online"].read())


def _flood(mirror: Mirror, size: int) -> Load:
    """Have clients send `size` octets to online, which is more than the ring holds."""
    before = _served_bytes(mirror)
    load = mirror.start_load("--long", 0, "--turns", 2, "--max-bytes", 300_000, "--turn-pause", 0.01)
    wait_until(lambda: _served_bytes(mirror) > before + size, f"{size} octets were sent", 30)
    return load


def test_overflow_under_load(mirror: Mirror) -> None:
    """What lost packets is capture_gap, what copy never saw begin is skipped; all else is exact, and what follows."""
    fault = Fault(mirror, "ring overflow")
    _stop(mirror)
    flood = _flood(mirror, 20 << 20)
    flood.finish()
    _go_on(mirror)
    fault.cause_is_gone(was_outage=False)
    fault.finish()
    fault.check_clients()
    sessions = [*fault.load.sessions(), *flood.sessions()]
    status, outcomes = fault.status, fault.status["sessions"]["outcomes"]
    print(f"drops {status['capture']['drops']}; outcomes { ({word: n for word, n in outcomes.items() if n}) }")
    assert status["capture"]["drops"] > 0
    assert outcomes["capture_gap"] > 0
    assert status["sessions"]["seen"] == sum(
        outcomes[word] for word in ("mirrored", "capture_gap", "midstream_skipped")
    )
    check_accounts(status)
    check_arrivals(mirror, sessions)
    whole, otherwise = whole_sessions(mirror), mirror.ended_otherwise()
    arrived = {record["id"] for record in mirror.logs["target"].read()}
    for session in sessions:
        if session["opened"] > fault.recovered_at or session["ended"] < fault.began_at - 0.5:
            assert session["id"] in whole, f"was not open during the overflow, and is not whole: {session}"
        if session["port"] not in otherwise and session["id"] in arrived:
            assert session["id"] in whole, f"is not whole and not counted as capture_gap: {session}"
    assert set(otherwise.values()) == {"capture_gap"}


def _hold(mirror: Mirror, *options: object) -> Load:
    """Open ten sessions that send one turn and then nothing until they are told to."""
    held = mirror.start_load("--short", 0, "--long", 10, "--long-pause", 60, *options)
    online = mirror.network.online
    wait_until(lambda: online.status()["bytes"]["delivered"] == 7000, "ten first turns arrived")
    return held


@pytest.mark.parametrize("last_turns", [0, 3])
def test_lost_ends(mirror: Mirror, last_turns: int) -> None:
    """Sessions whose last packets were lost, data and FIN or RST, are soon capture_gap, and reset at the target."""
    held = _hold(mirror, "--long-resets", "--last-turns", last_turns)
    online = mirror.network.online
    _stop(mirror)
    flood = _flood(mirror, 20 << 20)
    held.finish()
    flood.finish()
    _go_on(mirror)
    began = time.monotonic()
    wait_until(lambda: online.status()["sessions"]["outcomes"]["active"] == 0, "none is active", SETTLED_S)
    print(f"settled {time.monotonic() - began:.1f} s after the overflow")
    status = mirror.drain()
    ended = mirror.ended_otherwise()
    assert [ended.get(session["port"]) for session in held.sessions()] == ["capture_gap"] * 10
    check_accounts(status)
    sessions = [*held.sessions(), *flood.sessions()]
    assert not [session["error"] for session in sessions if session["error"]]
    check_arrivals(mirror, sessions)
    ends = {record["id"]: (record["end"], record["bytes"]) for record in mirror.logs["target"].read()}
    assert [ends[session["id"]] for session in held.sessions()] == [("reset", 700)] * 10


def _connections(mirror: Mirror, unread: int) -> set[int]:
    """Return the client ports of online's connections that hold so many octets which the service has not read."""
    lines = mirror.network.online.run("ss", "-Htn", "state", "established", "sport = 1025").stdout.splitlines()
    return {int(line.split()[3].rsplit(":", 1)[1]) for line in lines if int(line.split()[0]) == unread}


def test_hole_behind_acknowledgements(mirror: Mirror) -> None:
    """A client that lives on and only reads shows by what it acknowledges that something it sent was lost."""
    held = _hold(mirror)
    online, service = mirror.network.online, mirror.services["online"]
    _stop(mirror)
    flood = _flood(mirror, 20 << 20)
    service.send_signal(signal.SIGSTOP)  # so that its answers come when copy captures again
    held.one_more_turn()
    ports = wait_until(
        lambda: (found := _connections(mirror, 700)) and len(found) == 10 and found, "ten turns are lost"
    )
    _go_on(mirror)
    outcomes = wait_until(online.status, "copy answers")["sessions"]["outcomes"]
    assert outcomes["active"] >= 10
    assert not ports & set(mirror.ended_otherwise()), "they ended before there was an answer to acknowledge"
    service.send_signal(signal.SIGCONT)
    wait_until(lambda: ports <= set(mirror.ended_otherwise()), "the ten sessions have ended", SETTLED_S)
    flood.finish()
    assert ports <= _connections(mirror, 0), "their clients are there no more"
    held.finish()
    assert {mirror.ended_otherwise()[port] for port in ports} == {"capture_gap"}
    check_accounts(mirror.drain())
    check_arrivals(mirror, [*held.sessions(), *flood.sessions()])


def test_short_pauses_lose_nothing(tmp_path: Path) -> None:
    """With the ring's default size copy may pause for 0.1 s, and however few octets come in then, none is lost."""
    with mirror_of(tmp_path) as mirror:
        mirror.start()
        fault = Fault(mirror, "pauses", "--short", 8, "--turn-pause", 0.001, "--max-bytes", 100)
        for _ in range(5):
            before = time.monotonic()
            _stop(mirror)
            time.sleep(0.1)
            _go_on(mirror)
            pause = time.monotonic() - before
            assert mirror.network.online.status()["capture"]["drops"] == 0, f"after a pause of {pause:.3f} s"
        fault.cause_is_gone(was_outage=False)
        fault.finish()
        fault.check_clients()
        fault.check_sessions()
