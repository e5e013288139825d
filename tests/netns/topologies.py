"""Changes to the plain network of the tests: impaired cables, tags, routers, offloads."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

from .hosts import Host, Network, ip, output, wait_until

IMPAIRMENT = Path(__file__).with_name("impairment.py")
OFFLOADS = ("tso", "gso", "gro", "tx")


def set_offloads(host: Host, interface: str, state: str, features: tuple[str, ...] = OFFLOADS) -> None:
    """Switch an interface's offloads `on` or `off`."""
    words = [word for feature in features for word in (feature, state)]
    host.run("ethtool", "-K", interface, *words)


class Relay:
    """A running impairment, and what it has done once it is stopped."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self._child = child
        wait_until(lambda: "ready" in output(child), "frames are passed on")

    def stop(self) -> dict[str, Counter[str]]:
        """End it and return the counts of both directions, `to_host` and `to_switch`."""
        self._child.terminate()
        self._child.wait(10)
        counts = json.loads(output(self._child).splitlines()[-1])
        return {direction: Counter(count) for direction, count in counts.items()}


def impair(network: Network, name: str, **options: object) -> Relay:
    """Put the impairment into a host's cable, between the switch's end of it and the bridge."""
    switch, near, far = network.switch, f"{name}-a", f"{name}-b"
    ip("-n", switch.namespace, "link", "add", near, "type", "veth", "peer", "name", far)
    ip("-n", switch.namespace, "link", "set", name, "nomaster")
    for interface in (near, far):
        ip("-n", switch.namespace, "link", "set", interface, "addrgenmode", "none", "up")
    for interface in (name, near, far):
        set_offloads(switch, interface, "off")
    set_offloads(network.hosts[name], "ens18", "off")
    words = [word for key, value in options.items() for word in (f"--{key.replace('_', '-')}", value)]
    relay = Relay(switch.start(sys.executable, IMPAIRMENT, name, near, *words))
    ip("-n", switch.namespace, "link", "set", far, "master", "br0")
    return relay


def tag_frames(network: Network, name: str, vlan: int) -> list[Relay]:
    """Make a host's cable a trunk: its frames carry an 802.1Q tag on ens18, and ens18.TAG has the addresses.

    The VLAN interface is a veth pair and a process that takes tags off and puts them on, for kernels without 8021q.
    """
    host, device, inner = network.hosts[name], f"ens18.{vlan}", "trunk"
    shown = json.loads(host.run("ip", "-json", "address", "show", "ens18").stdout)[0]
    host.run("ip", "address", "flush", "dev", "ens18", "scope", "global")
    add = ("ip", "link", "add", device, "address", shown["address"], "type", "veth", "peer", "name", inner)
    host.run(*add)
    host.run("ip", "link", "set", inner, "addrgenmode", "none", "up")
    host.run("ip", "link", "set", device, "up")
    for interface in (device, inner):
        set_offloads(host, interface, "off")
    for address in shown["addr_info"]:
        if address["scope"] == "global":
            nodad = ("nodad",) if address["family"] == "inet6" else ()
            host.run("ip", "address", "add", f"{address['local']}/{address['prefixlen']}", "dev", device, *nodad)
    outer = impair(network, name, host_tag=vlan)
    return [outer, Relay(host.start(sys.executable, IMPAIRMENT, "ens18", inner, "--host-tag", vlan))]


def add_router(network: Network, assistant_too: bool) -> Host:
    """Move the target, perhaps with the assistant, to 192.168.51.0/24 and fd51::/64 behind a router.

    Routes of the client network lead from the target to the assistant, through the router where that is elsewhere.
    """
    switch = network.switch.namespace
    router = network.add_host("router", 1)
    ip("-n", switch, "link", "add", "br1", "type", "bridge")
    ip("-n", switch, "link", "set", "br1", "up")
    ip("-n", switch, "link", "add", "router1", "type", "veth", "peer", "name", "ens19", "netns", router.namespace)
    ip("-n", switch, "link", "set", "router1", "master", "br1", "up")
    for words in (("192.168.51.1/24",), ("fd51::1/64", "nodad")):
        router.run("ip", "address", "add", *words, "dev", "ens19")
    router.run("ip", "link", "set", "ens19", "up")
    router.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
    moved = ("target", "assistant") if assistant_too else ("target",)
    for name in moved:
        _move(network, name)
    for name in {"online", "assistant", "client"} - set(moved):
        network.hosts[name].run("ip", "route", "add", "192.168.51.0/24", "via", "192.168.50.1")
        network.hosts[name].run("ip", "route", "add", "fd51::/64", "via", "fd50::1")
    via = ("192.168.51.102", "fd51::102") if assistant_too else ("192.168.51.1", "fd51::1")
    network.target.run("ip", "route", "replace", "192.168.60.0/24", "via", via[0], "src", "192.168.51.101")
    network.target.run("ip", "route", "replace", "fd60::/64", "via", via[1], "src", "fd51::101")
    subnet = "51" if assistant_too else "50"
    router.run("ip", "route", "replace", "192.168.60.0/24", "via", f"192.168.{subnet}.102")
    router.run("ip", "route", "replace", "fd60::/64", "via", f"fd{subnet}::102")
    assistants = (f"192.168.{subnet}.102", f"fd{subnet}::102")
    network.watch.expect(targets=("192.168.51.101", "fd51::101"), assistants=assistants)
    return router


def _move(network: Network, name: str) -> None:
    """Give a host its addresses in the router's other subnet."""
    host = network.hosts[name]
    addresses = json.loads(host.run("ip", "-json", "address", "show", "ens18").stdout)[0]["addr_info"]
    host.run("ip", "address", "flush", "dev", "ens18", "scope", "global")
    for address in addresses:
        if address["scope"] == "global":
            local = address["local"].replace("192.168.50.", "192.168.51.").replace("fd50:", "fd51:")
            nodad = ("nodad",) if address["family"] == "inet6" else ()
            host.run("ip", "address", "add", f"{local}/{address['prefixlen']}", "dev", "ens18", *nodad)
    ip("-n", network.switch.namespace, "link", "set", name, "nomaster")
    ip("-n", network.switch.namespace, "link", "set", name, "master", "br1")
    host.run("ip", "route", "add", "192.168.50.0/24", "via", "192.168.51.1")
    host.run("ip", "route", "add", "fd50::/64", "via", "fd51::1")
