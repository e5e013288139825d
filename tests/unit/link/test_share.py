"""A share says which responses are a copy's, and believes no hello it cannot check."""

from __future__ import annotations

import contextlib
import json
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copytool.errors import DecodeError
from copytool.link.share import MAX_NETWORKS, MAX_TARGETS, Share

TARGET = (ip_address("192.168.50.101").packed, 1025)
NETWORKS = st.one_of(
    st.builds(lambda n, p: ip_network((n, p), strict=False), st.integers(0, 2**32 - 1), st.integers(0, 32)),
    st.builds(
        lambda n, p: ip_network((n.to_bytes(16, "big"), p), strict=False),
        st.integers(0, 2**128 - 1),
        st.integers(0, 128),
    ),
)


def share(*networks: str) -> Share:
    """Return a share of these networks."""
    return Share([ip_network(text) for text in networks], [TARGET])


@given(
    st.lists(NETWORKS, min_size=1, max_size=4),
    st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16)),
)
def test_owns_what_ipaddress_says_is_inside(networks: list, address: bytes) -> None:
    """The fast matcher agrees with the standard library."""
    mine = Share(networks, [TARGET])
    assert mine.owns(address) == any(ip_address(address) in network for network in networks)
    for network in networks:
        assert mine.owns(network.network_address.packed) and mine.owns(network.broadcast_address.packed)


@given(st.lists(NETWORKS, min_size=1, max_size=3), st.lists(NETWORKS, min_size=1, max_size=3))
def test_overlap_is_symmetric_and_right(mine: list, theirs: list) -> None:
    """Overlap is found from both sides exactly when two networks share an address."""
    expected = any(a.version == b.version and a.overlaps(b) for a in mine for b in theirs)
    one, other = Share(mine, [TARGET]), Share(theirs, [TARGET])
    assert (one.overlap(other) is not None) == (other.overlap(one) is not None) == expected


@given(st.lists(NETWORKS, min_size=1, max_size=4))
def test_json_round_trip(networks: list) -> None:
    """What a hello carries is the share."""
    mine = Share(networks, [TARGET, (bytes(16), 443)])
    theirs = Share.from_json(json.loads(json.dumps(mine.to_json())))
    assert (theirs.networks, theirs.targets) == (mine.networks, mine.targets)


GOOD = share("192.168.60.0/24").to_json()


@pytest.mark.parametrize(
    "change",
    [
        {"client_networks": None},
        {"client_networks": []},
        {"client_networks": ["192.168.60.0/24"] * (MAX_NETWORKS + 1)},
        {"client_networks": [7]},
        {"client_networks": [None]},
        {"client_networks": ["192.168.60.5/24"]},
        {"client_networks": ["nonsense"]},
        {"client_networks": "192.168.60.0/24"},
        {"targets": None},
        {"targets": []},
        {"targets": [["c0a83265", 1025]] * (MAX_TARGETS + 1)},
        {"targets": [["c0a83265", 0]]},
        {"targets": [["c0a83265", 65536]]},
        {"targets": [["c0a83265", True]]},
        {"targets": [["c0a83265", 1025.0]]},
        {"targets": [["c0a832", 1025]]},
        {"targets": [["c0a8326g", 1025]]},
        {"targets": [["c0 a8 32", 1025]]},
        {"targets": [[3232248421, 1025]]},
        {"targets": [["c0a83265"]]},
        {"targets": ["c0a83265"]},
        {"targets": {"c0a83265": 1025}},
    ],
    ids=lambda change: json.dumps(change)[:50],
)
def test_bad_hellos_are_refused(change: dict) -> None:
    """Each wrong type, count, range or text is a DecodeError."""
    with pytest.raises(DecodeError, match="hello"):
        Share.from_json(GOOD | change)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=8,
)


@given(JSON, JSON)
def test_any_json_is_a_share_or_a_decode_error(networks: object, targets: object) -> None:
    """Whatever a peer puts into its hello raises DecodeError and nothing else."""
    with contextlib.suppress(DecodeError):
        Share.from_json({"client_networks": networks, "targets": targets})
