"""What the checks make of what they see, without a host."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.authority import TestAuthority

from copytool import __version__
from copytool.errors import HostError
from copytool.io.checks import host, network
from copytool.io.checks.certificates import check_certificate
from copytool.io.checks.daemon import (
    Daemon,
    check_daemon,
    check_drops,
    check_peers,
    explain_link,
    judge_link,
)
from copytool.io.checks.icmp import clock_offset_s, judge_clock
from copytool.io.checks.result import Result, failed, ok, run

PATH = Path("/run/x/control.sock")


def daemon(role: str = "copy", **changes: Any) -> Daemon:
    """A daemon with a status."""
    status = {
        "role": role, "version": __version__, "flavour": "pure", "internal_errors": 0, "dry_run": False, "link": [],
        "capture": {"packets": 10_000, "drops": 0}, "refused_links": 0, **changes,
    }  # fmt: skip
    return Daemon(role, PATH, status)


def state(result: Result) -> str:
    """The state; what is wrong has a cause and a fix, of one line each."""
    wrong = result.state in ("failed", "warning")
    assert (bool(result.cause), bool(result.fix)) == (wrong, wrong)
    assert "\n" not in result.cause + result.fix
    return result.state


def test_run() -> None:
    """A check that the host does not let look is skipped, with the reason; others give one result or several."""

    def refuse() -> Result:
        raise HostError("no such command")

    def deny() -> Result:
        raise PermissionError(13, "Permission denied")

    def begin() -> Iterator[Result]:
        yield ok("x", "1")
        raise HostError("gone")

    assert [(r.state, r.cause) for r in run("x", {}.__getitem__, "y")] == [("failed", "KeyError('y')")]
    assert run("x", ok, "x", "fine") == [ok("x", "fine")]
    assert [(r.state, r.seen) for r in run("x", begin)] == [("ok", "1"), ("skipped", "gone")]
    assert len(run("x", lambda: iter([ok("x", "1"), ok("x", "2")]))) == 2
    assert [(r.state, r.seen) for r in run("x", refuse)] == [("skipped", "no such command")]
    assert [(r.state, r.seen) for r in run("x", deny)] == [("skipped", "Permission denied")]


def test_json() -> None:
    """Everything is there, and data as well."""
    document = failed("x", "seen", "cause", "fix", "subject", figure=3).to_json()
    assert document == {
        "check": "x", "subject": "subject", "state": "failed", "seen": "seen", "cause": "cause", "fix": "fix",
        "data": {"figure": 3},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (daemon(), "ok"),
        (daemon("intercept"), "ok"),
        (Daemon("copy", PATH, {}), "warning"),
        (Daemon("intercept", PATH, {}), "failed"),
        (Daemon("copy", PATH, {}, "does not answer within 5 s"), "failed"),
        (daemon(version="9.9"), "warning"),
        (daemon(internal_errors=2), "warning"),
        (daemon(steering={"paused": True}), "failed"),
        (daemon(dry_run=True), "failed"),
        (daemon(workers=[{"worker": 2, "state": "no answer"}]), "warning"),
        (Daemon("copy", PATH, daemon("intercept").status), "failed"),
    ],
)
def test_daemon(found: Daemon, expected: str) -> None:
    """What is said of a daemon."""
    assert state(check_daemon(found)) == expected


@pytest.mark.parametrize(("drops", "expected"), [(0, "ok"), (3, "warning"), (500, "failed")])
def test_drops(drops: int, expected: str) -> None:
    """A few dropped packets are a warning, many a failure."""
    assert state(check_drops(daemon(capture={"packets": 10_000, "drops": drops}))) == expected


@pytest.mark.parametrize(("days", "expected"), [(-1, "failed"), (3, "warning"), (14, "ok"), (300, "ok")])
def test_certificate(days: int, expected: str) -> None:
    """It is shown where a daemon has one."""
    own = {"subject": "CN=online", "not_after": "2030-01-01T00:00:00+00:00", "days_left": days}
    assert [state(result) for result in check_certificate(daemon(certificate=own), None)] == [expected]
    assert list(check_certificate(daemon(certificate=None), None)) == []


def test_certificate_of_a_daemon_that_does_not_run(tmp_path: Path) -> None:
    """The files are looked at as the daemon would: they will do, or why they will not."""
    files = TestAuthority(tmp_path).issue("online", "client")
    (found,) = check_certificate(Daemon("copy", PATH, {}), files)
    assert (state(found), found.seen[:20]) == ("ok", "online, valid until ")
    files.key.chmod(0o644)
    (found,) = check_certificate(Daemon("copy", PATH, {}), files)
    assert state(found) == "failed" and "chmod 600" in found.cause
    assert list(check_certificate(Daemon("copy", PATH, {}), None)) == []


def test_links() -> None:
    """Established ones with their version, and whether they are encrypted."""
    link: dict[str, Any] = {"peer": "10.0.0.3:36524", "state": "established", "reason": "", "version": __version__}
    link["encrypted"] = True
    assert judge_link(link).seen == f"established, version {__version__}, encrypted"
    assert judge_link({**link, "encrypted": False}).seen.endswith(", not encrypted")
    assert state(judge_link({**link, "version": "9.9"})) == "warning"
    assert state(judge_link({**link, "state": "closed", "reason": "Connection refused"})) == "failed"
    assert [state(result) for result in check_peers(daemon("intercept"))] == ["warning"]
    assert [state(result) for result in check_peers(daemon("intercept", link=[link]))] == ["ok"]
    assert [state(result) for result in check_peers(Daemon("intercept", PATH, {}))] == ["skipped"]


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("refused: client network 10.1.0.0/16 belongs to the copy at 10.0.0.1:5; two", "belongs to the copy"),
        ("refused: protocol error: link protocol 2 is not 1; run the same", "different versions"),
        (
            "refused: the certificate of 'b' does not allow it client network 10.1.0.0/16; see --peers",
            "certificate of 'b'",
        ),
        ("TLS: the other end's certificate is refused: certificate has expired", "do not trust each other's"),
        (
            "closed by intercept without a word; if it is run with --tls-cert, so must be this daemon",
            "only one of them has any",
        ),
        ("refused: something else", "does not accept this host"),
        ("Connection refused", "does not run on that host"),
        ("worker 1: Connection refused", "does not run on that host"),
        ("no answer to connect within 5 s", "a firewall drops TCP port 36524"),
        ("Connection timed out", "a firewall drops TCP port 36524"),
        ("No route to host", "no way to that host"),
        ("Network is unreachable", "no way to that host"),
        ("silent for 6 s", "no link: silent for 6 s"),
    ],
)
def test_why_there_is_no_link(reason: str, words: str) -> None:
    """Each reason of the link has its cause."""
    cause, fix = explain_link(reason, "10.0.0.3:36524")
    assert words in cause and fix


def test_clock_offset() -> None:
    """Milliseconds of the day, also around midnight."""
    noon = time.time() // 86400 * 86400 + 43200
    assert clock_offset_s(43_202_500, noon) == 2.5
    assert clock_offset_s(500, noon + 43199.0) == pytest.approx(1.5)
    assert clock_offset_s(86_399_500, noon + 43200.5) == pytest.approx(-1.0)
    assert state(judge_clock("10.0.0.2", 0.4)) == "ok"
    assert "2.5 s behind" in judge_clock("10.0.0.2", -2.5).seen
    assert state(judge_clock("10.0.0.2", 2.5)) == "warning"


@pytest.fixture
def sysctl(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """The host's sysctls, as the test sets them."""
    values: dict[str, int] = {}
    monkeypatch.setattr(host, "read_sysctl", values.get)
    return values


