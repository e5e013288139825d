"""Nothing of the mirrored sessions may come near the online service or its clients.

Where answers end at the target itself they come in on its loopback, and leave it nowhere.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from support.mirror import Mirror
from support.topology import Topology
from support.waiting import wait_until
from testinfra.host import Host

_numbers = itertools.count()


class Sniffer:
    """tcpdump on a host's interface, counting what arrives, or leaves, and fits a filter."""

    def __init__(self, host: Host, interface: str, pcap_filter: str, direction: str) -> None:
        self._host = host
        self._interface = interface
        self._filter = pcap_filter
        self._direction = direction
        self._unit = f"copytool-test-sniffer-{next(_numbers)}"
        self._file = f"/run/{self._unit}.pcap"

    def start(self) -> None:
        command = "systemd-run --quiet --unit=%s tcpdump -Z root -Q %s -n -U -i %s -w %s %s"
        words = (self._unit, self._direction, self._interface, self._file, self._filter)
        self._host.check_output(command, *words)
        wait_until(self._listening, 10, f"tcpdump listens on {self._interface}")

    def _listening(self) -> bool:
        return "listening on" in self._host.check_output("journalctl --no-pager -o cat -u %s", self._unit)

    def stop(self) -> list[str]:
        """End the capture; returns one line a packet."""
        self._host.run("systemctl stop %s", self._unit)
        lines = self._host.check_output("tcpdump -nr %s 2>/dev/null", self._file).splitlines()
        self._host.run("rm -f %s", self._file)
        return lines


@contextmanager
def sniffing(
    mirror: Mirror, name: str, pcap_filter: str, interface: str = "", direction: str = "in"
) -> Iterator[list[str]]:
    """Captures on a host inside the block, on its interface towards the others if none is named; afterwards the list
    holds the packets."""
    sniffer = Sniffer(mirror.hosts[name], interface or mirror.interface(name), pcap_filter, direction)
    packets: list[str] = []
    sniffer.start()
    try:
        yield packets
    finally:
        packets += sniffer.stop()


@contextmanager
def sniffing_all(
    mirror: Mirror,
    names: Iterable[str],
    pcap_filter: str,
    interfaces: Mapping[str, str] | None = None,
    direction: str = "in",
) -> Iterator[dict[str, list[str]]]:
    """Captures on several hosts, on their interfaces towards the others if none are named; the packets by host."""
    own = interfaces or {}
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(sniffing(mirror, name, pcap_filter, own.get(name, ""), direction))
            for name in names
        }


def ends_of_answers(topology: Topology) -> dict[str, str]:
    """The interface where each assistant gets answers, if that is not the one towards the others."""
    return {name: "lo" for name in topology.names["assistant"] if topology.ends_at(name)}


def any_network(topology: Topology, direction: str = "") -> str:
    """A filter for packets of the client network."""
    return " or ".join(f"{direction} net {network}" for network in topology.client_networks.values())


def test_no_packet_for_the_client_network_reaches_online_or_client(mirror: Mirror, topology: Topology) -> None:
    """online does send packets *from* the client network, to the target; none may come in for it."""
    to_network = any_network(topology, "dst")
    ended = [name for name in topology.names["target"] if topology.ends_at(name)]
    with (
        sniffing_all(mirror, topology.bystanders, to_network) as at,
        sniffing_all(mirror, ended, to_network, direction="out") as left,
        sniffing_all(mirror, topology.names["assistant"], to_network, ends_of_answers(topology)) as answers,
    ):
        passage = mirror.pass_sessions(sessions=100)
    assert passage.outcomes["mirrored"] == 100
    count = sum(map(len, answers.values()))
    assert count >= 100, "the sniffer itself does not work, or answers take another way"
    assert [packet for packets in (*at.values(), *left.values()) for packet in packets] == []


def test_answers_reach_the_assistant_of_their_part_of_the_client_network_only(
    mirror: Mirror, topology: Topology
) -> None:
    for online, network in topology.client_networks.items():
        interfaces = ends_of_answers(topology)
        with sniffing_all(mirror, topology.names["assistant"], f"dst net {network}", interfaces) as at:
            passage = mirror.pass_sessions(sessions=40)
        assert passage.outcomes["mirrored"] == 40
        assert [name for name, packets in at.items() if packets] == [topology.assistants[online]]


def test_no_packet_of_the_client_network_reaches_a_bystander(mirror: Mirror, topology: Topology) -> None:
    with sniffing_all(mirror, topology.bystanders, any_network(topology)) as at:
        mirror.pass_sessions(sessions=50)
    assert [packet for packets in at.values() for packet in packets] == []


def test_online_resets_no_session_of_its_clients(mirror: Mirror, topology: Topology) -> None:
    """Where the client is the assistant, the target may reset what it has been sent from the client network."""
    unfit = f"not ({any_network(topology, 'dst')}) and (tcp[tcpflags] & tcp-rst != 0 or icmp)"
    with sniffing(mirror, topology.names["client"][0], unfit) as packets:
        passage = mirror.pass_sessions(sessions=100)
    assert passage.driven.errors == []
    assert packets == []
