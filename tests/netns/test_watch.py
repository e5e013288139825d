"""The packet observer of the network tests: it reports each kind of violation, so its silence means something."""

from __future__ import annotations

import json

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from .hosts import Network, wait_until
from .taps import send_frame
from .watch import Watch

MIRRORED = IP(src="192.168.60.7", dst="192.168.50.101")
MIRRORED6 = IPv6(src="fd60::7", dst="fd50::101")
REAL = IP(src="192.168.50.200", dst="192.168.50.101")
SYN = TCP(sport=4000, dport=1025, flags="S")
SYN_ACK = TCP(sport=1025, dport=4000, flags="SA")
ONLINE_LEAKS, STRANGER = "client network leaves online", "online sends to a stranger"
SERVICE = "a real client reaches the target's service"

VIOLATIONS = [
    # from, to, packet, what is reported
    ("online", "target", MIRRORED / TCP(dport=22), {ONLINE_LEAKS, "client network reaches target", STRANGER}),
    ("online", "target", MIRRORED / UDP(dport=1025), {ONLINE_LEAKS, "client network reaches target", STRANGER}),
    ("online", "target", MIRRORED6 / TCP(dport=22), {ONLINE_LEAKS, "client network reaches target", STRANGER}),
    ("online", "client", MIRRORED / SYN, {"client network reaches client"}),
    ("online", "assistant", MIRRORED / SYN, {"client network reaches assistant"}),
    ("online", "client", IP(src="192.168.50.101", dst="192.168.60.7") / SYN_ACK, None),
    ("online", "client", IP(src="192.168.50.10", dst="192.168.50.201") / TCP(dport=80), {STRANGER}),
    ("online", "client", IP(src="192.168.50.10", dst="192.168.50.200") / ICMP(), {STRANGER}),
    ("online", "target", IP(src="192.168.50.10", dst="192.168.50.101") / SYN, {STRANGER}),
    ("online", "target", IP(src="192.168.50.10", dst="192.168.50.101") / SYN_ACK, {STRANGER}),
    ("online", "assistant", IP(src="192.168.50.10", dst="192.168.50.102") / TCP(dport=22), {STRANGER}),
    ("client", "target", REAL / SYN, {SERVICE}),
    ("client", "target", IP(src="10.1.2.3", dst="192.168.50.101") / SYN, {SERVICE}),
    ("client", "target", IPv6(src="fd50::200", dst="fd50::101") / SYN, {SERVICE}),
    ("client", "online", MIRRORED / SYN, {"client network leaves client", "client network reaches online"}),
    ("client", "online", MIRRORED6 / SYN, {"client network leaves client", "client network reaches online"}),
    ("assistant", "online", IP(src="192.168.50.101", dst="192.168.60.7") / SYN_ACK, None),
    ("assistant", "online", IPv6(src="fd50::101", dst="fd60::7") / SYN_ACK, None),
    ("assistant", "target", MIRRORED / SYN, {"client network leaves assistant"}),
    ("target", "online", IP(src="192.168.50.101", dst="192.168.60.7") / SYN_ACK, {"client network reaches online"}),
    ("target", "client", IPv6(src="fd50::101", dst="fd60::7") / SYN_ACK, {"client network reaches client"}),
    (
        *("target", "assistant", IP(src="192.168.60.9", dst="192.168.60.7") / SYN_ACK),
        {"client network leaves target", "client network reaches assistant"},
    ),
]

ALLOWED = [
    ("online", "target", MIRRORED / SYN),
    ("online", "target", MIRRORED6 / SYN),
    ("online", "client", IP(src="192.168.50.10", dst="192.168.50.200") / SYN_ACK),
    ("online", "assistant", IP(src="192.168.50.10", dst="192.168.50.102") / TCP(dport=36524)),
    ("target", "assistant", IP(src="192.168.50.101", dst="192.168.60.7") / SYN_ACK),
    ("target", "assistant", IPv6(src="fd50::101", dst="fd60::7") / SYN_ACK),
    ("client", "online", IP(src="192.168.50.200", dst="192.168.50.10") / SYN),
]


def _mac(network: Network, host: str) -> str:
    return json.loads(network.hosts[host].run("ip", "-json", "link", "show", "ens18").stdout)[0]["address"]


def _send(network: Network, sender: str, receiver: str, packet: Packet) -> None:
    frame = Ether(src=_mac(network, sender), dst=_mac(network, receiver)) / packet
    send_frame(network.hosts[sender].namespace, "ens18", bytes(frame))


def _expected(sender: str, receiver: str, names: set[str] | None) -> set[str]:
    """None stands for both ends' rules, and online's about strangers."""
    if names is not None:
        return names
    ends = {f"client network leaves {sender}", f"client network reaches {receiver}"}
    return ends | {STRANGER} if sender == "online" else ends


@pytest.mark.watch(off="sends every violation on purpose")
def test_each_violation_is_reported(network: Network) -> None:
    """One forged packet of each kind makes exactly the rules speak that it breaks, with the packet as evidence."""
    for sender, receiver, packet, names in VIOLATIONS:
        watch = Watch(network)
        _send(network, sender, receiver, packet)
        expected = _expected(sender, receiver, names)
        what = f"{sender} to {receiver}, {packet.summary()}, breaks {expected}"
        wait_until(lambda watch=watch, expected=expected: set(watch.violations()) >= expected, what, 5)
        assert set(watch.violations()) == expected, what
        watch.close()


def test_allowed_packets_are_not_reported(network: Network) -> None:
    """Ordinary packets of each allowed kind break no rule, and mirrored SYNs are counted."""
    for sender, receiver, packet in ALLOWED:
        _send(network, sender, receiver, packet)
        assert network.watch.violations() == {}, f"{sender} to {receiver}: {packet.summary()}"
    wait_until(lambda: network.watch.mirrored_syns() == 2, "both mirrored SYNs are counted", 5)


@pytest.mark.watch(off="sends a violation on purpose")
def test_a_new_interface_is_watched(network: Network) -> None:
    """A host whose interface was removed and made again is observed as before."""
    network.remove_interface("online")
    network.add_interface("online")
    _send(network, "client", "online", MIRRORED / SYN)
    wait_until(lambda: "client network reaches online" in network.watch.violations(), "the packet is reported", 5)
    found = network.watch.violations()["client network reaches online"]
    assert found[0] == "1 packets"
