"""Ways in which packets come to a copy on the assistant: a switch's mirror port, tunnels, and `copytool forward`."""

from __future__ import annotations

import sys
from pathlib import Path

from copytool.io.settings import TlsFiles

from .hosts import INTERCEPT, Network, ip, output, wait_until
from .topologies import set_offloads

TUNNEL = Path(__file__).with_name("programs") / "tunnel.py"
SWITCH = "192.168.50.250"
MAPPING = "192.168.50.10:1025-192.168.50.101:1025"
FED_COPY = f"copy -x {MAPPING} -s 127.0.0.1 -c 192.168.60.x"
FORWARD = "forward -x 1025 -s 192.168.50.102"
FEED_PORT = 36525


def copy_on_assistant(network: Network) -> None:
    """From now on copy runs on the assistant, and online must send nothing but answers."""
    network.copy_on_assistant()
    network.watch.expect(senders=("assistant",), links=(FEED_PORT,))


def mirror_port(network: Network) -> str:
    """Have the switch copy all frames on online's port to a second interface of the assistant; return its name."""
    switch, assistant = network.switch.namespace, network.assistant.namespace
    ip("-n", switch, "link", "add", "span", "type", "veth", "peer", "name", "ens19", "netns", assistant)
    ip("-n", switch, "link", "set", "span", "up")
    ip("-n", assistant, "link", "set", "ens19", "up")
    _copy_frames(network, ("ingress", "egress"), "span")
    return "ens19"


def vxlan(network: Network, mtu_bytes: int = 1400) -> None:
    """Have the switch send frames for online to the assistant, in VXLAN as clouds do."""
    _make_room(network, mtu_bytes)
    switch = network.switch.namespace
    ip("-n", switch, "link", "add", "vx0", "type", "vxlan", "id", "7", "remote", "192.168.50.102", "dstport", "4789",
       "local", SWITCH)  # fmt: skip
    ip("-n", switch, "link", "set", "vx0", "up")
    _copy_frames(network, ("egress",), "vx0")


def gre(network: Network, kind: str) -> None:
    """Have the switch send frames for online to the assistant in GRE."""
    _make_room(network)
    child = network.switch.start(sys.executable, TUNNEL, "online", kind, SWITCH, "192.168.50.102")
    wait_until(lambda: "ready" in output(child), "frames are mirrored")


def _copy_frames(network: Network, directions: tuple[str, ...], device: str) -> None:
    network.switch.run("tc", "qdisc", "add", "dev", "online", "clsact")
    for direction in directions:
        words = ("tc", "filter", "add", "dev", "online", direction, "protocol", "all", "u32", "match", "u32", "0", "0")
        network.switch.run(*words, "action", "mirred", "egress", "mirror", "dev", device)


def _make_room(network: Network, mtu_bytes: int = 1400) -> None:
    """Give the switch an address, and keep packets so small that they fit into others, unless it is said otherwise."""
    switch = network.switch
    switch.run("ip", "address", "add", f"{SWITCH}/24", "dev", "br0")
    for name in ("client", "online"):
        network.hosts[name].run("ip", "link", "set", "ens18", "mtu", str(mtu_bytes))
        set_offloads(network.hosts[name], "ens18", "off")
        set_offloads(switch, name, "off")


def start_fed_mirror(network: Network, options: str, intercept: str = INTERCEPT) -> None:
    """Start intercept and a copy on the assistant, with `options` behind those that it needs anyhow."""
    network.start_mirror(f"{FED_COPY} {options}", intercept)


def start_forward(network: Network, command: str = FORWARD) -> None:
    """Start forward on online, and wait for its link."""
    network.online.start(*network.online.copytool(command))
    wait_for_forward(network)


def wait_for_forward(network: Network) -> None:
    """Wait until forward's link is established."""

    def linked() -> bool:
        status = network.online.status()
        return bool(status) and status["link"][0]["state"] == "established"

    wait_until(linked, "forward's link is established")


def with_tls(files: TlsFiles) -> str:
    """Return the options for a link with these certificates."""
    return f"--tls-cert {files.certificate} --tls-ca {files.authority}"


def complaints(network: Network) -> str:
    """Return how often the assistant has told others by ICMP that something of theirs reaches nobody."""
    return network.assistant.run("nstat", "-asz", "IcmpOutDestUnreachs").stdout.split()[-2]


def slow_down(network: Network, rate: str) -> None:
    """Let no more than that through to the assistant; all else passes as ever."""
    network.switch.run("tc", "qdisc", "add", "dev", "assistant", "root", "tbf", "rate", rate, "burst", "20kb",
                       "latency", "50ms")  # fmt: skip


def speed_up(network: Network) -> None:
    """Undo slow_down()."""
    network.switch.run("tc", "qdisc", "del", "dev", "assistant", "root")
