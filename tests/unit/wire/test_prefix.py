"""Addresses are found in sets of prefixes, of whichever family."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from copytool.wire.prefix import PrefixSet

NETWORKS = [ip_network(text) for text in ("192.168.60.0/24", "10.0.0.0/8", "0.0.0.0/0", "fd60::/64", "fd60::1/128")]
ADDRESSES = st.one_of(st.ip_addresses(), st.sampled_from([ip_address("192.168.60.1"), ip_address("fd60::1")]))


@given(st.lists(st.sampled_from(NETWORKS)), ADDRESSES)
def test_membership_is_that_of_the_networks(networks: list, address: object) -> None:
    """An address is contained if, and only if, one of the networks contains it."""
    prefixes = PrefixSet([(network.network_address.packed, network.prefixlen) for network in networks])
    assert (address.packed in prefixes) == any(address in network for network in networks)
    assert len(prefixes) == len(networks)
