"""Client addresses and the sample: deterministic, collision-free, uniform."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copytool.errors import ConfigError
from copytool.mirror.mapping import ClientNetwork, Sampler, flow_hash
from copytool.wire.flow import FlowKey, flow_ends, flow_key

TARGET, PORT = ip_address("192.168.50.101").packed, 1025
TARGET6 = ip_address("fd00:50::101").packed


def pack(text: str) -> bytes:
    """Return the packed address."""
    return ip_address(text).packed


def network(*ranges: tuple[str, int]) -> ClientNetwork:
    """Return a client network of (first address, count)."""
    return ClientNetwork([(pack(first), count) for first, count in ranges])


NET = network(("192.168.60.1", 254))


def choose(net: ClientNetwork, client: bytes, port: int, taken: set[FlowKey] = frozenset(), copy: int = 0):
    """Return the ends chosen for a client connection to the IPv4 target."""
    key = net.choose(client, port, copy, TARGET, PORT, taken)
    return key if key is None else flow_ends(key)


ADDRESSES = st.binary(min_size=4, max_size=4)
PORTS = st.integers(1, 65535)


@given(ADDRESSES, PORTS)
def test_choice_is_deterministic_and_inside(client: bytes, port: int) -> None:
    """The same connection always gets the same key: an address of the network and its own port."""
    key = choose(NET, client, port)
    assert key == choose(network(("192.168.60.1", 254)), client, port)
    assert key[0] in NET
    assert key[1:] == (port, TARGET, PORT)


def test_part_of_a_network() -> None:
    """Sessions come from the part; the whole network counts as the mirror's own."""
    part = ClientNetwork([(pack("192.168.60.1"), 127)], [(pack("192.168.60.1"), 254)])
    assert pack("192.168.60.200") in part and pack("192.168.61.1") not in part
    chosen = {choose(part, bytes([10, 0, 0, number]), 5000)[0] for number in range(256)}
    assert chosen <= {pack(f"192.168.60.{number}") for number in range(1, 128)} and len(chosen) > 60


@given(ADDRESSES, st.lists(PORTS, min_size=2, max_size=20))
def test_one_client_keeps_one_address(client: bytes, ports: list[int]) -> None:
    """All connections of a client come from the same address."""
    assert len({choose(NET, client, port)[0] for port in ports}) == 1


@given(st.lists(st.tuples(ADDRESSES, PORTS), max_size=60, unique=True), st.integers(1, 4))
def test_keys_never_collide(clients: list[tuple[bytes, int]], copies: int) -> None:
    """No two sessions share a key, however small the network and whatever the copies."""
    small = network(("192.168.60.1", 2))
    taken: set[FlowKey] = set()
    for client, port in clients:
        for copy in range(copies):
            key = choose(small, client, port, taken, copy)
            assert key is not None and flow_key(*key) not in taken
            assert key[0] in small
            assert 0 < key[1] < 65536
            taken.add(flow_key(*key))


def test_many_clients_on_one_address() -> None:
    """Sequential ports of several clients that share one address all find a place."""
    single = network(("192.168.60.9", 1))
    taken: set[FlowKey] = set()
    for host in range(1, 11):
        for port in range(32768, 36000):
            key = choose(single, bytes((10, 0, 0, host)), port, taken)
            assert key is not None and flow_key(*key) not in taken
            taken.add(flow_key(*key))


def test_taken_port_moves_to_the_same_other_port() -> None:
    """When its port is taken a connection gets another one above 1023, the same at each try."""
    client = pack("10.1.1.1")
    first = choose(NET, client, 5000)
    second = choose(NET, client, 5000, {flow_key(*first)})
    assert second == choose(NET, client, 5000, {flow_key(*first)})
    assert second[0] == first[0] and second[1] != 5000 and second[1] >= 1024


