"""Sessions that are not mirrored by choice: each is counted, none arrives, and none of their data comes up."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from copytool.mirror.mapping import Sampler

from .faults import (
    PROGRAMS,
    Load,
    Mirror,
    Record,
    check_accounts,
    check_arrivals,
    check_octets,
    mirror_of,
    whole_sessions,
)
from .hosts import wait_until
from .taps import Tap
from .topologies import tag_frames

ADDRESSES = {"192.168.50.10": "192.168.50.200", "fd50::10": "fd50::200"}
"""Of online, and of the client that talks to it."""

TO_SERVICE = "inbound and tcp dst port 1025"
CONTROL = (
    "inbound and ((tcp dst port 1025"
    " and (ip[2:2] - ((ip[0] & 0xf) << 2) - ((tcp[12] & 0xf0) >> 2) = 0 or tcp[13] & 6 != 0))"
    " or (ip6[6] = 6 and ip6[42:2] = 1025 and (ip6[4:2] - ((ip6[52] & 0xf0) >> 2) = 0 or ip6[53] & 6 != 0)))"
)
"""SYNs, RSTs, and whatever carries no payload."""


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    """The four hosts; nothing runs yet."""
    with mirror_of(tmp_path) as made:
        yield made


def _start_load(mirror: Mirror, online: str, *options: object) -> Load:
    return Load(mirror.network.client.start(sys.executable, PROGRAMS / "verified_load.py", online, *options))


def _finish(mirror: Mirror, load: Load) -> Record:
    """Let sessions come and go, end them, and return copy's status when nothing is mirrored any more."""
    wait_until(lambda: len(load.sessions()) >= 80, "80 sessions have ended", 20)
    load.finish()
    return mirror.drain()


def _chosen(load: Load, online: str, ratio: float) -> list[Record]:
    client, sampler = ip_address(ADDRESSES[online]).packed, Sampler(ratio)
    return [session for session in load.sessions() if sampler.chooses(client, session["port"])]


@pytest.mark.parametrize(
    ("options", "online", "ratio", "outcome"),
    [
        ("-r 40", "192.168.50.10", 40, "sampled_out"),
        ("-r 40 --workers 2", "fd50::10", 40, "sampled_out"),
        ("--clients 192.168.50.201", "192.168.50.10", 0, "filtered"),
        ("-r 30 --clients 192.168.50.201,fd50::/64 --workers 2", "fd50::10", 30, "sampled_out"),
        ("-r 30 --clients 192.168.50.0/24,fd51::/64", "fd50::10", 0, "filtered"),
    ],
)
def test_sessions_left_out(mirror: Mirror, options: str, online: str, ratio: float, outcome: str) -> None:
    """What the hash chooses arrives whole; the others are counted, and only their control packets come up."""
    mirror.start(options)
    taps = [Tap(mirror.network.online.namespace, "ens18", words) for words in (TO_SERVICE, CONTROL)]
    load = _start_load(mirror, online)
    status = _finish(mirror, load)
    sessions, chosen = load.sessions(), _chosen(load, online, ratio)
    assert [session["error"] for session in sessions if session["error"]] == []
    check_accounts(status)
    check_arrivals(mirror, sessions)
    check_octets(status, chosen)
    assert whole_sessions(mirror) == {session["id"] for session in chosen}
    counts = {word: count for word, count in status["sessions"]["outcomes"].items() if count}
    expected = {"mirrored": len(chosen), outcome: len(sessions) - len(chosen)}
    assert counts == {word: count for word, count in expected.items() if count}
    assert set(status["bytes"]["ignored"].values()) == {0}
    every, control = (tap.count() for tap in taps)
    captured = status["capture"]["packets"]
    print(f"figures: {every} packets to the service, {control} of control, {captured} captured; {counts}")
    assert control <= captured < every
    assert chosen or captured == control
    for tap in taps:
        tap.close()


def test_tagged_frames(mirror: Mirror) -> None:
    """The kernel decides alike, and each session counts once, where frames with an 802.1Q tag are seen twice."""
    relays = tag_frames(mirror.network, "online", 5)
    mirror.start("-r 40")
    load = _start_load(mirror, "192.168.50.10")
    status = _finish(mirror, load)
    chosen = _chosen(load, "192.168.50.10", 40)
    check_accounts(status)
    assert whole_sessions(mirror) == {session["id"] for session in chosen}
    outcomes = status["sessions"]["outcomes"]
    assert (outcomes["mirrored"], outcomes["sampled_out"]) == (len(chosen), len(load.sessions()) - len(chosen))
    assert status["sessions"]["seen"] == len(load.sessions())
    assert set(status["bytes"]["ignored"].values()) == {0}
    for relay in relays:
        relay.stop()


def test_sessions_open_before_copy_started(mirror: Mirror) -> None:
    """Of the sample they are skipped; the others are not counted, and neither is any of their octets."""
    for name in ("online", "target"):
        mirror.start_service(name)
    load = _start_load(mirror, "192.168.50.10", "--short", 0, "--long", 40, "--long-pause", 60)
    established = ["ss", "-Htn", "state", "established", "sport = 1025"]
    wait_until(lambda: len(mirror.network.online.run(*established).stdout.splitlines()) == 40, "all are open")
    mirror.start_intercept()
    mirror.network.wait_listening("assistant", 36524)
    mirror.start_copy("-r 50")
    mirror.network.wait_for_link()
    load.finish()
    chosen = _chosen(load, "192.168.50.10", 50)
    check_accounts(status := mirror.drain())
    assert 0 < len(chosen) < len(load.sessions()) == 40
    assert status["sessions"]["outcomes"]["midstream_skipped"] == status["sessions"]["seen"] == len(chosen)
    assert status["bytes"]["captured"] == status["bytes"]["ignored"]["midstream"] > 0
