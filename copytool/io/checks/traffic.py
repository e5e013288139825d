"""Whether what clients send to the mirrored services comes to this host, and to the daemon."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from ...mirror.targets import Service
from ...wire.address import format_address
from ..bpf import compile_filter
from ..capture_filter import capture_filter
from . import host
from .daemon import Daemon
from .result import Result, failed, ok, warning
from .tap import Seen, Tap, watch

__all__ = ["check_traffic"]

_SNAP_BYTES = 128
_GRACE_S = 0.3


def check_traffic(
    services: Collection[Service], interfaces: Sequence[str], daemon: Daemon, wait_s: float
) -> Iterator[Result]:
    """Whether services listen here, and clients' packets pass the daemon's filter where it captures."""
    elsewhere: dict[str, int] = {}
    captured: dict[int, int] = {}

    def note(seen: Seen) -> None:
        if not seen.is_outgoing:
            captured[seen.destination_port] = captured.get(seen.destination_port, 0) + 1

    def note_interface(seen: Seen) -> None:
        if not seen.is_outgoing:
            elsewhere[seen.interface] = elsewhere.get(seen.interface, 0) + 1

    code = compile_filter(capture_filter(services), _SNAP_BYTES)
    taps = [Tap(name, code, note) for name in interfaces] + [Tap("", code, note_interface)]
    wanted = {port for _, port in services}
    try:
        watch(taps, lambda: wanted <= captured.keys(), wait_s)
        if captured:
            watch(taps, lambda: False, _GRACE_S)
    finally:
        for tap in taps:
            tap.close()
    yield from _services(services, daemon, captured)
    yield _judge(interfaces, daemon, captured, elsewhere, wait_s)


def _services(services: Collection[Service], daemon: Daemon, captured: dict[int, int]) -> Iterator[Result]:
    """Whether something listens on the port of each mapping."""
    for address, port in sorted(services, key=lambda pair: (pair[1], pair[0] or b"")):
        text = f"{format_address(address)} port {port}" if address else f"port {port}"
        found = host.listening_addresses(port)
        if found:
            yield ok("service", f"listens on {', '.join(found)}", text)
            continue
        cause = f"no service of this host listens on port {port}"
        fix = f"start the service, or give -x the port that clients use: ss -ltn 'sport = {port}'"
        if captured.get(port) or _has_seen_clients(daemon):
            cause += "; it may be in a container, which is fine as long as clients are seen"
            yield warning("service", "nothing listens", cause, fix, text)
        else:
            yield failed("service", "nothing listens", cause, fix, text)


def _has_seen_clients(daemon: Daemon) -> bool:
    if not daemon.runs:
        return False
    sessions = daemon.status.get("sessions")
    return bool(sessions["seen"] if sessions else daemon.status["capture"]["packets"])


def _judge(
    interfaces: Sequence[str], daemon: Daemon, captured: dict[int, int], elsewhere: dict[str, int], wait_s: float
) -> Result:
    names = ", ".join(name or "any" for name in interfaces)
    if captured:
        ports = ", ".join(f"{count} to port {port}" for port, count in sorted(captured.items()))
        seen = f"packets of clients: {ports}"
        if daemon.runs and daemon.refreshed()["capture"]["packets"] == 0:
            role = daemon.role
            cause = f"they arrive, and the running {role} has captured none: it was started with other -x or -i"
            return failed("traffic", seen, cause, f"restart it: systemctl restart copytool@{role}", names)
        return ok("traffic", seen, names)
    if elsewhere and "" not in interfaces:
        other = ", ".join(elsewhere)
        cause = f"clients' packets arrive on {other}, and {daemon.role} captures on {names}"
        return failed("traffic", f"none on {names}", cause, f"give -i {other}, or leave it out", names)
    cause = "no client has sent anything meanwhile, or they do not come to this host"
    fix = "try again while clients are active; compare -x with the port that they use"
    return warning("traffic", f"no packet of a client within {wait_s:g} s", cause, fix, names)