def test_full_address_is_refused() -> None:
    """When no try finds a free key the answer is None, after a bounded number of tries."""

    class Full:
        tries = 0

        def __contains__(self, key: object) -> bool:
            self.tries += 1
            return True

    full = Full()
    assert NET.choose(pack("10.1.1.1"), 5000, 0, TARGET, PORT, full) is None
    assert full.tries <= 1000


def test_copies_use_the_next_addresses() -> None:
    """With room enough each copy of a session keeps the port, on an address of its own."""
    client = pack("10.1.1.1")
    keys = [choose(NET, client, 5000, frozenset(), copy) for copy in range(4)]
    assert len({key[0] for key in keys}) == 4
    assert {key[1] for key in keys} == {5000}


def test_copies_beyond_the_addresses_differ_by_port() -> None:
    """More copies than addresses share one, at ports apart."""
    single = network(("192.168.60.9", 1))
    keys = {choose(single, pack("10.1.1.1"), 5000, frozenset(), copy) for copy in range(5)}
    assert len(keys) == 5


def test_several_ranges_are_one_network() -> None:
    """Ranges are used to their last address, and contain nothing else."""
    net = network(("192.168.60.1", 3), ("10.99.0.7", 1))
    used = {choose(net, bytes((10, 1, host >> 8, host & 255)), 5000)[0] for host in range(2000)}
    assert used == {pack(text) for text in ("192.168.60.1", "192.168.60.2", "192.168.60.3", "10.99.0.7")}
    for outside in ("192.168.60.0", "192.168.60.4", "10.99.0.6", "10.99.0.8", "fd00::1"):
        assert pack(outside) not in net


def test_families() -> None:
    """A session to an IPv6 target comes from an IPv6 address, whatever the client's family."""
    net = network(("192.168.60.1", 254), ("fd00:60::1", 1000))
    key = net.choose(pack("10.1.1.1"), 5000, 0, TARGET6, PORT, frozenset())
    mirror = flow_ends(key)[0]
    assert len(mirror) == 16 and mirror in net
    net.check_family(TARGET)
    net.check_family(TARGET6)


def test_missing_family_is_a_configuration_error() -> None:
    """A target that no client network address can talk to is refused by name."""
    with pytest.raises(ConfigError, match="no IPv6 address"):
        NET.check_family(TARGET6)
    with pytest.raises(ConfigError, match="no IPv4 address"):
        network(("fd00:60::1", 10)).check_family(TARGET)


def test_without_ranges_clients_keep_their_addresses() -> None:
    """--keep-client-addresses: the key is the client's own; another family has none."""
    keep = ClientNetwork([])
    client = pack("203.0.113.9")
    assert keep.keeps_clients and not NET.keeps_clients
    assert choose(keep, client, 5000) == (client, 5000, TARGET, PORT)
    assert client not in keep
    assert keep.choose(client, 5000, 0, TARGET6, PORT, frozenset()) is None
    assert choose(keep, client, 5000, frozenset(), 1)[0] == client


@given(st.one_of(ADDRESSES, st.binary(min_size=16, max_size=16)), st.integers(0, 65535))
def test_hash_is_32_bits_and_fixed(address: bytes, port: int) -> None:
    """The hash fits BPF's registers."""
    assert 0 <= flow_hash(address, port) < 2**32
    assert flow_hash(address, port) == flow_hash(bytes(address), port)


def test_hash_is_the_documented_one() -> None:
    """Other copy hosts, and the kernel filter, compute the same: the values may not change."""
    assert flow_hash(pack("10.0.0.1"), 40000) == reference_hash(pack("10.0.0.1"), 40000)
    assert flow_hash(pack("fd00::1"), 1) == reference_hash(pack("fd00::1"), 1)


def reference_hash(address: bytes, port: int) -> int:
    """Return the hash written a second time, word by word."""
    value = (port * 2654435761) % 2**32
    for word in (int.from_bytes(address[index : index + 4], "big") for index in range(0, len(address), 4)):
        value = value ^ word
        for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
            value = ((value ^ (value >> shift)) * factor) % 2**32
        value = value ^ (value >> 16)
    return value


