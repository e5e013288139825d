"""Routes planned from facts, as Ansible gathers them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.loading import load

filters = load("mirror_route/filter_plugins/mirror_route.py").FilterModule().filters()
plan, stand = filters["mirror_route_plan"], filters["mirror_route_stand"]
arrivals, loosened = filters["mirror_route_arrivals"], filters["mirror_route_loosened"]
words = filters["mirror_route_words"]


def interface(device: str, address: str, netmask: str, *more: tuple[str, str]) -> dict[str, Any]:
    """One interface's facts."""
    secondaries = [{"address": own, "netmask": mask} for own, mask in more]
    return {"device": device, "ipv4": {"address": address, "netmask": netmask}, "ipv4_secondaries": secondaries}


FACTS = {
    "interfaces": ["lo", "ens18", "eth-data", "wg0", "dummy0"],
    "lo": interface("lo", "127.0.0.1", "255.0.0.0"),
    "ens18": interface("ens18", "10.0.0.5", "255.0.0.0", ("192.168.50.101", "255.255.255.0")),
    "eth_data": {**interface("eth-data", "10.1.2.3", "255.255.255.0"), "mtu": 9000},
    "wg0": {"device": "wg0"},
    "dummy0": {"device": "dummy0", "ipv4": {}},
}


@pytest.mark.parametrize(
    ("address", "interface", "source"),
    [
        ("10.9.9.9", "ens18", "10.0.0.5"),
        ("192.168.50.102", "ens18", "192.168.50.101"),
        ("10.1.2.9", "eth-data", "10.1.2.3"),
        ("172.16.0.1", "", ""),
    ],
)
def test_route_leads_out_of_the_interface_towards_the_assistant(address: str, interface: str, source: str) -> None:
    assert plan(FACTS, [{"address": address, "client_network": "192.168.60.0/24"}]) == [
        {"network": "192.168.60.0/24", "gateway": address, "interface": interface, "source": source}
    ]


def test_no_interfaces_no_answer() -> None:
    (route,) = plan({}, [{"address": "10.0.0.1", "client_network": ["192.168.60.0/24"]}])
    assert (route["interface"], route["source"]) == ("", "")


def test_each_network_has_the_route_of_its_assistant() -> None:
    assistants = [
        {"address": "192.168.50.102", "client_network": ["192.168.60.0/26", "192.168.60.64/26"]},
        {"address": "10.1.2.9", "client_network": "192.168.60.128/25"},
    ]
    assert [(route["network"], route["gateway"], route["interface"]) for route in plan(FACTS, assistants)] == [
        ("192.168.60.0/26", "192.168.50.102", "ens18"),
        ("192.168.60.64/26", "192.168.50.102", "ens18"),
        ("192.168.60.128/25", "10.1.2.9", "eth-data"),
    ]


def test_what_is_given_comes_before_the_facts() -> None:
    (route,) = plan(FACTS, [{"address": "10.1.2.9", "client_network": "192.168.60.0/24"}], "eth7", "10.7.7.7")
    assert (route["interface"], route["source"]) == ("eth7", "10.7.7.7")


HERE = {"gateway": "", "interface": "lo"}


@pytest.mark.parametrize(
    ("facts", "address", "source", "expected"),
    [
        (FACTS, "10.1.2.3", "", {"source": "10.1.2.3", "mtu": "9000"}),
        (FACTS, "10.9.9.9", "", {"source": "10.0.0.5", "mtu": "1500"}),
        (FACTS, "", "192.168.50.101", {"source": "192.168.50.101", "mtu": "1500"}),
        ({**FACTS, "default_ipv4": {"address": "10.1.2.3"}}, "", "", {"source": "10.1.2.3", "mtu": "9000"}),
        (FACTS, "", "", {"source": "10.0.0.5", "mtu": "1500"}),
        ({}, "", "", {"source": "", "mtu": "1500"}),
    ],
)
def test_answers_end_here(facts: dict[str, Any], address: str, source: str, expected: dict[str, str]) -> None:
    assistants = [{"address": address, "client_network": ["192.168.60.0/25", "192.168.60.128/25"]}]
    networks = ("192.168.60.0/25", "192.168.60.128/25")
    planned = plan(facts, assistants, "", source, "here")
    assert planned == [{"network": network, **HERE, **expected} for network in networks]
    assert arrivals(FACTS, ["192.168.50.10", "10.1.2.3"], planned) == ["ens18"], "what it sends itself is not filtered"


def test_routes_in_words() -> None:
    (route,) = plan(FACTS, [{"address": "10.1.2.9", "client_network": "192.168.60.0/24"}])
    assert words(route) == "192.168.60.0/24 via 10.1.2.9 dev eth-data src 10.1.2.3"
    (route,) = plan(FACTS, [{"address": "10.1.2.3", "client_network": "192.168.60.0/24"}], end="here")
    assert words(route) == "192.168.60.0/24 dev lo src 10.1.2.3 mtu 9000"


def test_nothing_given_nothing_planned() -> None:
    assert plan(FACTS, [{"address": "", "client_network": []}]) == []


@pytest.mark.parametrize(
    ("online", "interfaces", "found"),
    [
        ("192.168.50.10", ["ens18"], []),
        ("192.168.50.10", ["eth-data"], ["ens18"]),
        (["192.168.50.10", "10.1.2.4"], ["eth-data", "ens18"], ["ens18", "eth-data"]),
        (["192.168.50.10", "172.16.0.1"], ["ens18"], []),
        ([], ["ens18"], []),
        ("", ["ens18"], []),
    ],
)
def test_mirrored_packets_that_arrive_elsewhere(online: Any, interfaces: list[str], found: list[str]) -> None:
    assert arrivals(FACTS, online, [{"interface": name} for name in interfaces]) == found


@pytest.mark.parametrize(
    ("values", "setting"),
    [
        (["0", "1", "0"], {"a": "2"}),
        (["1", "0", "0"], {"a": "2", "b": "2"}),
        (["0", "2", "1"], {"a": "2", "b": "2"}),
        (["0", "2", "0"], {}),
        (["2", "1", "1"], {}),
    ],
)
def test_strict_filters_are_loosened(values: list[str], setting: dict[str, str]) -> None:
    assert loosened(values, ["a", "b"]) == setting


PLANNED = {
    "network": "192.168.60.0/24",
    "gateway": "192.168.50.102",
    "interface": "ens18",
    "source": "192.168.50.101",
}
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
    results = [{"stdout": json.dumps(shown), "item": PLANNED} for shown in ([RIGHT], routes)]
    assert stand(results) is right


@pytest.mark.parametrize(("mtu", "right"), [(1500, True), (9000, False), (None, False)])
def test_judge_a_route_to_the_loopback(mtu: int | None, right: bool) -> None:
    planned = {"network": "192.168.60.0/24", **HERE, "source": "192.168.50.101", "mtu": "1500"}
    shown = {"dst": "192.168.60.0/24", "dev": "lo", "scope": "link", "prefsrc": "192.168.50.101"}
    metrics = {} if mtu is None else {"metrics": [{"mtu": mtu}]}
    assert stand([{"stdout": json.dumps([{**shown, **metrics}]), "item": planned}]) is right
