"""What arrives of a mirrored session on the target and on the assistant, and what leaves: seen on the wire.

Whoever runs these while copy sends a probe learns at which of the two the way ends.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from typing import Any

from ...link.share import Network
from ...wire.address import format_address
from ...wire.segment import ACK, RST, SYN
from ..bpf import compile_filter
from ..settings import InterceptSettings
from . import host
from .daemon import Daemon
from .result import Result, failed, ok, warning
from .tap import Seen, Tap, handshake_filter, handshakes_of, watch

__all__ = ["check_answers", "check_arrivals"]

_GRACE_S = 0.3
_ANSWER_S = 4.0  # a target that has not answered the probe's last SYN by then will not


def check_arrivals(networks: Sequence[Network], services: Sequence[tuple[bytes, int]], wait_s: float) -> Result:
    """On the target: whether SYNs from the client network come in for its services, and answers leave."""
    syns: Counter[str] = Counter()
    answers: Counter[str] = Counter()
    first = [0.0]

    def note(seen: Seen) -> None:
        if seen.is_outgoing:
            if (seen.source, seen.source_port) in services and _is_in(seen.destination, networks):
                answers[f"{'RST' if seen.flags & RST else 'SYN/ACK'} on {seen.interface}"] += 1
            return
        is_service = (seen.destination, seen.destination_port) in services
        if is_service and seen.flags & SYN and _is_in(seen.source, networks):
            syns[seen.interface] += 1
            first[0] = first[0] or time.monotonic()

    def is_done() -> bool:
        return bool(answers) or (bool(first[0]) and time.monotonic() > first[0] + _ANSWER_S)

    tap = Tap("", handshake_filter(), note)
    try:
        watch([tap], is_done, wait_s)
        watch([tap], lambda: not answers, _GRACE_S)
    finally:
        tap.close()
    return _judge_arrivals(syns, answers, wait_s)


def _judge_arrivals(syns: Counter[str], answers: Counter[str], wait_s: float) -> Result:
    data: dict[str, Any] = {"syns": dict(syns), "answers": dict(answers), "ended_at": time.time()}
    if not syns:
        cause = "copy has sent nothing, or what it sends does not arrive"
        fix = "run `copytool check copy` on the online host meanwhile, or playbooks/check.yml for all hosts"
        return warning("arrivals", f"no SYN from the client network within {wait_s:g} s", cause, fix, **data)
    seen = f"{syns.total()} SYNs on {', '.join(syns)}"
    if not answers:
        cause = "this host drops them, or its answer: reverse path filter, firewall, or no route to the client network"
        fix = "see rp_filter, firewall and route here; nstat -az TcpExtIPReversePathFilter"
        return failed("arrivals", f"{seen}, and no answer leaves", cause, fix, **data)
    return ok("arrivals", f"{seen}; answers: {', '.join(answers)}", "", **data)


def check_answers(settings: InterceptSettings, daemon: Daemon, wait_s: float) -> Iterator[Result]:
    """On the assistant: whether targets' answers come in, and pass intercept's filter where it captures."""
    local = host.local_addresses()
    before = daemon.refreshed() if daemon.runs else {}
    arrived: dict[tuple[Any, ...], Seen] = {}
    passed: set[tuple[Any, ...]] = set()

    def note(seen: Seen) -> None:
        is_answer = seen.flags & RST or seen.flags & ACK
        is_own = seen.destination in local or ip_address(seen.destination).is_loopback
        if is_answer and not seen.is_outgoing and not is_own:
            arrived[_flow(seen)] = seen

    def note_passed(seen: Seen) -> None:
        if not seen.is_outgoing:
            passed.add(_flow(seen))

    code = handshakes_of(compile_filter(settings.filter, 128))
    taps = [Tap(name, code, note_passed) for name in settings.interfaces]  # first, so that they miss nothing
    taps.append(Tap("", handshake_filter(), note))
    try:
        watch(taps, lambda: bool(arrived), wait_s)
        watch(taps, lambda: not arrived, _GRACE_S)
    finally:
        for tap in taps:
            tap.close()
    yield _judge_answers(settings, arrived, passed, wait_s)
    if daemon.runs:
        yield from _judge_counters(daemon, before, bool(arrived.keys() & passed))


def _flow(seen: Seen) -> tuple[bytes, int, bytes, int]:
    return seen.source, seen.source_port, seen.destination, seen.destination_port


def _judge_answers(
    settings: InterceptSettings, arrived: dict[tuple[Any, ...], Seen], passed: set[tuple[Any, ...]], wait_s: float
) -> Result:
    names = ", ".join(name or "any" for name in settings.interfaces)
    sources = sorted({format_address(seen.source) for seen in arrived.values()})
    data: dict[str, Any] = {"sources": sources, "ended_at": time.time()}
    if not arrived:
        cause = "no session was mirrored meanwhile, or the target sends its answers elsewhere"
        fix = "on the target: `ip route get` an address of the client network must say via this host"
        return warning("answers", f"no answer of a target within {wait_s:g} s", cause, fix, names, **data)
    missed = [seen for flow, seen in arrived.items() if flow not in passed]
    if not missed:
        example = next(iter(arrived.values()))
        text = f"{len(arrived)} sessions' answers on {example.interface}, such as {_described(example)}"
        return ok("answers", text, names, **data)
    example = missed[0]
    seen = f"{_described(example)} arrives on {example.interface}, and is not captured"
    if "" not in settings.interfaces and example.interface not in settings.interfaces:
        cause = f"answers arrive on {example.interface}, and intercept captures on {names}"
        return failed("answers", seen, cause, f"give intercept -i {example.interface}", names, **data)
    cause = f"intercept's filter does not pass it: {settings.filter}"
    fix = f"-F must pass src port {example.source_port}, such as 'tcp and src port {example.source_port}'"
    return failed("answers", seen, cause, fix, names, **data)


def _judge_counters(daemon: Daemon, before: dict[str, Any], has_passed: bool) -> Iterator[Result]:
    """What the running intercept made of what came meanwhile."""
    after = daemon.refreshed()
    grown = {key: count - before["responses"].get(key, 0) for key, count in after["responses"].items()}
    if has_passed and not grown["packets"]:
        cause = "answers pass the filter, and the running intercept takes none: it was started with other -i or -F"
        yield failed("reports", "no packet taken", cause, "restart it: systemctl restart copytool@intercept")
        return
    seen = f"{grown['packets']} packets taken, {grown['records']} records made"
    if grown["no_owner"]:
        cause = "answers for a client network that no connected copy has announced"
        fix = "compare copy's -c with the target's routes; is copy connected (link)?"
        judge = failed if grown["records"] == 0 else warning
        yield judge("reports", f"{seen}, {grown['no_owner']} for nobody", cause, fix)
    elif grown["foreign_source"]:
        cause = "answers that come from other addresses or ports than copy's -x names"
        fix = "compare -x with where the target's service answers from (NAT, several addresses)"
        yield warning("reports", f"{seen}, {grown['foreign_source']} of strangers", cause, fix)
    else:
        yield ok("reports", seen)


def _described(seen: Seen) -> str:
    kind = "RST" if seen.flags & RST else "SYN/ACK"
    source, destination = format_address(seen.source), format_address(seen.destination)
    return f"{kind} {source} port {seen.source_port} to {destination}"


def _is_in(address: bytes, networks: Sequence[Network]) -> bool:
    own = ip_address(address)
    return any(own in network for network in networks)
