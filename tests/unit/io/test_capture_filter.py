"""What the kernel hands to a copy: all that is mirrored, and of the other connections what carries no data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv6Network, ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import GRE
from scapy.packet import Raw
from support.hostile import hostile

from copytool.io.capture_filter import MAX_NETWORKS, CaptureFilter, TunnelFilter, capture_filter
from copytool.io.settings import CopySettings
from copytool.io.sources import make_filter
from copytool.mirror.config import MirrorConfig
from copytool.mirror.mapping import ClientSelection, Sampler, flow_hash
from copytool.wire.build import build_options, build_segment
from copytool.wire.segment import ACK, DROP_REASONS, FIN, PSH, RST, SYN, Segment, parse_segment

from .sieve import Sieve

TARGET = (bytes([192, 168, 50, 101]), 1025)
ONLINE4, ONLINE6 = bytes([192, 168, 50, 10]), ip_address("fd50::10").packed
CLIENTS = [ip_network(text) for text in ("10.0.0.0/9", "192.0.2.7/32", "2000::/4", "fd00:1::7/128")]
INSIDE = [ip_address(text).packed for text in ("10.127.0.1", "192.0.2.7", "2fff::1", "fd00:1::7")]
OUTSIDE = [ip_address(text).packed for text in ("10.128.0.1", "192.0.2.6", "3000::1", "fd00:1::8")]
NOBODY = 1e-9  # a share so small that its threshold is 0

ADDRESSES = st.sampled_from(INSIDE + OUTSIDE) | st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16)
FLAGS = st.sampled_from([SYN, ACK, ACK | PSH, FIN | ACK, RST, RST | ACK, SYN | ACK, 0])
PAYLOADS = st.sampled_from([b"", b"", b"x", b"request", bytes(1460), bytes(60_000)])


def _settings(ratio: float = 100, **fields: object) -> CopySettings:
    return CopySettings(
        targets={(None, 1025): TARGET},
        intercepts=[],
        client_networks=[],
        client_ranges=[],
        control_socket=Path("control.sock"),
        mirror=MirrorConfig(ratio_percent=ratio),
        **fields,  # type: ignore[arg-type]
    )


def capture_code(settings: CopySettings) -> bytes:
    """Return the program that copy begins with."""
    return make_filter(settings).code(settings.mirror.ratio_percent)


@dataclass(frozen=True)
class Case:
    """Settings, what the kernel keeps with them, and what it should know of them."""

    settings: CopySettings
    sieve: Sieve

    def expects(self, packet: bytes) -> bool:
        """Whether the packet is to come up, said with the engine's own words."""
        segment = Segment()
        assert parse_segment(segment, packet) == 0
        if flow_hash(segment.src, segment.src_port) % self.settings.workers != self.settings.worker:
            return False
        if segment.flags & (SYN | RST) or not segment.payload_len:
            return True
        networks = [(network.network_address.packed, network.prefixlen) for network in self.settings.clients]
        chosen = Sampler(self.settings.mirror.ratio_percent).chooses(segment.src, segment.src_port)
        return chosen and segment.src in ClientSelection(networks)


CASES = {
    "everything": _settings(),
    "nobody": _settings(NOBODY),
    "half": _settings(50),
    "all but some": _settings(99.9),
    "clients": _settings(clients=CLIENTS),
    "IPv4 clients": _settings(clients=CLIENTS[:2]),
    "IPv6 clients": _settings(clients=CLIENTS[2:]),
    "half of the clients": _settings(50, clients=CLIENTS),
    "a worker's": _settings(workers=2, worker=1),
    "half of a worker's clients": _settings(50, clients=CLIENTS, workers=3, worker=2),
}


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    """One kind of copy."""
    made = Case(CASES[request.param], Sieve(capture_code(CASES[request.param])))
    yield made
    made.sieve.close()


def _packet(
    client: bytes, port: int = 5000, flags: int = ACK | PSH, payload: bytes = b"", options: bytes = b""
) -> bytes:
    online = ONLINE4 if len(client) == 4 else ONLINE6
    return build_segment(client, online, port, 1025, 7, 9, flags, 1000, options, payload)


