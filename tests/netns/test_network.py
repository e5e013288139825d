"""Sessions are exact when the network between the hosts loses, doubles, reorders or delays packets."""

from __future__ import annotations

from typing import Any

import pytest

from .exactness import assert_exact
from .hosts import COPY, Network
from .topologies import impair

ALL_THREE = "loss=0.03,duplicate=0.03,reorder=0.05"
BOTH_FAMILIES = (
    "copy -x 192.168.50.10:1025-192.168.50.101:1025,[fd50::10]:1025-[fd50::101]:1025"
    " -s 192.168.50.102 -c 192.168.60.x,fd60::/64 --ring-size 256"
)
ONE_FAMILY = f"{COPY} --ring-size 256"  # it is the network that loses packets here, not a busy machine's capture
WHAT_HAPPENED = {"loss": "lost", "duplicate": "duplicated", "reorder": "reordered", "corrupt": "corrupted"}


def _drive(network: Network, sessions: int = 150, address: str = "192.168.50.10") -> dict[str, Any]:
    return network.drive("--sessions", sessions, "--concurrency", 30, "--seed", 5, address=address)


def _assert_impaired(counts: dict[str, Any], direction: str, settings: str) -> None:
    """What the settings asked for must have happened, and nothing else went wrong in the impairment itself."""
    done = counts[direction]
    assert done["send_errors"] == done["dropped"] == 0
    for word, name in WHAT_HAPPENED.items():
        assert (done[name] > 0) == (word in settings), f"{direction}: {name} in {done}"


@pytest.mark.parametrize(
    ("to_host", "to_switch"),
    [
        ("loss=0.01", "loss=0.01"),
        ("loss=0.05", ""),
        ("", "loss=0.05"),
        ("loss=0.05", "loss=0.05"),
        ("reorder=0.1", ""),
        ("", "reorder=0.1"),
        ("reorder=0.1", "reorder=0.1"),
        ("duplicate=0.1", ""),
        ("", "duplicate=0.1"),
        ("duplicate=0.1", "duplicate=0.1"),
        ("corrupt=0.05", "corrupt=0.05"),
        (ALL_THREE, ALL_THREE),
    ],
)
def test_target_behind_a_bad_network(network: Network, to_host: str, to_switch: str) -> None:
    """Loss, duplicates and reordering towards the target, from it to the assistant, or both, change no byte."""
    relay = impair(network, "target", to_host=to_host, to_switch=to_switch)
    network.start_mirror(ONE_FAMILY)
    report = _drive(network)
    status = assert_exact(network, report)
    counts = relay.stop()
    _assert_impaired(counts, "to_host", to_host)
    _assert_impaired(counts, "to_switch", to_switch)
    if "loss" in to_host:
        assert status["mirror"]["retransmissions"] >= counts["to_host"]["lost"] / 2


def test_client_behind_a_bad_network(network: Network) -> None:
    """Client segments that come again, twice or out of order are put together as online reads them."""
    relay = impair(network, "client", to_host=ALL_THREE, to_switch=ALL_THREE)
    network.start_mirror(ONE_FAMILY)
    report = _drive(network)
    status = assert_exact(network, report)
    counts = relay.stop()
    _assert_impaired(counts, "to_host", ALL_THREE)
    _assert_impaired(counts, "to_switch", ALL_THREE)
    assert status["bytes"]["duplicate"] > 0


def test_client_whose_packets_are_damaged(network: Network) -> None:
    """Online's kernel drops them and reads what comes again, whole; copy must not read them before."""
    relay = impair(network, "client", to_host="", to_switch="corrupt=0.05")
    network.start_mirror(ONE_FAMILY)
    report = _drive(network)
    status = assert_exact(network, report)
    _assert_impaired(relay.stop(), "to_switch", "corrupt")
    assert status["packets"]["dropped"]["bad_checksum"] > 50


def test_both_families_behind_a_bad_network(network: Network) -> None:
    """IPv4 and IPv6 sessions of one process are exact with loss on the way to the target and back."""
    relay = impair(network, "target", to_host="loss=0.05", to_switch="loss=0.05")
    network.start_mirror(BOTH_FAMILIES)
    reports = [_drive(network, 75, address) for address in ("192.168.50.10", "fd50::10")]
    assert_exact(network, *reports)
    counts = relay.stop()
    _assert_impaired(counts, "to_host", "loss")
    _assert_impaired(counts, "to_switch", "loss")
    assert {session["peer"][:5] for session in network.sessions_of("target")} == {"fd60:", "192.1"}
