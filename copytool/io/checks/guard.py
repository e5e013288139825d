"""Where answers end on the target itself: whether none could leave if the route got lost, and who else takes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ...link.share import Network
from ...wire.address import format_address
from .firewall import Packet, read_ruleset, suspects
from .host import LOOPBACK
from .network import arrival_interfaces
from .result import Result, failed, ok, warning

__all__ = ["check_guard"]

_TABLE = "nft add table inet mirror_route; nft add chain inet mirror_route"


def check_guard(
    networks: Sequence[Network], ranges: Sequence[tuple[bytes, int]], services: Sequence[tuple[bytes, int]]
) -> Iterator[Result]:
    """Whether nft rules drop what goes to the client networks out of any interface but the loopback.

    networks, ranges: as in copy's settings. services: address and port of each target that is this host's.
    """
    ruleset = read_ruleset()
    for network, (first, _count) in zip(networks, ranges, strict=True):
        for target, port in services:
            if len(target) == len(first):
                answer = (format_address(target), port, format_address(first))
                yield _check(ruleset, network, answer)
                break


def _check(ruleset: dict[str, Any], network: Network, answer: tuple[str, int, str]) -> Result:
    subject = str(network)
    address = "ip6" if network.version == 6 else "ip"
    if network.version == 6 and not _drops(ruleset, ("prerouting",), LOOPBACK, answer):
        cause = "what comes in on the loopback is this host's own: the kernel answers the target by itself, with RSTs"
        chain = "arrive '{ type filter hook prerouting priority -450; }'"
        rule = f"arrive iifname {LOOPBACK} {address} daddr {network} drop"
        fix = f"{_TABLE} {chain}; nft add rule inet mirror_route {rule}"
        return failed("guard", "the kernel takes answers for its own", cause, fix, subject)
    names = arrival_interfaces([""])
    open_ones = [name for name in names if not _drops(ruleset, ("output", "postrouting"), name, answer)]
    if open_ones:
        cause = "no nft rule stops answers from leaving there, should the route get lost: they would go to real hosts"
        chain = "leave '{ type filter hook postrouting priority 300; }'"
        rule = f"leave {address} daddr {network} oifname != {LOOPBACK} drop"
        fix = f"{_TABLE} {chain}; nft add rule inet mirror_route {rule}; playbooks/routes.yml makes it last"
        return warning("guard", f"{', '.join(open_ones)} not guarded", cause, fix, subject)
    return ok("guard", f"answers cannot leave on {', '.join(names)}", subject)


def _drops(ruleset: dict[str, Any], hooks: tuple[str, ...], interface: str, answer: tuple[str, int, str]) -> bool:
    """Return whether a rule is certain to drop a target's answer in one of these hooks."""
    target, port, mirror = answer
    packet = Packet(hooks, interface, target, port, mirror, 40000, False)
    return any(suspect.certain and suspect.verdict == "drop" for suspect in suspects(ruleset, packet))
