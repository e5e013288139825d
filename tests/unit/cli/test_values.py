"""Values of flags: what is accepted, and what a wrong one is told."""

from __future__ import annotations

import os
import socket
from ipaddress import ip_address, ip_network

import pytest

from copytool.cli import values
from copytool.errors import ConfigError

TARGET = bytes([192, 168, 50, 101])


def test_map_without_online_address_is_for_any_address() -> None:
    """The documented form maps a port of any local address."""
    assert values.parse_map("1025-192.168.50.101:1025") == {(None, 1025): (TARGET, 1025)}


def test_map_takes_several_services_addresses_and_ipv6() -> None:
    """Mappings are a list; each may name the online address, IPv6 in brackets."""
    parsed = values.parse_map("10.0.0.1:80-192.168.50.101:8080, [fd00::1]:443-[fd00::2]:8443")
    assert parsed[(bytes([10, 0, 0, 1]), 80)] == (TARGET, 8080)
    (online, port), (target, target_port) = list(parsed.items())[1]
    assert (online, port, target_port) == (bytes.fromhex("fd00" + "0" * 27 + "1"), 443, 8443)
    assert target[-1] == 2


def test_host_names_resolve() -> None:
    """A name stands for its address, also one with dashes and digits around the separator."""
    # Many systems have ::1 first.
    address = str(socket.getaddrinfo("localhost", None, type=socket.SOCK_STREAM)[0][4][0])
    packed = ip_address(address).packed
    assert values.parse_map("localhost:80-localhost:81")[(packed, 80)] == (packed, 81)
    assert values.parse_endpoints("localhost:9,127.0.0.2") == [(address, 9), ("127.0.0.2", 0)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("80", "'80' is not [online-ip:]port-target-ip:port"),
        ("80-192.168.50.101", "is not [online-ip:]port-target-ip:port"),
        ("80-192.168.50.101:x", "is not [online-ip:]port-target-ip:port"),
        ("0-192.168.50.101:80", "port 0 is not in 1..65535"),
        ("80-192.168.50.101:65536", "port 65536 is not in 1..65535"),
        ("80-no-such-host.invalid:80", "'no-such-host.invalid' does not resolve"),
        ("80-1.2.3.4:80,", "an item of the list is empty"),
        ("80-1.2.3.4:80,80-1.2.3.5:80", "mapped already"),
    ],
)
def test_bad_maps(text: str, reason: str) -> None:
    """Each mistake in -x is named with what would be right."""
    with pytest.raises(ConfigError) as error:
        values.parse_map(text)
    assert reason in str(error.value)


@pytest.mark.parametrize(
    ("text", "network", "first", "count"),
    [
        ("192.168.60.x", "192.168.60.0/24", "192.168.60.1", 254),
        ("192.168.60.0/24", "192.168.60.0/24", "192.168.60.1", 254),
        ("10.9.0.0/16", "10.9.0.0/16", "10.9.0.1", 65534),
        ("10.9.0.0/31", "10.9.0.0/31", "10.9.0.0", 2),
        ("10.9.0.7", "10.9.0.7/32", "10.9.0.7", 1),
        ("fd60::/64", "fd60::/64", "fd60::1", 1 << 32),
    ],
)
def test_client_networks(text: str, network: str, first: str, count: int) -> None:
    """Each form gives a network to announce and the addresses that hosts may have in it."""
    networks, ranges = values.parse_client_networks(text)
    assert networks == [ip_network(network)]
    assert ranges == [(ip_network(first).network_address.packed, count)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("192.168.x.x", "is no client network, like 192.168.60.x"),
        ("192.168.60.5/24", "did you mean 192.168.60.0/24?"),
        ("192.168.60.x,192.168.60.7", "overlaps 192.168.60.0/24"),
        ("0.0.0.0/0", "cannot be routed"),
        ("127.0.0.x", "cannot be routed"),
        ("*", "is no client network"),
    ],
)
def test_bad_client_networks(text: str, reason: str) -> None:
    """Each mistake in -c is named with what would be right."""
    with pytest.raises(ConfigError) as error:
        values.parse_client_networks(text)
    assert reason in str(error.value)


@pytest.mark.parametrize(("text", "names"), [("ens18", ["ens18"]), ("a,b,a", ["a", "b"]), ("lo,any", [""])])
def test_interfaces(text: str, names: list[str]) -> None:
    """`any` stands for all interfaces; a name counts once."""
    assert values.parse_interfaces(text) == names


def test_bad_interface() -> None:
    """A name that no interface can have is refused at once."""
    with pytest.raises(ConfigError, match="no interface name"):
        values.parse_interfaces("an-interface-name-too-long")


@pytest.mark.parametrize("text", ["0", "-1", "100.5", "x", "nan", "inf", ""])
def test_bad_numbers(text: str) -> None:
    """Numbers outside their bounds are refused with the bounds."""
    with pytest.raises(ConfigError, match="above 0 and up to 100"):
        values.number(0, 100, above=True)(text)


@pytest.mark.parametrize("text", ["0", "1025", "1.5", "ten", "9" * 40])
def test_bad_integers(text: str) -> None:
    """Whole numbers outside their bounds are refused with the bounds."""
    with pytest.raises(ConfigError, match=r"whole number in 1\.\.1024"):
        values.integer(1, 1024)(text)


def test_workers() -> None:
    """A number, or as many as this process may have CPUs."""
    assert values.parse_workers("3") == 3
    assert values.parse_workers("auto") == min(len(os.sched_getaffinity(0)), 16)
    for text in ("0", "17", "two", ""):
        with pytest.raises(ConfigError) as error:
            values.parse_workers(text)
        assert str(error.value) == f"{text!r} is not a whole number in 1..16, nor auto"
