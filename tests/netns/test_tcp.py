"""Clients and services with TCP's rarer habits, with the real kernel at each end: the target reads what online read."""

from __future__ import annotations

import hashlib
import json
import random
import sys
from collections import Counter
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

from .hosts import COPY, INTERCEPT, Host, Network, output, wait_until

PROGRAMS = Path(__file__).parent / "programs"
pytestmark = pytest.mark.watch(services=(1025, 1026))

MIRROR = COPY.replace("1025-192.168.50.101:1025", "1026-192.168.50.101:1026")
LISTEN = INTERCEPT.replace("1025", "1026")


class Pair:
    """The same service at online and target, with these options."""

    def __init__(self, network: Network, online: str = "", target: str | None = None, copy: str = MIRROR) -> None:
        self.network, self.copy = network, copy
        self.go = network.client.scratch / "go"
        self.servers: dict[str, Popen[str]] = {}
        for name, words in {"online": online, "target": online if target is None else target}.items():
            program = [sys.executable, PROGRAMS / "tcp_server.py", *words.split()]
            self.servers[name] = network.hosts[name].start(*program)
            network.wait_listening(name, 1026)

    def mirrored(self) -> Pair:
        """Start the mirror."""
        self.network.start_mirror(self.copy, LISTEN)
        return self

    def play(self, name: str) -> None:
        """Run a client to its end."""
        self.network.client.run(sys.executable, PROGRAMS / "tcp_client.py", name)

    def start(self, name: str) -> Popen[str]:
        """Start a client that goes on when the file `go` exists."""
        client = self.network.client.start(sys.executable, PROGRAMS / "tcp_client.py", name, self.go)
        wait_until(lambda: "open" in output(client), f"client {name} is connected")
        return client

    def sessions(self, name: str) -> list[dict[str, object]]:
        """Return what the service on a host has logged."""
        return [json.loads(line) for line in output(self.servers[name]).splitlines()]

    def counted(self, name: str) -> Counter[str]:
        """Return the sessions of a host as a multiset."""
        return Counter(json.dumps(session, sort_keys=True) for session in self.sessions(name))

    def assert_exact(self, sessions: int, copies: int = 1, **outcomes: int) -> dict[str, dict[str, int]]:
        """Wait until all is mirrored, compare both ends, and return copy's status."""
        network = self.network
        wait_until(lambda: len(self.sessions("online")) == sessions, "online has read all")
        wait_until(lambda: len(self.sessions("target")) == sessions * copies, "the target has read all", 30)
        assert self.counted("target") == Counter({key: n * copies for key, n in self.counted("online").items()})
        status = wait_until(lambda: no_longer_active(network), "no session is active")
        found = {word: count for word, count in status["sessions"]["outcomes"].items() if count}
        assert found == (outcomes or {"mirrored": sessions * copies})
        assert status["imbalance"] == []
        return status


@pytest.mark.parametrize(
    "sysctls",
    [
        {"net.ipv4.tcp_sack": 0, "net.ipv4.tcp_timestamps": 0, "net.ipv4.tcp_window_scaling": 0},
        {"net.ipv4.tcp_ecn": 1, "net.ipv4.tcp_sack": 1, "net.ipv4.tcp_timestamps": 1},
        {"net.ipv4.tcp_timestamps": 2},
    ],
    ids=["no options", "ecn", "timestamps"],
)
@pytest.mark.parametrize("name", ["plain", "upload"])
def test_options_of_clients(network: Network, sysctls: dict[str, int], name: str) -> None:
    """Whatever the client's kernel offers, and the online host agrees to, the stream is the same."""
    for host in (network.client, network.online):
        host.run("sysctl", "-qw", *(f"{key}={value}" for key, value in sysctls.items()))
    pair = Pair(network).mirrored()
    pair.play(name)
    pair.assert_exact(1)


def test_numbers_that_wrap(network: Network) -> None:
    """A client whose sequence numbers pass 2**32 in its second request."""
    pair = Pair(network).mirrored()
    pair.play("wrap")
    pair.assert_exact(1)


def test_keep_alive_probes_are_no_data(network: Network) -> None:
    """The probes of an idle client, which repeat an old number, change nothing."""
    pair = Pair(network).mirrored()
    pair.play("keep_alive")
    pair.assert_exact(1)


@pytest.mark.parametrize("options", ["", "--inline"], ids=["out of band", "inline"])
def test_urgent_octets(network: Network, options: str) -> None:
    """The same octets are urgent at both hosts, and the stream without them is the same."""
    pair = Pair(network, options).mirrored()
    pair.play("urgent")
    pair.assert_exact(1)
    if not options:
        assert pair.sessions("target")[0]["urgent"] == [ord(octet) for octet in "!?#d"]


def test_fast_open(network: Network) -> None:
    """Data that comes with the SYN is mirrored once."""
    for host in (network.client, network.online):
        host.run("sysctl", "-qw", "net.ipv4.tcp_fastopen=3")
    pair = Pair(network).mirrored()
    pair.play("fast_open")
    pair.assert_exact(3)
    counters = network.online.run("nstat", "-asz", "TcpExtTCPFastOpenPassive").stdout
    assert int(counters.split("TcpExtTCPFastOpenPassive")[1].split()[0]) >= 1, "no SYN carried data"


def test_zero_window(network: Network) -> None:
    """A target that does not read for two seconds closes its window, and gets everything afterwards."""
    pair = Pair(network, "--silent", "--silent --pause 2 --buffer 4096").mirrored()
    pair.play("upload")
    status = pair.assert_exact(1)
    assert status["bytes"]["delivered"] == 3_000_000