@pytest.mark.parametrize(("count", "expected"), [(10, "ok"), (95, "warning")])
def test_conntrack(sysctl: dict[str, int], count: int, expected: str) -> None:
    """A table that is nearly full drops new connections."""
    sysctl.update({"net/netfilter/nf_conntrack_count": count, "net/netfilter/nf_conntrack_max": 100})
    assert state(network.check_conntrack()) == expected


def test_conntrack_not_in_use(sysctl: dict[str, int]) -> None:
    """Without the module there is no table."""
    assert state(network.check_conntrack()) == "ok"


@pytest.mark.parametrize(
    ("everywhere", "own", "back", "expected"),
    [
        (0, 0, "ens19", "ok"),
        (1, 0, "ens18", "ok"),
        (1, 0, "ens19", "failed"),
        (0, 1, "ens19", "failed"),
        (1, 2, "ens19", "ok"),
        (1, 1, "", "skipped"),
    ],
)
def test_rp_filter(sysctl: dict[str, int], everywhere: int, own: int, back: str, expected: str) -> None:
    """The larger value counts; strict filtering wants the way back to be the way in."""
    sysctl.update({"net/ipv4/conf/all/rp_filter": everywhere, "net/ipv4/conf/ens18/rp_filter": own})
    result = network.check_rp_filter("ens18", back)
    assert state(result) == expected
    if expected == "failed":
        assert result.fix.endswith("net.ipv4.conf.ens18.rp_filter=2")


def test_forwarding(sysctl: dict[str, int]) -> None:
    """Both versions, everywhere or on one interface."""
    assert [state(result) for result in network.check_forwarding(["ens18"], [4, 6])] == ["ok", "ok"]
    sysctl["net/ipv6/conf/ens18/forwarding"] = 1
    results = list(network.check_forwarding(["ens18"], [4, 6]))
    assert [state(result) for result in results] == ["ok", "failed"]
    assert results[1].fix == "sysctl -w net.ipv6.conf.all.forwarding=0 net.ipv6.conf.ens18.forwarding=0"
    sysctl["net/ipv4/ip_forward"] = 1
    assert [state(result) for result in network.check_forwarding(["ens18"], [4])] == ["failed"]


def test_listening_addresses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of this machine, as the kernel shows them."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        assert host.listening_addresses(server.getsockname()[1]) == ["127.0.0.1"]
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        assert host.listening_addresses(server.getsockname()[1]) == ["::1"]
