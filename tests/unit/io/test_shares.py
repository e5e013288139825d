"""What several workers get: parts that are disjoint, about equal, and add up to what the user said."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copytool.cli.arguments import parse_arguments
from copytool.cli.settings import copy_settings
from copytool.cli.values import parse_client_networks
from copytool.errors import ConfigError
from copytool.io.settings import BudgetLimits, CopySettings
from copytool.io.shares import split_network, split_settings
from copytool.link.share import MAX_NETWORKS

MAP4, MAP6 = "1025-192.168.50.101:1025", "[fd50::10]:1025-[fd50::101]:1025"


def _settings(*options: str, mapping: str = MAP4) -> CopySettings:
    return copy_settings(parse_arguments(["copy", "--plain", "-x", mapping, "-s", "192.168.50.102", *options])[1])


def _split(text: str, parts: int) -> list[Any]:
    networks, ranges = parse_client_networks(text)
    return split_network(list(zip(networks, ranges, strict=True)), parts)


def _addresses(ranges: list[tuple[bytes, int]]) -> list[int]:
    return [int.from_bytes(first, "big") + offset for first, count in ranges for offset in range(count)]


@pytest.mark.parametrize(
    ("text", "parts", "networks"),
    [
        ("192.168.60.x", 2, [["192.168.60.0/25"], ["192.168.60.128/25"]]),
        ("10.9.0.0/16", 4, [["10.9.0.0/18"], ["10.9.64.0/18"], ["10.9.128.0/18"], ["10.9.192.0/18"]]),
        ("192.168.60.0/30", 2, [["192.168.60.0/31"], ["192.168.60.2/31"]]),
        ("10.0.0.1,10.0.0.5", 2, [["10.0.0.1/32"], ["10.0.0.5/32"]]),
        ("10.1.0.0/24,10.2.0.0/24", 2, [["10.1.0.0/24"], ["10.2.0.0/24"]]),
        ("fd60::/64", 2, [["fd60::/97"], ["fd60::8000:0/97", "fd60::1:0:0/128"]]),
        ("fd60::/120", 2, [["fd60::/121"], ["fd60::80/121"]]),
    ],
)
def test_parts_of_usual_networks(text: str, parts: int, networks: list[list[str]]) -> None:
    """Halves and quarters of a network are networks, as one would write them."""
    assert [[str(network) for network in part] for part, _ in _split(text, parts)] == networks


NETWORKS = st.lists(
    st.tuples(st.integers(0, 255), st.integers(22, 32)), min_size=1, max_size=6, unique_by=lambda item: item[0]
).map(lambda items: ",".join(f"10.{second}.0.0/{prefix}" for second, prefix in items))


@given(NETWORKS, st.integers(2, 16))
def test_parts_are_disjoint_and_complete(text: str, parts: int) -> None:
    """Each usable address is one worker's, lies in the networks it announces, and no other worker announces it."""
    whole = _addresses(parse_client_networks(text)[1])
    if len(whole) < parts:
        with pytest.raises(ConfigError, match=f"not enough for {parts} workers"):
            _split(text, parts)
        return
    split = _split(text, parts)
    assert [address for _, ranges in split for address in _addresses(ranges)] == whole
    announced = [network for networks, _ in split for network in networks]
    assert all(not one.overlaps(other) for n, one in enumerate(announced) for other in announced[:n])
    for networks, ranges in split:
        assert 1 <= len(networks) <= MAX_NETWORKS
        own = _addresses(ranges)
        assert abs(len(own) - len(whole) / parts) <= 1 + len(whole) / parts / 8
        for address in (own[0], own[-1]):
            assert any(ip_address(address) in network for network in networks)


def test_parts_add_up() -> None:
    """Limits and memory are shared out, other settings are everybody's, and each has a control socket of its own."""
    whole = _settings("-c", "192.168.60.x", "--workers", "3", "--max-sessions", "1000", "-r", "20", "--ring-size", "96")
    shares = split_settings(whole)
    assert [share.worker for share in shares] == [0, 1, 2]
    assert [share.control_socket for share in shares] == [Path(f"{whole.control_socket}.{n}") for n in (1, 2, 3)]
    assert sum(share.mirror.max_sessions for share in shares) == 1000
    assert [share.ring_bytes for share in shares] == [32 << 20] * 3
    assert [share.budgets for share in shares] == [BudgetLimits(None, None, None)] * 3
    assert [share.mirror.total_buffer_bytes for share in shares] == [whole.mirror.total_buffer_bytes // 3] * 3
    for share in shares:
        assert share.mirror.session_buffer_bytes == whole.mirror.session_buffer_bytes
        assert (share.mirror.ratio_percent, share.targets) == (20, whole.targets)
        assert share.all_client_ranges == whole.client_ranges


def test_budgets_are_shared_out() -> None:
    """Evenly, as the connections are."""
    limits = ("--cpu-limit", "90", "--memory-limit", "600", "--bandwidth-limit", "1.5")
    shares = split_settings(_settings("-c", "192.168.60.x", "--workers", "3", *limits))
    assert [share.budgets for share in shares] == [BudgetLimits(30.0, 200 << 20, 500_000)] * 3


def test_only_families_of_targets_are_split() -> None:
    """An address that no session comes from need not be enough for all workers."""
    shares = split_settings(_settings("-c", "192.168.60.x,fd60::1", "--workers", "2"))
    assert [[network.version for network in share.client_networks] for share in shares] == [[4], [4]]
    shares = split_settings(
        _settings("-c", "192.168.60.x,fd60::/64", "--workers", "2", mapping=f"{MAP6},192.168.50.10:{MAP4}")
    )
    assert [{network.version for network in share.client_networks} for share in shares] == [{4, 6}] * 2


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["-c", "192.168.60.1"], "1 IPv4 addresses are not enough for 2 workers"),
        (["--keep-client-addresses"], "--workers 2 needs -c"),
        (["-c", "192.168.60.x", "--ring-size", "1"], "--ring-size 1 is less than one for each of 2 workers"),
        (["-c", "192.168.60.x", "--max-sessions", "1"], "--max-sessions 1 is less"),
        (["-c", "192.168.60.x", "--total-buffer", "1"], "--total-buffer 1 is less"),
        (["-c", "192.168.60.x", "--memory-limit", "1"], "--memory-limit 1 is less"),
        (
            ["-c", ",".join(["10.0.0.0/16", *(f"10.1.0.{n}" for n in range(63))]), "--workers", "3"],
            f"a worker's part has more than {MAX_NETWORKS} networks",
        ),
    ],
)
def test_what_cannot_be_split(options: list[str], reason: str) -> None:
    """The message names the option."""
    with pytest.raises(ConfigError, match=reason):
        split_settings(_settings("--workers", "2", *options))
