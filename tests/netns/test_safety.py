"""What copy leaves alone, and what it refuses: the production host and its network come first."""

from __future__ import annotations

import json

import pytest

from .hosts import COPY, Network, wait_until
from .taps import Tap


def _neighbours(network: Network) -> dict[str, tuple[str, list[str]]]:
    shown = json.loads(network.online.run("ip", "-json", "neighbour", "show", "dev", "ens18").stdout)
    return {entry["dst"]: (entry.get("lladdr", ""), entry["state"]) for entry in shown}


def test_neighbour_entries_made_on_purpose_stay_as_they_are(network: Network) -> None:
    """A permanent and an externally learnt entry of the target survive copy's own look-ups."""
    shown = json.loads(network.target.run("ip", "-json", "link", "show", "ens18").stdout)
    address = shown[0]["address"]
    add = ["ip", "neighbour", "add", "dev", "ens18", "lladdr", address]
    network.online.run(*add, "192.168.50.101", "nud", "permanent")
    network.online.run(*add, "fd50::101", "nud", "reachable", "extern_learn", "router")
    extern = network.online.run("ip", "-6", "neighbour", "show", "dev", "ens18").stdout
    assert "extern_learn" in extern
    mapping = "[fd50::10]:1025-[fd50::101]:1025,192.168.50.10:1025-192.168.50.101:1025"
    network.start_mirror(f"copy -x {mapping} -s 192.168.50.102 -c 192.168.60.x,fd60::/64")
    assert network.drive("--sessions", 20)["errors"] == []
    network.wait_for_sessions("target", 20)
    assert _neighbours(network)["192.168.50.101"] == (address, ["PERMANENT"])
    assert "extern_learn" in network.online.run("ip", "-6", "neighbour", "show", "dev", "ens18").stdout


def test_what_online_refuses_does_not_reach_the_target(network: Network) -> None:
    """With the online service down, clients' attempts open no session on the target."""
    network.start_mirror()
    service = network.online._children[0]
    service.terminate()
    service.wait(10)
    report = network.drive("--sessions", 50)
    assert len(report["errors"]) == 50
    wait_until(lambda: network.online.status()["capture"]["packets"] >= 50, "the SYNs were captured")
    status = network.online.status()
    assert (status["sessions"]["seen"], status["mirror"]["packets_sent"]) == (0, 0)


@pytest.mark.parametrize("mtu", [1400, 600])
def test_segments_fit_the_path(network: Network, mtu: int) -> None:
    """Sessions are exact when online's interface has a smaller MTU than the target's."""
    network.online.run("ip", "link", "set", "ens18", "mtu", mtu)
    network.start_mirror()
    assert network.drive("--sessions", 50)["errors"] == []
    network.wait_for_sessions("target", 50)
    assert network.multiset("target") == network.multiset("online")
    assert network.online.status()["send"]["errors"] == {}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (COPY.replace("-192.168.50.101", "-192.168.50.10"), "target 192.168.50.10 is an address of this host"),
        (COPY.replace("192.168.60.x", "192.168.50.0/26"), "192.168.50.10 is inside it, which is in use here"),
        (COPY.replace("192.168.60.x", "192.168.50.102"), "192.168.50.102 is inside it, which is in use here"),
    ],
)
def test_settings_that_would_hit_production_are_refused(network: Network, line: str, reason: str) -> None:
    """A mapping onto this host, and a client network that real hosts are in, end copy at start."""
    done = network.online.run(*network.online.copytool(line), check=False)
    assert done.returncode == 2
    assert reason in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_dry_run_sends_nothing(network: Network, workers: int) -> None:
    """Every connection is counted as one that would be mirrored, with its octets, also those that its client has sent
    twice; target and assistant hear nothing."""
    network.online.start(*network.online.copytool(f"{COPY} --dry-run --workers {workers}"))
    wait_until(network.online.status, "copy answers")
    taps = {name: Tap(network.hosts[name].namespace, "ens18", "tcp or udp") for name in ("target", "assistant")}
    assert network.drive("--sessions", 60)["errors"] == []
    network.wait_for_sessions("online", 60)
    octets = sum(session["bytes"] for session in network.sessions_of("online"))

    def counted() -> bool:
        status = network.online.status()
        return status["sessions"]["outcomes"]["dry_run"] == 60 and status["bytes"]["ignored"]["dry_run"] >= octets

    wait_until(counted, "all is counted")
    status = network.online.status()
    assert status["sessions"]["seen"] == 60
    assert (status["dry_run"], status["link"], status["imbalance"]) == (True, [], [])
    assert status["mirror"]["packets_sent"] == 0
    assert {name: tap.count() for name, tap in taps.items()} == {"target": 0, "assistant": 0}
    for tap in taps.values():
        tap.close()
