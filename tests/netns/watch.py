"""Watches every link of a test network for packets that copytool must never send or cause.

Each rule is a kernel filter on the switch's end of one host's cable that only a violation passes, so the traffic of a
test is neither copied nor slowed. A count of mirrored SYNs shows that the observer sees anything at all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .hosts import Network
from .taps import Tap

_CLIENT_NETWORKS = ("192.168.60.0/24", "fd60::/64")


def _any(words: str, values: tuple[object, ...]) -> str:
    """Return an expression: `words` holds for one of the values."""
    return "(" + " or ".join(f"{words} {value}" for value in values) + ")"


@dataclass(frozen=True)
class Expectations:
    """What is allowed in a test."""

    services: tuple[int, ...] = (1025,)
    """Ports of the mirrored service, online and at the target."""
    links: tuple[int, ...] = (36524,)
    """Ports where intercepts listen."""
    targets: tuple[str, ...] = ("192.168.50.101", "fd50::101")
    """Addresses of the target."""
    assistants: tuple[str, ...] = ("192.168.50.102", "fd50::102")
    """Addresses of the assistant."""
    onlines: tuple[str, ...] = ("192.168.50.10", "fd50::10")
    """Addresses of the online host."""
    senders: tuple[str, ...] = ("online",)
    """Hosts that copy runs on."""
    ends_at_target: bool = False
    """Whether answers end at the target itself: nothing to the client network may leave it."""
    one_host: bool = False
    """Whether the test copy is on the online host, too: nothing of the client network may be on any cable."""
    checks: bool = False
    """Whether the online host may ask the target and the assistant for themselves: ICMP, and connections."""

    def rules(self, host: str, mac: str) -> Iterator[tuple[str, str]]:
        """Yield (what went wrong, expression that only this matches) for the switch's end of a host's cable."""
        mirrored = f"(ip or ip6) and {_any('net', _CLIENT_NETWORKS)}"
        towards = f"outbound and (ether dst {mac} or ether multicast)"
        source, destination = _any("src net", _CLIENT_NETWORKS), _any("dst net", _CLIENT_NETWORKS)
        to_target = f"({source} and {_any('dst host', self.targets)} and {_any('tcp dst port', self.services)})"
        answer = f"({_any('src host', self.targets)} and {destination})"
        sent = "" if self.one_host else f" and not {to_target}"
        answered = "" if self.ends_at_target else f" and not {answer}"
        allowed_to = {"target": sent, "assistant": answered}
        allowed_from = dict.fromkeys(self.senders, sent) | {"target": answered}
        if host == "router":
            return  # it passes on what the rules of both ends' cables look at
        yield f"client network reaches {host}", f"{towards} and {mirrored}{allowed_to.get(host, '')}"
        yield f"client network leaves {host}", f"inbound and {mirrored}{allowed_from.get(host, '')}"
        if host == "target":
            known = f"{source} or {_any('src host', (*self.onlines, *self.assistants))}"
            yield (
                "a real client reaches the target's service",
                f"{towards} and {_any('tcp dst port', self.services)} and not ({known})",
            )
        if host == "online":
            link = f"({_any('dst host', self.assistants)} and {_any('tcp dst port', self.links)})"
            strange = f"{_any('dst host', self.targets)} or {destination}"
            response = f"({_any('tcp src port', self.services)} and not ({strange}))"
            mirror = f" and not {to_target}" if host in self.senders else ""
            own = f" and not ({_any('dst host', (*self.targets, *self.assistants))} and not {source})"
            yield (
                "online sends to a stranger",
                f"inbound and (ip or ip6) and not ether multicast and not icmp6"
                f"{mirror} and not {link} and not {response}{own if self.checks else ''}",
            )

    def control(self) -> str:
        """Return the expression for SYNs of mirrored sessions."""
        syn = "(tcp[tcpflags] & tcp-syn != 0 or (ip6[6] = 6 and ip6[53] & 2 != 0))"
        return f"outbound and {_any('src net', _CLIENT_NETWORKS)} and {_any('dst host', self.targets)} and {syn}"


class Watch:
    """The observers of one network."""

    def __init__(self, network: Network, **expectations: Any) -> None:
        self._network = network
        self._expectations = Expectations(**expectations)
        self._taps: list[tuple[str, Tap]] = []
        self._controls: list[Tap] = []
        self._attach_all()
        network.on_new_interface = self.attach

    def expect(self, **changes: Any) -> None:
        """Allow something else from now on; what the former rules have found stays found."""
        self._expectations = replace(self._expectations, **changes)
        self._attach_all()

    def _attach_all(self) -> None:
        former = len(self._taps)
        for name in self._network.hosts:
            self.attach(name)
        self._retire(former)

    def _retire(self, count: int) -> None:
        """Drop the first `count` observers that have found nothing."""
        kept = []
        for name, tap in self._taps[:count]:
            if tap.count():
                kept.append((name, tap))
            else:
                tap.close()
        self._taps[:count] = kept

    def attach(self, host: str) -> None:
        """Observe a host's cable; called again when the host gets a new interface."""
        shown = self._network.hosts[host].run("ip", "-json", "link", "show", "ens18").stdout
        mac = json.loads(shown)[0]["address"]
        switch = self._network.switch.namespace
        for name, expression in self._expectations.rules(host, mac):
            self._taps.append((name, Tap(switch, host, expression)))
        if self._expectations.one_host and host == "online":
            self._controls.append(Tap(self._network.online.namespace, "lo", self._expectations.control()))
        elif host == "target":
            self._controls.append(Tap(switch, host, self._expectations.control()))

    def violations(self) -> dict[str, list[str]]:
        """Return what went wrong, each with the first packets that show it."""
        found: dict[str, list[str]] = {}
        for name, tap in self._taps:
            if count := tap.count():
                found.setdefault(name, []).extend((f"{count} packets", *tap.summaries()))
        return found

    def mirrored_syns(self) -> int:
        """Return how many SYNs of mirrored sessions were on the target's cable, or on the one host's loopback."""
        return sum(tap.count() for tap in self._controls)

    def close(self) -> None:
        """Close all sockets."""
        for tap in (*(tap for _, tap in self._taps), *self._controls):
            tap.close()


@contextmanager
def watched_network(scratch: Path, off: str = "", **expectations: Any) -> Iterator[Network]:
    """Make the four hosts and remove them whatever happens; fail if a packet was sent that must never be.

    `off` is the reason for not looking at what the observers have found.
    """
    network = Network(scratch)
    violations: dict[str, list[str]] = {}
    try:
        network.create()
        network.watch = Watch(network, **expectations)
        yield network
        network.stop()
        violations = {} if off else network.watch.violations()
    finally:
        network.delete()
        if network.watch:
            network.watch.close()
    assert violations == {}, "packets that must never be sent"
