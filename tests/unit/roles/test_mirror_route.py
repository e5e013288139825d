"""Interfaces found in facts, as Ansible gathers them."""

from __future__ import annotations

from typing import Any

import pytest

from .loading import load

filters = load("mirror_route/filter_plugins/mirror_route.py").FilterModule().filters()
towards, is_route = filters["mirror_route_towards"], filters["mirror_route_is"]


def interface(device: str, address: str, netmask: str, *more: tuple[str, str]) -> dict[str, Any]:
    """One interface's facts."""
    secondaries = [{"address": own, "netmask": mask} for own, mask in more]
    return {"device": device, "ipv4": {"address": address, "netmask": netmask}, "ipv4_secondaries": secondaries}


FACTS = {
    "interfaces": ["lo", "ens18", "eth-data", "wg0", "dummy0"],
    "lo": interface("lo", "127.0.0.1", "255.0.0.0"),
    "ens18": interface("ens18", "10.0.0.5", "255.0.0.0", ("192.168.50.101", "255.255.255.0")),
    "eth_data": interface("eth-data", "10.1.2.3", "255.255.255.0"),
    "wg0": {"device": "wg0"},
    "dummy0": {"device": "dummy0", "ipv4": {}},
}


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("10.9.9.9", {"interface": "ens18", "address": "10.0.0.5"}),
        ("192.168.50.102", {"interface": "ens18", "address": "192.168.50.101"}),
        ("10.1.2.9", {"interface": "eth-data", "address": "10.1.2.3"}),
        ("172.16.0.1", {}),
    ],
)
def test_interface_towards_an_address(address: str, found: dict[str, str]) -> None:
    assert towards(FACTS, address) == found


def test_no_interfaces_no_answer() -> None:
    assert towards({}, "10.0.0.1") == {}


RIGHT = {"dst": "192.168.60.0/24", "gateway": "192.168.50.102", "dev": "ens18", "prefsrc": "192.168.50.101"}


@pytest.mark.parametrize(
    ("routes", "right"),
    [
        ([RIGHT], True),
        ([], False),
        ([RIGHT, RIGHT], False),
        ([{**RIGHT, "gateway": "192.168.50.1"}], False),
        ([{**RIGHT, "dev": "eth0"}], False),
        ([{"dst": "192.168.60.0/24", "dev": "ens18", "scope": "link"}], False),
    ],
)
def test_judge_the_route_there_is(routes: list[dict[str, Any]], right: bool) -> None:
    assert is_route(routes, "192.168.50.102", "ens18", "192.168.50.101") is right
