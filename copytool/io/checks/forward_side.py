"""The checks of an online host that only captures, for a copy on another one."""

from __future__ import annotations

from collections.abc import Iterator

from ..settings import ForwardSettings
from .capabilities import check_capabilities
from .certificates import check_certificate
from .daemon import Daemon, check_daemon, check_drops, find_daemon, judge_link
from .icmp import check_clock
from .network import arrival_interfaces, check_interfaces
from .offloads import check_offloads
from .rehearsal import rehearse_link
from .result import Result, ok, run, warning
from .traffic import check_traffic

__all__ = ["check_forward"]


def check_forward(settings: ForwardSettings, wait_s: float) -> Iterator[Result]:
    """Yield what is found; `wait_s`: how long to look for clients' packets."""
    daemon = find_daemon("forward", settings.control_socket)
    interfaces = settings.interfaces
    yield from run("daemon", check_daemon, daemon)
    yield from run("certificate", check_certificate, daemon, settings.tls)
    yield from run("capabilities", check_capabilities, daemon)
    yield from run("interface", check_interfaces, interfaces)
    yield from run("offloads", check_offloads, arrival_interfaces(interfaces))
    yield from run("traffic", check_traffic, settings.services, interfaces, daemon, wait_s)
    yield from run("drops", check_drops, daemon)
    yield from run("clock", check_clock, settings.copy[0])
    yield from run("link", _check_link, settings, daemon)
    yield from run("forwarded", _check_forwarded, daemon)


def _check_link(settings: ForwardSettings, daemon: Daemon) -> Result:
    """Whether copy takes this host's packets: what the daemon says, else what a connection for a moment does."""
    link = daemon.status["link"][0] if daemon.runs else rehearse_link(settings)
    return judge_link(link, peer_role="copy")


def _check_forwarded(daemon: Daemon) -> Iterator[Result]:
    """Whether packets had to be dropped because the link did not keep up."""
    if daemon.runs:
        dropped = daemon.status["forwarded"]["dropped"]["slow_link"]
        seen = f"{daemon.status['forwarded']['packets']:,} packets sent, {dropped:,} dropped for a slow link"
        if dropped:
            cause = "the link to copy, or copy itself, does not keep up: what is dropped ends sessions as capture_gap"
            yield warning("forwarded", seen, cause, "send less (-r, --clients), or give copy's host, or the way, more")
        else:
            yield ok("forwarded", seen)
