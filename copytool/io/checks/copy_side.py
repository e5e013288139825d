"""The checks of the online host, in the order of the hops: clients, copy, the target, the intercepts, the whole way."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from typing import Any

from ...errors import ConfigError, CopytoolError
from ...wire.address import format_address
from ..control import ask_daemon
from ..copy_daemon import check_addresses
from ..neighbours import NeighbourKeeper
from ..nexthop import NextHop, NextHopTable
from ..probe import GIVE_UP_S
from ..settings import CopySettings
from . import host
from .capabilities import check_capabilities
from .certificates import check_certificate
from .daemon import Daemon, check_daemon, check_drops, find_daemon, judge_link
from .feed import check_feed
from .icmp import check_clock, check_path_mtu
from .network import arrival_interfaces, check_conntrack, check_interfaces
from .offloads import check_offloads
from .rehearsal import rehearse
from .result import Result, failed, ok, run, skipped, warning
from .traffic import check_traffic

__all__ = ["check_copy"]

_NICER = 10  # the service that is mirrored comes first
_CONNECT_S = 2.0
_RESOLVE_S = 1.5
_POLL_S = 0.1


def check_copy(settings: CopySettings, wait_s: float, with_probe: bool) -> Iterator[Result]:
    """Yield what is found on the online host; `wait_s`: how long to look for clients' packets."""
    os.nice(_NICER)
    keeper = NeighbourKeeper()
    try:
        yield from _check_all(settings, keeper, wait_s, with_probe)
    finally:
        keeper.close()


def _check_all(settings: CopySettings, keeper: NeighbourKeeper, wait_s: float, with_probe: bool) -> Iterator[Result]:
    daemon = find_daemon("copy", settings.control_socket)
    interfaces = settings.interfaces
    yield from run("daemon", check_daemon, daemon)
    yield from run("certificate", check_certificate, daemon, settings.tls)
    yield from run("capabilities", check_capabilities, daemon)
    if settings.feed.is_own:
        yield from run("interface", check_interfaces, interfaces)
        yield from run("offloads", check_offloads, arrival_interfaces(interfaces))
        yield from run("traffic", check_traffic, list(settings.targets), interfaces, daemon, wait_s)
    else:
        yield from run("feed", check_feed, settings, daemon, wait_s)
    yield from run("drops", check_drops, daemon)
    yield from run("conntrack", check_conntrack)
    yield ok("rp_filter", "does not matter here: copy captures before it")
    yield from run("client network", _check_addresses, settings)
    hops: dict[bytes, NextHop] = {}
    yield from run("next hop", _check_next_hops, settings, keeper, hops)
    for address, hop in hops.items():
        mtu_bytes = min(settings.mirror.mtu_bytes, hop.mtu_bytes)
        yield from run("mtu", check_path_mtu, format_address(address), mtu_bytes)
    for text in dict.fromkeys([*map(format_address, hops), *(text for text, _ in settings.intercepts)]):
        yield from run("clock", check_clock, text)
    for address, port in sorted(set(settings.targets.values())):
        yield from run("port", _check_port, format_address(address), port)
    yield from run("probe", _check_links_and_probe, settings, keeper, daemon, with_probe)


def _check_addresses(settings: CopySettings) -> Result:
    """Whether copy would start with these addresses on this host."""
    try:
        check_addresses(settings, host.local_addresses())
    except ConfigError as error:
        cause, _, fix = str(error).partition("; ")
        return failed("client network", "is in use", cause, fix)
    names = ", ".join(map(str, settings.client_networks))
    return ok("client network", f"no address of this host, of a target or an intercept is in {names}")


def _check_next_hops(settings: CopySettings, keeper: NeighbourKeeper, hops: dict[bytes, NextHop]) -> Iterator[Result]:
    """Whether the kernel knows a route, and a link-layer address, to each target; fills `hops`."""
    targets = sorted({address for address, _ in settings.targets.values()})
    table = NextHopTable(targets, keeper, lambda _table: None, time.monotonic(), settings.allow_local_target)
    try:
        deadline = time.monotonic() + _RESOLVE_S
        while table.problems and time.monotonic() < deadline:
            time.sleep(_POLL_S)
            table.handle_timer(time.monotonic())
        hops.update(table.hops)
        for target in targets:
            text = format_address(target)
            if target in hops:
                hop = hops[target]
                link = hop.header[:6].hex(":") if hop.header else "no link layer"
                yield ok("next hop", f"{link} on {hop.interface}, MTU {hop.mtu_bytes}", text)
                continue
            problem = table.problems.get(text, "is not known")
            cause, _, fix = problem.partition("; ")
            default = f"ip route get {text}; give this host a route to the target"
            yield failed("next hop", "not known", f"{text}: {cause}", fix or default, text)
    finally:
        table.close()