def test_silly_window(network: Network) -> None:
    """A target that reads a hundred octets at a time into a tiny buffer gets them all, not in tiny packets."""
    pair = Pair(network, "", "--buffer 2048 --read 100 --read-pause 0.0001").mirrored()
    pair.play("plain")
    status = pair.assert_exact(1)
    assert status["mirror"]["segments_sent"] < 46_461 / 200


def test_ports_reused_while_the_mirror_still_closes(network: Network) -> None:
    """Connections from one port, one after the other, while the target has not begun to read the first ones."""
    pair = Pair(network, "", "--pause 0.5").mirrored()
    pair.play("reuse")
    pair.assert_exact(39)


def test_ports_reused_with_data(network: Network) -> None:
    """Each of the connections from one port is a session of its own, and exact."""
    pair = Pair(network).mirrored()
    pair.play("reuse")
    pair.assert_exact(39)


def test_collisions_in_a_small_client_network(network: Network) -> None:
    """Twenty clients with the same port share two addresses: the ports make the difference."""
    for last in range(210, 230):
        network.client.run("ip", "address", "add", f"192.168.50.{last}/24", "dev", "ens18")
    pair = Pair(network, copy=MIRROR.replace("192.168.60.x", "192.168.60.4/30")).mirrored()
    pair.play("same_port")
    pair.assert_exact(20)


def test_ten_copies(network: Network) -> None:
    """Each connection reaches the target ten times."""
    pair = Pair(network, copy=f"{MIRROR} -n 10").mirrored()
    for _ in range(5):
        pair.play("plain")
    pair.assert_exact(5, copies=10)


def filter_input(host: Host, rule: str) -> None:
    """Have a host's kernel, behind the capture, act on packets that match."""
    host.run("nft", "add table ip t; add chain ip t in { type filter hook input priority 0; }")
    host.run("nft", f"add rule ip t in {rule}")


def test_a_syn_that_is_sent_again(network: Network) -> None:
    """SYNs that online does not take at first make one session, not several."""
    pair = Pair(network).mirrored()
    filter_input(network.online, "tcp dport 1026 tcp flags syn drop")
    client = network.client.start(sys.executable, PROGRAMS / "tcp_client.py", "plain")
    wait_until(lambda: "count 2" in syns(network), "the SYN was sent again")
    network.online.run("nft", "delete table ip t")
    assert client.wait(20) == 0
    pair.assert_exact(1)


def syns(network: Network) -> str:
    """Return how many packets copy has captured, as text."""
    return f"count {network.online.status()['packets']['captured']}"


def test_simultaneous_close(network: Network) -> None:
    """Both ends close before either has the other's FIN."""
    pair = Pair(network, "--close-after 1000").mirrored()
    filter_input(network.client, "tcp sport 1026 tcp flags & fin == fin drop")
    client = pair.start("closing")
    states = ["ss", "-Htan", "sport = 1026"]
    wait_until(lambda: "FIN-WAIT-1" in network.online.run(*states).stdout, "online has closed")
    pair.go.touch()
    wait_until(lambda: "CLOSING" in network.online.run(*states).stdout, "both have closed")
    network.client.run("nft", "delete table ip t")
    assert client.wait(20) == 0
    pair.assert_exact(1)


def test_joined_midstream(network: Network) -> None:
    """A connection that was open before copy is joined at a request behind an answer, and exact from there."""
    pair = Pair(network, copy=f"{MIRROR} --join-midstream")
    client = pair.start("midstream")
    pair.mirrored()
    pair.go.touch()
    assert client.wait(20) == 0
    wait_until(lambda: pair.sessions("target"), "the target has read all")
    data = random.Random(7).randbytes(3_000_000)
    expected = b"".join(data[: turn * 1000] for turn in range(2, 6))
    assert pair.sessions("online")[0]["bytes"] == 16_000
    (session,) = pair.sessions("target")
    assert (session["bytes"], session["sha256"]) == (len(expected), hashlib.sha256(expected).hexdigest())
    status = wait_until(lambda: no_longer_active(network), "the session has ended")
    assert status["sessions"]["joined"] == status["sessions"]["outcomes"]["mirrored"] == 1
    assert status["sessions"]["seen"] == 1
    assert status["imbalance"] == []


def no_longer_active(network: Network) -> dict[str, Any]:
    """Return copy's status if no session is active, else nothing."""
    status = network.online.status()
    return {} if status["sessions"]["outcomes"]["active"] else status


def test_only_new_connections(network: Network) -> None:
    """With -O, as without any option, a connection that is open already is counted and left alone."""
    pair = Pair(network, copy=f"{MIRROR} -O")
    client = pair.start("midstream")
    pair.mirrored()
    pair.go.touch()
    assert client.wait(20) == 0
    wait_until(lambda: network.online.status()["sessions"]["outcomes"]["midstream_skipped"] == 1, "it is counted")
    assert network.online.status()["mirror"]["packets_sent"] == 0


def test_a_service_that_resets_its_client(network: Network) -> None:
    """copy does not see what online sends; the kernel tells that the connection is gone, and the mirror ends, too."""
    pair = Pair(network, "--close-after 1000 --reset", "", f"{MIRROR} --check-after 1").mirrored()
    pair.play("keep_alive")  # is open long enough to show that the kernel knows this service's connections
    pair.start("closing")
    status = wait_until(lambda: no_longer_active(network), "the mirror has ended")
    assert status["sessions"]["outcomes"]["mirrored"] == 2
    assert [session["end"] for session in pair.sessions("target")] == ["eof", "reset"]