def test_expression_names_every_mapped_service() -> None:
    """Ports of any address, and address-port pairs of both families, are alternatives."""
    targets = {
        (None, 1025): TARGET,
        (bytes([10, 0, 0, 1]), 80): TARGET,
        (bytes.fromhex("fd00" + "0" * 27 + "1"), 443): TARGET,
    }
    assert capture_filter(targets) == (
        "tcp and (dst port 1025 or (dst host 10.0.0.1 and dst port 80) or (dst host fd00::1 and dst port 443)) or "
        "(ip[9] = 6 and ip[6:2] & 0x1fff != 0) or (ip6[6] = 44 and ip6[40] = 6)"
    )


@settings(max_examples=400)
@given(ADDRESSES, st.integers(1, 65535), FLAGS, PAYLOADS, st.booleans(), st.integers(0, 10))
def test_kernel_and_engine_agree(
    case: Case, client: bytes, port: int, flags: int, payload: bytes, has_options: bool, ip_options: int
) -> None:
    """What comes up, whole, is what the engine would not leave out, whatever the headers' lengths."""
    packet = _packet(client, port, flags, payload, build_options(1460, 7) if has_options else b"")
    if len(client) == 4 and ip_options:
        total = (len(packet) + 4 * ip_options).to_bytes(2, "big")
        packet = bytes([0x45 + ip_options, 0]) + total + packet[4:20] + b"\x01" * 4 * ip_options + packet[20:]
    assert case.sieve.keeps(packet) == (len(packet) if case.expects(packet) else 0)


@pytest.mark.parametrize("client", INSIDE[::2])
def test_padding_is_no_data(client: bytes) -> None:
    """A short frame is filled up behind the packet; an acknowledgement in it is still one."""
    sieve = Sieve(capture_code(_settings(NOBODY)))
    assert sieve.keeps(_packet(client, flags=ACK) + bytes(6)) > 0
    assert sieve.keeps(_packet(client, flags=ACK, payload=b"x") + bytes(5)) == 0
    sieve.close()


def test_large_packets_without_a_length_are_data() -> None:
    """BIG TCP leaves the length field empty: those that are chosen pass, and no others do."""
    jumbo = _packet(INSIDE[0], payload=bytes(60_000))
    jumbo = jumbo[:2] + bytes(2) + jumbo[4:] + bytes(10_000)
    for ratio, keeps in ((100, len(jumbo)), (NOBODY, 0)):
        sieve = Sieve(capture_code(_settings(ratio)))
        assert sieve.keeps(jumbo) == keeps
        sieve.close()


@pytest.mark.parametrize("ratio", [100, 50, NOBODY])
def test_other_services_are_as_invisible_as_ever(ratio: float) -> None:
    """Neither a sample nor a selection of clients lets through what is not for a mirrored service."""
    sieve = Sieve(capture_code(_settings(ratio, clients=CLIENTS)))
    for client in INSIDE:
        online = ONLINE4 if len(client) == 4 else ONLINE6
        for flags in (SYN, ACK):
            assert sieve.keeps(build_segment(client, online, 1025, 1026, 7, 9, flags, 1000)) == 0
    udp = _packet(INSIDE[0])[:9] + b"\x11" + _packet(INSIDE[0])[10:]
    assert [sieve.keeps(packet) for packet in (udp, udp[:15], b"", b"\x00" * 40)] == [0] * 4
    sieve.close()


def test_extension_headers_do_not_pass() -> None:
    """libpcap looks for ports right behind the IPv6 header, and so does the hash; whoever changes one changes both."""
    plain = _packet(INSIDE[2], flags=SYN)
    length = (len(plain) - 40 + 8).to_bytes(2, "big")
    routed = plain[:4] + length + bytes([0]) + plain[7:40] + bytes([6, 0, 1, 4, 0, 0, 0, 0]) + plain[40:]
    assert parse_segment(Segment(), routed) == 0
    sieve = Sieve(capture_code(_settings()))
    assert (sieve.keeps(plain), sieve.keeps(routed)) == (len(plain), 0)
    sieve.close()


