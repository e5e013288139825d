"""Packets made to break a reader, sent to the daemons for real: counted by name, and the sessions stay exact."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from support.hostile import IPV4, hostile

from .exactness import assert_exact
from .hosts import ENVIRONMENT, Host, Network, wait_until

SENDER = Path(__file__).parent / "programs" / "send_packets.py"
CLIENT, ONLINE, TARGET, MIRROR = (bytes((192, 168, *end)) for end in ((50, 200), (50, 10), (50, 101), (60, 7)))
UNSENT = {
    "cut inside the IP header", "cut before the TCP header", "cut inside the TCP header", "cut inside the TCP options",
    "length inside the headers",
}  # fmt: skip
"""What bridges with netfilter, like this one, do not forward, or cut to its length."""

UNRECOGNISED = {"IHL 0", "IHL 4", "IHL 15 beyond the packet"}
"""What no packet filter finds a port in: the kernel does not hand it to anybody."""

LATER_FRAGMENTS = {"middle fragment", "last fragment"}
"""They have no ports; copy's own filter passes them all the same, -F 'src port 1025' does not."""


def _send(sender: Host, receiver: Host, packets: list[bytes]) -> None:
    (link,) = json.loads(receiver.run("ip", "-j", "link", "show", "ens18").stdout)
    subprocess.run(
        sender.command(sys.executable, SENDER, link["address"]),
        input="".join(f"{packet.hex()}\n" for packet in packets), text=True, check=True, timeout=60, env=ENVIRONMENT,
    )  # fmt: skip


@pytest.mark.watch(off="it sends what nobody may send")
def test_hostile_packets(network: Network) -> None:
    """A hundred of each kind to the online host and to the assistant, between sessions that arrive whole."""
    network.start_mirror()
    reports = [network.drive("--sessions", 20, "--seed", 1)]
    kinds = [what for what, _ in IPV4 if what not in UNSENT]
    to_copy = [(what, reason) for what, reason in IPV4 if what not in UNSENT | UNRECOGNISED]
    to_intercept = [(what, reason) for what, reason in to_copy if what not in LATER_FRAGMENTS]
    packets = [hostile(what, (CLIENT, 40000, ONLINE, 1025), 7, 9) for what in kinds] * 100
    _send(network.client, network.online, packets)
    packets = [hostile(what, (TARGET, 1025, MIRROR, 1025), 7, 9) for what in kinds] * 100
    _send(network.target, network.assistant, packets)

    def counted() -> bool:
        dropped = network.online.status()["packets"]["dropped"]
        responses = network.assistant.status()["responses"]
        return dropped["fragment"] >= 300 and responses["fragment"] >= 100

    wait_until(counted, "copy and intercept have counted the last packets")
    reports.append(network.drive("--sessions", 20, "--seed", 2))
    status = assert_exact(network, *reports)
    dropped = {reason: count for reason, count in status["packets"]["dropped"].items() if count}
    assert dropped == {reason: 100 * count for reason, count in Counter(reason for _, reason in to_copy).items()}
    responses = network.assistant.status()["responses"]
    for reason, count in Counter(reason for _, reason in to_intercept).items():
        assert responses[reason] == 100 * count, reason
    assert responses["no_owner"] == responses["foreign_source"] == 0