def chi_square(counts: list[int]) -> float:
    """Return Pearson's statistic against equal shares."""
    expected = sum(counts) / len(counts)
    return sum((count - expected) ** 2 / expected for count in counts)


SAMPLES = {
    "ports of one client": [(pack("10.1.2.3"), port) for port in range(32768, 61000)],
    "every second port": [(pack("10.1.2.3"), port) for port in range(1024, 65536, 2)],
    "one port of many clients": [(bytes((10, 1, n >> 8 & 255, n & 255)), 40000) for n in range(30000)],
    "clients and ports together": [(bytes((10, 1, 0, n % 250)), 32768 + n) for n in range(28000)],
    "IPv6 clients": [(pack("2001:db8::")[:12] + n.to_bytes(4, "big"), 50000) for n in range(30000)],
    "IPv6 subnets": [(b"\x20\x01" + n.to_bytes(4, "big") + bytes(9) + b"\1", 50000) for n in range(30000)],
}


@pytest.mark.parametrize("name", SAMPLES)
def test_hash_is_uniform(name: str) -> None:
    """Regular inputs spread like random ones: chi-square is below its 99.99 % quantile, and not too good."""
    counts = [0] * 100
    for address, port in SAMPLES[name]:
        counts[flow_hash(address, port) * 100 >> 32] += 1
    assert 40 < chi_square(counts) < 161


@pytest.mark.parametrize("ratio", [0.1, 1, 20, 50, 99])
@pytest.mark.parametrize("name", SAMPLES)
def test_sample_has_the_asked_size(name: str, ratio: float) -> None:
    """-r picks its share of connections, within five standard deviations."""
    sampler = Sampler(ratio)
    flows = SAMPLES[name]
    chosen = sum(sampler.chooses(address, port) for address, port in flows)
    expected = len(flows) * ratio / 100
    assert abs(chosen - expected) < 5 * (expected * (1 - ratio / 100)) ** 0.5 + 1


@pytest.mark.parametrize("ratio", [1, 20, 50])
@pytest.mark.parametrize("parts", [2, 3, 16])
@pytest.mark.parametrize("name", SAMPLES)
def test_sample_and_parts_are_independent(name: str, parts: int, ratio: float) -> None:
    """Each worker's share of the connections is sampled alike: chi-square is below its 99.99 % quantile."""
    sampler = Sampler(ratio)
    flows = [[0, 0] for _ in range(parts)]
    for address, port in SAMPLES[name]:
        flows[flow_hash(address, port) % parts][sampler.chooses(address, port)] += 1
    share = sum(chosen for _, chosen in flows) / len(SAMPLES[name])
    statistic = sum(
        (chosen - (expected := (chosen + other) * share)) ** 2 / (expected * (1 - share)) for other, chosen in flows
    )
    assert statistic < {1: 15.2, 2: 18.5, 15: 44.3}[parts - 1]


def test_sample_ends() -> None:
    """0 per cent choose nobody, 100 per cent everybody."""
    flows = SAMPLES["ports of one client"][:2000]
    assert not any(Sampler(0).chooses(*flow) for flow in flows)
    assert all(Sampler(100).chooses(*flow) for flow in flows)


def test_larger_sample_contains_the_smaller() -> None:
    """Raising -r adds connections and drops none."""
    flows = SAMPLES["clients and ports together"][:5000]
    assert all(Sampler(30).chooses(*flow) for flow in flows if Sampler(20).chooses(*flow))


def test_clients_spread_over_the_network() -> None:
    """Sequential client addresses use the client network evenly."""
    counts = dict.fromkeys(range(254), 0)
    first = int.from_bytes(pack("192.168.60.1"), "big")
    for number in range(25_400):
        client = bytes((10, 2, number >> 8, number & 255))
        counts[int.from_bytes(choose(NET, client, 5000)[0], "big") - first] += 1
    assert 150 < chi_square(list(counts.values())) < 350
