"""Two hosts, or one, set up by the commands that docs/topologies.md gives, word by word."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from .hosts import ECHO_SERVER, ROOT, Host, Network

__all__ = ["Topology", "documented", "one_host", "two_hosts"]

_COMMAND = re.compile(r"^(\w+)# +(.*)$", re.MULTILINE)


def documented(heading: str, block: int = 0) -> list[tuple[str, str]]:
    """The commands of a code block below a heading: host, and what is typed there."""
    text = (ROOT / "docs/topologies.md").read_text()
    section = re.split(r"^## ", text, flags=re.MULTILINE)
    (own,) = [part for part in section if part.startswith(f"{heading}\n")]
    blocks = [found for found in map(_COMMAND.findall, own.split("```")[1::2]) if found]
    return blocks[block]


@dataclass
class Topology:
    """A network whose answers end at the target itself.

    target: the host where the test copy runs. intercept: the same host, for the daemon there.
    """

    network: Network
    target: Host
    intercept: Host
    copy_line: str
    intercept_line: str

    def start_mirror(self, copy: str = "", intercept: str = "") -> None:
        """Start intercept, then copy, by the documented lines or others, and wait for the link."""
        self.intercept.start(*self.intercept.copytool(intercept or self.intercept_line))
        self.network.wait_listening("intercept", 36524)
        self.network.online.start(*self.network.online.copytool(copy or self.copy_line))
        self.network.wait_for_link()


def two_hosts(network: Network) -> Topology:
    """online and target; intercept runs on the target."""
    network.start_services()
    network.target.run("ip", "route", "delete", "192.168.60.0/24")
    network.target.run("ip", "-6", "route", "delete", "fd60::/64")
    network.watch.expect(assistants=("192.168.50.101", "fd50::101"), ends_at_target=True)
    return _topology(network, network.target, "Two hosts", "fd50::101")


def one_host(network: Network) -> Topology:
    """online alone; the test copy listens on 1026."""
    for name, port in (("online", 1025), ("target", 1026)):
        network.online.start(sys.executable, ECHO_SERVER, "--port", port, "--log", network.session_log(name))
        network.wait_listening("online", port)
    network.watch.expect(
        targets=("192.168.50.10", "fd50::10", "127.0.0.1"),
        assistants=("192.168.50.10",),
        ends_at_target=True,
        one_host=True,
    )
    return _topology(network, network.online, "One host", "fd50::10")


def _topology(network: Network, target: Host, heading: str, address: str) -> Topology:
    """Take the set-up's commands, for both versions of IP, and keep the daemons' for later."""
    lines = dict(_set_up(target, documented(heading)))
    ipv6 = [(host, line.replace("fd50::101", address)) for host, line in documented("Two hosts", 1)]
    assert not dict(_set_up(target, ipv6))
    scratch = target.scratch.with_name("intercept")
    scratch.mkdir()
    intercept = network.hosts["intercept"] = Host(target.namespace, scratch)
    return Topology(network, target, intercept, lines["copy"], lines["intercept"])


def _set_up(target: Host, commands: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Run what is no copytool; yield which daemon each of the others starts, and its line for Host.copytool()."""
    for _host, line in commands:
        words = shlex.split(line)
        if words[0] == "copytool":
            kept = [word for word in words[1:] if word not in ("-d", "--plain")]
            yield kept[0], "|".join([kept[0], *kept[1:]])
        else:
            target.run("sh", "-c", line)
