"""What breaks while sessions run: clients never notice, copytool recovers by itself, nothing wrong is delivered."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from .faults import Fault, Mirror, mirror_of
from .hosts import libfaketime, wait_until

GIVEN_UP = ("target_reset",)
"""A kernel that cannot reach its peer soon forgets connections that its service has closed, and resets what follows."""

CUT = """
table inet cut {
    chain incoming { type filter hook input priority 0; tcp dport 36524 drop; }
    chain outgoing { type filter hook output priority 0; tcp sport 36524 drop; }
}
"""


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    """The four hosts with both daemons running."""
    with mirror_of(tmp_path) as made:
        # A target that gave up its FIN during an outage never says so; shorter than a minute, longer than each fault.
        made.start("--close-timeout 12")
        yield made


def test_intercept_killed(mirror: Mirror) -> None:
    """Sessions that intercept's death finds open go on when it is back; those that begin meanwhile are no_feedback."""
    fault = Fault(mirror, "intercept killed")
    mirror.kill_intercept()
    fault.last(2)
    mirror.start_intercept()
    fault.cause_is_gone()
    fault.finish()
    fault.check_clients()
    fault.check_sessions("no_feedback")


def test_copy_killed(mirror: Mirror) -> None:
    """A new copy skips what is open, closes at the target what its predecessor left there, and mirrors what is new."""
    fault = Fault(mirror, "copy killed")
    mirror.copies[0].kill()
    mirror.copies[0].wait(10)
    fault.last(1)
    mirror.start_copy()
    fault.cause_is_gone()
    fault.finish()
    fault.check_clients()
    fault.check_sessions("midstream_skipped", may=("no_feedback",), unsure=(fault.began_at - 0.5, fault.recovered_at))
    long = {session["id"] for session in fault.load.sessions() if session["kind"] == "long"}
    ends = [record["end"] for record in mirror.logs["target"].read() if record["id"] in long]
    assert ends == ["reset"] * len(long) != [], "sessions of the killed copy were not reset"


def test_link_cut(mirror: Mirror) -> None:
    """With the link's packets dropped for 10 s, open sessions wait and go on, and new ones are no_feedback."""
    fault = Fault(mirror, "link cut")
    rules = mirror.network.assistant.scratch / "cut.nft"
    rules.write_text(CUT)
    mirror.network.assistant.run("nft", "-f", rules)
    fault.last(10)
    mirror.network.assistant.run("nft", "delete", "table", "inet", "cut")
    fault.cause_is_gone()
    fault.finish()
    fault.check_clients()
    fault.check_sessions("no_feedback")


def test_assistant_gone(mirror: Mirror) -> None:
    """With the assistant unplugged for 8 s, neither link nor answers arrive; open sessions go on afterwards."""
    fault = Fault(mirror, "assistant gone")
    mirror.switch("link", "set", "assistant", "down")
    fault.last(8)
    mirror.switch("link", "set", "assistant", "up")
    fault.cause_is_gone()
    fault.finish()
    fault.check_clients()
    fault.check_sessions("no_feedback", may=GIVEN_UP)


@pytest.mark.parametrize(
    ("number", "outcome"), [(signal.SIGTERM, "target_closed_early"), (signal.SIGHUP, "target_reset")]
)
def test_target_service_restarted(mirror: Mirror, number: int, outcome: str) -> None:
    """Sessions that it closes are target_closed_early, those that it resets target_reset, new ones target_refused."""
    fault = Fault(mirror, f"target service restarted, {outcome}")
    service = mirror.services["target"]
    service.send_signal(number)
    service.wait(10)
    fault.last(1)
    mirror.start_service("target")
    fault.cause_is_gone(was_outage=False)
    fault.finish()
    fault.check_clients()
    may = ("target_closed_early", "target_reset")
    fault.check_sessions("target_refused", outcome, may=may, unsure=(fault.began_at, fault.gone_at))


def test_target_gone(mirror: Mirror) -> None:
    """With the target unplugged for 8 s, open sessions go on afterwards; only what gave up its SYN is lost."""
    fault = Fault(mirror, "target gone")
    mirror.switch("link", "set", "target", "down")
    fault.last(8)
    mirror.switch("link", "set", "target", "up")
    fault.cause_is_gone()
    fault.finish()
    fault.check_clients()
    fault.check_sessions("target_unreachable", may=GIVEN_UP)


def test_route_removed(mirror: Mirror) -> None:
    """Without its route for 3 s the target cannot answer; every session goes on when the route is back."""
    fault = Fault(mirror, "route removed")
    target = mirror.network.target
    target.run("ip", "route", "delete", "192.168.60.0/24")
    fault.last(3)
    target.run("ip", "route", "add", "192.168.60.0/24", "via", "192.168.50.102", "src", "192.168.50.101")
    fault.cause_is_gone()
    fault.finish()
    fault.check_clients()
    fault.check_sessions(may=GIVEN_UP)


def test_online_interface_down(mirror: Mirror) -> None:
    """Online's interface is down for a second: clients stall and see no error, and every session arrives whole."""
    fault = Fault(mirror, "online's interface down")
    online = mirror.network.online
    online.run("ip", "link", "set", "ens18", "down")
    fault.last(1)
    online.run("ip", "link", "set", "ens18", "up")
    fault.cause_is_gone()
    fault.finish()
    fault.check_clients(may_stall=True)
    assert max(fault.latencies()[1]) > 0.8, "the interface was not down"
    fault.check_sessions()


def _wall_clock(log: Path) -> datetime:
    """Return when a daemon wrote the last dated line of its log."""
    dated = [line[:19] for line in log.read_text().splitlines() if line[4:5] == "-"]
    return datetime.strptime(dated[-1], "%Y-%m-%d %H:%M:%S")


def test_clock_stepped(tmp_path: Path) -> None:
    """An hour forwards does not disturb the link; an hour back, copy does not wait longer to try intercept again."""
    clock = tmp_path / "clock"
    clock.write_text("+0\n")
    settings = ["FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1", f"FAKETIME_TIMESTAMP_FILE={clock}"]
    faked = ["env", f"LD_PRELOAD={libfaketime()}", *settings]
    with mirror_of(tmp_path) as mirror:
        online = mirror.network.online
        mirror.start("", *faked)
        fault = Fault(mirror, "clock stepped")
        began = _wall_clock(mirror.copy_log)
        clock.write_text("+1h\n")
        fault.last(2)
        assert online.status()["link"][0]["connects"] == 1
        assert online.status()["sessions"]["outcomes"]["no_feedback"] == 0
        mirror.kill_intercept()
        wait_until(lambda: online.status()["link"][0]["state"] != "established", "copy notices")
        forwards = _wall_clock(mirror.copy_log)
        clock.write_text("+0\n")
        mirror.start_intercept(*faked)
        fault.cause_is_gone(was_outage=False)
        assert online.status()["link"][0]["connects"] == 2
        back = _wall_clock(mirror.copy_log)
        assert forwards - began > timedelta(minutes=55) < forwards - back, "the clock was not stepped"
        fault.finish()
        fault.check_clients()
        fault.check_sessions("no_feedback")