def _check_port(address: str, port: int) -> Result:
    """Whether the target's service accepts a connection from this host's own address: a route back is not needed."""
    subject = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    try:
        with socket.create_connection((address, port), _CONNECT_S):
            return ok("port", "open", subject)
    except ConnectionRefusedError:
        cause = f"nothing listens on port {port} of the target, or a firewall there rejects it"
        fix = f"on the target: start the service; ss -ltn 'sport = {port}'"
        return failed("port", "refused", cause, fix, subject)
    except TimeoutError:
        cause = f"the target is down, or a firewall drops TCP port {port} from this host"
        fix = f"on the target: nft list ruleset; is it up, and is {address} its address?"
        return failed("port", f"no answer within {_CONNECT_S:g} s", cause, fix, subject)
    except OSError as error:
        cause = f"there is no way to the target: {error.strerror or error}"
        return failed("port", "not reached", cause, f"check the address {address} in -x, cable, VLAN, route", subject)


def _check_links_and_probe(
    settings: CopySettings, keeper: NeighbourKeeper, daemon: Daemon, with_probe: bool
) -> Iterator[Result]:
    """The links to all intercepts, and a session's handshake the whole way round."""
    if settings.mirror.dry_run:
        yield skipped("link", "--dry-run: copy connects to no intercept, and sends nothing")
        return
    if daemon.problem:
        yield skipped("link", "copy does not answer, and only it knows")
        return
    if daemon.runs:
        yield from (judge_link(link) for link in daemon.status["link"])
        if with_probe:
            yield from _probe_through(daemon)
        return
    try:
        result = rehearse(settings, keeper, with_probe)
    except ConfigError as error:  # about certificates; what else is wrong has been said above
        yield skipped("link", str(error))
        return
    yield from (judge_link(link) for link in result.links)
    if result.problem:
        yield skipped("probe", result.problem)
    yield from map(_judge_attempt, result.attempts)


def _probe_through(daemon: Daemon) -> Iterator[Result]:
    try:
        answer = ask_daemon(daemon.path, "probe")
        deadline = time.monotonic() + GIVE_UP_S + _CONNECT_S
        while not answer["done"] and time.monotonic() < deadline:
            time.sleep(_POLL_S / 2)
            answer = ask_daemon(daemon.path, "probe-result")
    except CopytoolError as error:
        yield skipped("probe", str(error).partition(f"{daemon.path}: ")[2] or str(error))
        return
    yield from map(_judge_attempt, answer["attempts"])


def _judge_attempt(attempt: dict[str, Any]) -> Result:
    """Return the result of a probe, from its entry in the answer to `probe-result`."""
    target, mirror, state = attempt["target"], attempt["mirror"], attempt["state"]
    sent = f"{attempt['sent']} SYN sent from {mirror}"
    data = {"state": state, "ended_at": time.time()}
    if state == "answered":
        return ok("probe", f"answered after {1000 * attempt['answer_s']:.1f} ms, from {mirror}", target, **data)
    if state == "refused":
        cause = "the whole way works, and the target refuses: nothing listens, or a firewall rejects there"
        fix = "on the target: start the service, or let its firewall accept the client network"
        return failed("probe", f"{sent}; RST through the assistant", cause, fix, target, **data)
    if state == "not_sent":
        fix = "see next hop above; is the interface up?"
        return failed("probe", "could not be sent", attempt["reason"], fix, target, **data)
    if state == "waiting":
        return warning("probe", "not over", "copy is too busy to answer", "try again", target, **data)
    cause = "the SYN, or its answer, is lost on the way from here to the target, to the assistant, into intercept"
    fix = "playbooks/check.yml finds where; or run `copytool check target` and `check intercept` there meanwhile"
    return failed("probe", f"{sent}; no answer through the assistant", cause, fix, target, **data)