@pytest.mark.parametrize("workers", [1, 3])
def test_fragments_of_tcp_pass_to_be_counted(workers: int) -> None:
    """First, middle and last ones, each to one worker, and no others; the parser names them."""
    ends = (INSIDE[0], 5000, ONLINE4, 1025)
    v4 = [hostile(f"{which} fragment", ends, 7, 9) for which in ("first", "middle", "last")]
    v6 = [hostile("fragment header", (INSIDE[2], 5000, ONLINE6, 1025), 7, 9)]
    sieves = [
        Sieve(make_filter(replace(_settings(), workers=workers, worker=number)).code(100)) for number in range(workers)
    ]
    for packet in v4 + v6:
        assert DROP_REASONS[parse_segment(Segment(), packet)] == "fragment"
        assert sum(sieve.keeps(packet) == len(packet) for sieve in sieves) == 1
    udp = [packet[:9] + b"\x11" + packet[10:] for packet in v4] + [v6[0][:40] + b"\x11" + v6[0][41:]]
    assert not any(sieve.keeps(packet) for packet in udp for sieve in sieves)
    for sieve in sieves:
        sieve.close()


def test_more_clients_than_the_kernel_checks() -> None:
    """The engine decides then, and only the sample is the kernel's."""
    many = [IPv6Network((number << 64, 64)) for number in range(MAX_NETWORKS + 1)]
    assert capture_code(_settings(clients=many)) == capture_code(_settings())
    assert capture_code(_settings(1, clients=many)) == capture_code(_settings(1))
    assert len(capture_code(_settings(clients=many[:100]))) > len(capture_code(_settings()))


def test_clients_that_are_too_many_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when there are few enough of them, but the program is longer than the kernel takes."""
    monkeypatch.setattr("copytool.io.capture_filter.MAX_NETWORKS", 1000)
    long = [ip_network((number << 100 | number << 64 | number << 32 | 1, 128)) for number in range(1, 601)]
    assert capture_code(_settings(1, clients=long)) == capture_code(_settings(1))


def test_everything_costs_nothing_more() -> None:
    """Without a sample and a selection the program is the expression's; each worker's adds its part only."""
    plain = capture_code(_settings())
    assert capture_code(replace(_settings(), workers=2)) != plain
    assert capture_code(_settings(100.0, clients=[])) == plain


def test_another_ratio_of_a_running_copy() -> None:
    """The program is the one that a copy would begin with, and the widest passes what any of them does."""
    settings = _settings(10, clients=CLIENTS)
    running = make_filter(settings)
    for ratio in (10, 50, 100):
        assert running.code(ratio) == capture_code(_settings(ratio, clients=CLIENTS))
    assert running.widest == capture_code(_settings())


def test_forwards_filter_is_that_of_a_copy_of_the_same_services() -> None:
    """What copy could not take in need not cross the network, and what it takes in does."""
    services = [(None, 1025), (ONLINE4, 80)]
    copy = replace(_settings(50, clients=CLIENTS), targets=dict.fromkeys(services, TARGET))
    assert CaptureFilter(services, CLIENTS).code(50) == capture_code(copy)


@pytest.mark.parametrize("port", [4789, 8472])
def test_what_carries_tunnels_passes(port: int) -> None:
    """UDP to VXLAN's port and GRE, of both versions of IP, whole; and nothing else, whatever the ratio."""
    tunnels = TunnelFilter(port)
    assert tunnels.code(1) == tunnels.code(100) == tunnels.widest
    sieve = Sieve(tunnels.widest)
    ip, ip6, inner = IP(dst="192.168.50.102"), IPv6(dst="fd50::102"), Raw(bytes(60_000))
    for outer in (ip, ip6):
        vxlan, other = outer / UDP(dport=port) / inner, outer / UDP(sport=port, dport=port + 1) / inner
        for packet in (vxlan, outer / GRE() / inner):
            assert sieve.keeps(bytes(packet)) == len(packet)
        for packet in (other, outer / TCP(dport=port) / inner):
            assert sieve.keeps(bytes(packet)) == 0
    sieve.close()
