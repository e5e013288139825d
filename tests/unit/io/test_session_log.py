"""The log of ended sessions: bounded, in order, and readable."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

import pytest

from copytool.errors import ConfigError
from copytool.io.session_log import KEPT_SESSIONS, SessionLog
from copytool.mirror.events import SessionEnded
from copytool.wire.flow import flow_key

CLIENT, MIRROR, ONLINE, TARGET = (
    ip_address(text).packed for text in ("192.168.50.200", "192.168.60.7", "192.168.50.10", "192.168.50.101")
)


def _event(port: int, **changes: Any) -> SessionEnded:
    values: dict[str, Any] = {
        "flow": flow_key(CLIENT, port, ONLINE, 1025), "mirror_flow": flow_key(MIRROR, port, TARGET, 1025),
        "outcome": "target_reset", "reason": "RST",
        "turns": 3, "client_bytes": 100, "delivered_bytes": 60, "undelivered_bytes": 40, "response_bytes": 70,
        "duration_s": 1.23456,
    }  # fmt: skip
    return SessionEnded(**values | changes)


def test_a_session_as_it_is_listed() -> None:
    """Every field of the event is there, addresses as text, with the time of day at which it came."""
    log = SessionLog()
    log.add(_event(40000))
    answer = log.answer({"command": "sessions"})
    (session,) = answer.pop("sessions")
    assert answer == {"ended": 1}
    ended_at = datetime.fromisoformat(session.pop("ended_at"))
    assert abs((datetime.now(UTC) - ended_at).total_seconds()) < 5
    assert session == {
        "duration_s": 1.235, "client": "192.168.50.200:40000", "mirror": "192.168.60.7:40000",
        "target": "192.168.50.101:1025", "turns": 3, "client_bytes": 100, "delivered_bytes": 60,
        "undelivered_bytes": 40, "response_bytes": 70, "outcome": "target_reset", "reason": "RST",
    }  # fmt: skip


def test_ipv6_addresses_are_in_brackets() -> None:
    """Address and port stay apart."""
    log = SessionLog()
    client, mirror, target = (ip_address(text).packed for text in ("fd50::200", "fd60::1", "fd50::101"))
    flow, mirror_flow = flow_key(client, 40000, target, 1025), flow_key(mirror, 40000, target, 1025)
    log.add(_event(40000, flow=flow, mirror_flow=mirror_flow))
    (session,) = log.answer({})["sessions"]
    assert (session["client"], session["mirror"]) == ("[fd50::200]:40000", "[fd60::1]:40000")
    assert session["target"] == "[fd50::101]:1025"


def test_only_the_last_sessions_are_kept() -> None:
    """The list has a bound, the oldest leave it, and the total says how many there were."""
    log = SessionLog()
    for number in range(KEPT_SESSIONS + 7):
        log.add(_event(number))
    answer = log.answer({})
    assert answer["ended"] == KEPT_SESSIONS + 7
    clients = [session["client"] for session in answer["sessions"]]
    assert clients == [f"192.168.50.200:{number}" for number in range(7, KEPT_SESSIONS + 7)]


@pytest.mark.parametrize(("count", "ports"), [(0, []), (2, [3, 4]), (5, [0, 1, 2, 3, 4]), (10**9, [0, 1, 2, 3, 4])])
def test_a_part_of_the_list(count: int, ports: list[int]) -> None:
    """A count selects the newest ones, newest last; more than there are is all."""
    log = SessionLog()
    for port in range(5):
        log.add(_event(port))
    shown = [session["client"] for session in log.answer({"count": count})["sessions"]]
    assert shown == [f"192.168.50.200:{port}" for port in ports]


@pytest.mark.parametrize("count", [-1, 1.5, "5", None, True, [5]])
def test_wrong_counts_are_named(count: object) -> None:
    """What is no whole number from 0 is refused with its value."""
    with pytest.raises(ConfigError, match=r"count: .* is not a whole number from 0"):
        SessionLog().answer({"count": count})


def test_a_full_list_is_quick() -> None:
    """The mirror waits while the list is made; that must be milliseconds."""
    log = SessionLog()
    for number in range(KEPT_SESSIONS):
        log.add(_event(number))
    started = time.process_time()
    log.answer({})
    assert time.process_time() - started < 0.25
