"""The checks of the assistant, in the order in which the target's answers pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_network

from ...errors import ConfigError
from ...link.share import Network
from ..bpf import compile_filter
from ..settings import InterceptSettings
from .arrivals import check_answers
from .capabilities import check_capabilities
from .certificates import check_certificate
from .daemon import Daemon, check_daemon, check_drops, check_peers, find_daemon
from .host import LOOPBACK
from .network import arrival_interfaces, check_client_network, check_conntrack, check_forwarding, check_interfaces
from .result import Result, failed, ok, run

__all__ = ["check_intercept"]


def check_intercept(settings: InterceptSettings, networks: Iterable[Network], wait_s: float) -> Iterator[Result]:
    """Yield what is found on the assistant.

    networks: client networks besides those that connected copies have announced. wait_s: how long to look for answers.
    """
    daemon = find_daemon("intercept", settings.control_socket)
    known = _announced(daemon) | set(networks)
    interfaces = arrival_interfaces(settings.interfaces)
    yield from run("daemon", check_daemon, daemon)
    yield from run("certificate", check_certificate, daemon, settings.tls)
    yield from run("capabilities", check_capabilities, daemon)
    yield from run("interface", check_interfaces, settings.interfaces)
    yield from run("client network", check_client_network, sorted(known, key=str))
    if interfaces == [LOOPBACK]:  # the target's own intercept
        yield ok("forwarding", "does not matter here: answers end on the loopback")
    else:
        yield from run("forwarding", check_forwarding, interfaces, {4, *(network.version for network in known)})
    yield ok("rp_filter", "does not matter here: intercept captures before it")
    yield from run("conntrack", check_conntrack)
    yield from run("filter", _check_filter, settings)
    yield from run("answers", check_answers, settings, daemon, wait_s)
    yield from run("drops", check_drops, daemon)
    yield from run("link", check_peers, daemon)


def _announced(daemon: Daemon) -> set[Network]:
    return {ip_network(text) for link in daemon.status.get("link", []) for text in link.get("client_networks", [])}


def _check_filter(settings: InterceptSettings) -> Result:
    try:
        compile_filter(settings.filter, 128)
    except ConfigError as error:
        return failed("filter", settings.filter, str(error), "see pcap-filter(7); for example 'tcp and src port 1025'")
    return ok("filter", settings.filter)
