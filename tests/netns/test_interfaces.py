"""Interfaces that go down, come back, or are replaced while the daemons capture on them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .hosts import COPY, Host, Network, wait_until

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def _daemon_pid(host: Host) -> int:
    """Return the pid of the last command started on a host; `ip netns exec` became that command."""
    return host._children[-1].pid


def _cpu_s(pid: int) -> float:
    """Return the user and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def _sessions_arrive(network: Network) -> None:
    arrived = len(network.sessions_of("target"))
    assert network.drive("--sessions", 50)["errors"] == []
    network.wait_for_sessions("target", arrived + 50)
    assert network.multiset("target") == network.multiset("online")


@pytest.mark.parametrize(("name", "workers"), [("online", 1), ("online", 2), ("assistant", 1)])
def test_interface_down_and_up(network: Network, name: str, workers: int) -> None:
    """A daemon whose interface is down says so, does not spin, and goes on by itself."""
    network.start_mirror(f"{COPY} -i ens18 --workers {workers}")
    _sessions_arrive(network)
    host = network.hosts[name]
    host.run("ip", "link", "set", "ens18", "down")
    wait_until(lambda: host.status()["capture"]["problems"], "the daemon notices")
    pid = _daemon_pid(host)
    before = _cpu_s(pid), os.times().elapsed
    wait_until(lambda: os.times().elapsed - before[1] > 2, "two seconds pass")
    share = (_cpu_s(pid) - before[0]) / (os.times().elapsed - before[1])
    assert share < 0.2, f"the daemon uses {share:.0%} of a core with its interface down"
    host.run("ip", "link", "set", "ens18", "up")
    wait_until(lambda: not host.status()["capture"]["problems"], "the daemon captures again", 10)
    network.wait_for_link()
    _sessions_arrive(network)


@pytest.mark.parametrize(("name", "workers"), [("online", 1), ("online", 2), ("assistant", 1)])
def test_interface_removed_and_made_again(network: Network, name: str, workers: int) -> None:
    """A new interface of the same name, which has another index, is captured on."""
    network.start_mirror(f"{COPY} -i ens18 --workers {workers}")
    _sessions_arrive(network)
    network.remove_interface(name)
    network.add_interface(name)
    wait_until(lambda: not network.hosts[name].status()["capture"]["problems"], "the daemon captures again", 10)
    network.wait_for_link()
    _sessions_arrive(network)
