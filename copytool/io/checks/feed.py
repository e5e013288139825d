"""Whether a copy that is not on the online host is fed: by a mirror port, by tunnels, by `copytool forward`."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator

from ...wire.address import format_address
from ...wire.segment import Segment, parse_segment
from ...wire.tunnel import inner_offset
from ..bpf import attach_filter
from ..packet_socket import bind_capture, open_capture, reassemble, take_all
from ..settings import CopySettings
from ..sources import make_filter
from .daemon import Daemon
from .network import check_interfaces
from .result import Result, failed, ok, skipped, warning

__all__ = ["check_feed"]

_RECEIVE_BYTES = 1 << 18
_MOST_PACKETS = 10_000


def check_feed(settings: CopySettings, daemon: Daemon, wait_s: float) -> Iterator[Result]:
    """Yield what can be seen of it on this host; `wait_s`: how long to look for packets."""
    kind = settings.feed.kind
    if kind == "forward":
        yield _check_forwarders(settings, daemon)
        return
    if kind == "span":
        yield from check_interfaces(settings.interfaces)
    for interface in settings.interfaces:
        yield _check_packets(settings, interface, wait_s)


def _check_forwarders(settings: CopySettings, daemon: Daemon) -> Result:
    if not daemon.runs:
        return skipped("feed", "copy does not run, and only it is connected to")
    feed = daemon.status["feed"]
    if feed["kind"] != "forward":
        return failed("feed", feed["kind"], "it was started with another --feed", "restart copy")
    links = [link for link in feed["links"] if link["state"] == "established"]
    if links:
        return ok("feed", f"forward is connected from {', '.join(link['peer'] for link in links)}")
    port = settings.feed.listen[1]
    refused = f"; {feed['refused_links']} connections were refused, see copy's log" if feed["refused_links"] else ""
    cause = f"no `copytool forward` runs that names this host in -s, or a firewall drops TCP port {port}{refused}"
    return failed("feed", "no forward is connected", cause, "on the online host: copytool check forward")


def _check_packets(settings: CopySettings, interface: str, wait_s: float) -> Result:
    """Whether packets of clients come in, and not only others."""
    kind = settings.feed.kind
    others = matching = 0
    segment = Segment()
    for packet in _packets(settings, interface, wait_s):
        offset = inner_offset(packet, 0, len(packet), settings.feed.vxlan_port) if kind == "tunnel" else 0
        wrong = (kind == "tunnel" and not offset) or parse_segment(segment, packet, offset, len(packet) - offset)
        if not wrong and (segment.dst, segment.dst_port) in settings.targets:
            matching += 1
        else:
            others += 1
    names = ", ".join(f"{format_address(address or b'')} port {port}" for address, port in settings.targets)
    if matching:
        return ok("feed", f"{matching} packets of clients", interface)
    if others:
        cause = f"packets are mirrored, and none goes to {names}"
        fix = "compare -x with the address and port that clients use, as they stand in the mirrored packets"
        return failed("feed", f"{others} packets, none of a client", cause, fix, interface)
    cause = "no client has sent anything meanwhile, or nothing is mirrored to this host"
    fix = "try again while clients are active; look at the switch's, or the cloud's, mirror session"
    return warning("feed", f"no packet within {wait_s:g} s", cause, fix, interface)


def _packets(settings: CopySettings, interface: str, wait_s: float) -> Iterator[bytes]:
    """Yield what copy's filter passes, from the IP header on."""
    deadline = time.monotonic() + wait_s
    with open_capture() as sock:
        attach_filter(sock, make_filter(settings).widest)
        bind_capture(sock, interface)
        if settings.feed.kind == "span":
            take_all(sock, interface)
        else:
            reassemble(sock)
        for _ in range(_MOST_PACKETS):
            if not select.select([sock], [], [], max(deadline - time.monotonic(), 0.0))[0]:
                return
            yield sock.recv(_RECEIVE_BYTES)
