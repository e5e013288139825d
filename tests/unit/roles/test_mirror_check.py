"""The check's verdict names the first hop that lost sessions."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from .loading import load

report = load("mirror_check/action_plugins/mirror_check_report.py")
filters = load("mirror_check/filter_plugins/mirror_check.py").FilterModule().filters()

SENT = [[10, "aa"], [20, "bb"], [20, "bb"]]
LOG = [{"bytes": size, "sha256": digest} for size, digest in SENT]
LINKED = [{"peer": "p", "state": "established"}]


def copy_status(seen: int, **outcomes: int) -> dict[str, Any]:
    """copy's status with some counters."""
    return {"sessions": {"seen": seen, "outcomes": {"active": 0, "mirrored": 0, **outcomes}}, "link": LINKED}


GOOD = report.Observed(
    client={"sessions": 3, "completed": 3, "errors": [], "bytes": 50, "multiset": SENT},
    online_log=LOG,
    copy_before=copy_status(7, mirrored=7),
    copy_after=copy_status(10, mirrored=10),
    intercept_before={"capture": {"packets": 5}, "link": LINKED},
    intercept_after={"capture": {"packets": 50}, "link": LINKED},
    target_log=LOG,
)


def test_all_is_well() -> None:
    verdict = report.judge(GOOD)
    assert verdict.failed() is None
    assert [hop.sessions for hop in verdict.hops if hop.sessions is not None] == [3, 3, 3, 3, 3]
    assert "All 3 sessions with 50 bytes reached the target" in report.headline(verdict, GOOD)


def test_sessions_of_others_do_not_count() -> None:
    others = [*LOG, {"bytes": 5, "sha256": "cc"}]
    seen = dataclasses.replace(GOOD, online_log=others, target_log=others, copy_after=copy_status(11, mirrored=11))
    assert report.judge(seen).failed() is None


@pytest.mark.parametrize(
    ("change", "hop", "message"),
    [
        ({"client": {**GOOD.client, "errors": ["session 2: reset"]}}, "client: sent", "session 2: reset"),
        ({"online_log": LOG[:2]}, "online: read", "logged 2 of 3"),
        ({"copy_after": {}}, "link:", "copytool copy does not answer"),
        ({"intercept_after": {}}, "link:", "copytool intercept does not answer"),
        (
            {"intercept_after": {"capture": {"packets": 50}, "link": []}},
            "link:",
            "not connected (copy says established)",
        ),
        ({"copy_after": copy_status(9, mirrored=9)}, "copy: seen", "saw 2 of 3"),
        ({"intercept_after": {**GOOD.intercept_before}}, "intercept: answers", "check the route"),
        (
            {"copy_after": copy_status(10, mirrored=8, target_refused=2)},
            "copy: mirrored",
            "mirrored 1 of 3 sessions (2 target_refused); nothing listens",
        ),
        ({"target_log": LOG[:1]}, "target: read", "1 of 3 sessions reached"),
        ({"target_log": [*LOG, LOG[0]]}, "target: read", "3 of 3"),
        ({"target_log": [{"bytes": 10, "sha256": "corrupt"}, *LOG[1:]]}, "target: read", "2 of 3"),
    ],
)
def test_first_hop_that_lost_sessions_is_named(change: dict[str, Any], hop: str, message: str) -> None:
    seen = dataclasses.replace(GOOD, **change)
    failed = report.judge(seen).failed()
    assert failed is not None
    assert failed.name.startswith(hop)
    assert message in failed.problem
    lines = "\n".join(report.summary(report.judge(seen), seen, [{"name": "a", "address": "b", "runs": "c"}], []))
    assert f'FAILED at "{failed.name}"' in lines


def test_sampled_sessions_are_right_when_the_target_has_those_that_copy_mirrored() -> None:
    after = copy_status(10, mirrored=8, sampled_out=2)
    seen = dataclasses.replace(GOOD, ratio=20, copy_after=after, target_log=LOG[:1])
    assert report.judge(seen).failed() is None
    assert report.judge(dataclasses.replace(seen, target_log=LOG[:2])).failed() is not None


def test_copies_are_right_when_each_session_is_there_that_often() -> None:
    seen = dataclasses.replace(GOOD, copies=2, copy_after=copy_status(13, mirrored=13), target_log=LOG + LOG)
    assert report.judge(seen).failed() is None
    assert report.judge(dataclasses.replace(seen, target_log=LOG)).failed() is not None


def test_without_a_client_the_link_is_judged() -> None:
    seen = dataclasses.replace(GOOD, client={}, online_log=None, target_log=None)
    verdict = report.judge(seen)
    assert [hop.name for hop in verdict.hops] == ["link: copy to intercept"]
    assert report.headline(verdict, seen).startswith("copy and intercept are connected.")


def test_json_of_a_command_that_failed_is_empty() -> None:
    assert filters["mirror_check_json"]({"rc": 1, "stdout": ""}) == {}
    assert filters["mirror_check_json"]({"rc": 0, "stdout": "no json"}) == {}
    assert filters["mirror_check_json"]({"skipped": True}) == {}
    assert filters["mirror_check_json"]({"rc": 1, "stdout": '{"errors": ["x"]}'}) == {"errors": ["x"]}


def test_lines_of_a_log_that_is_not_kept_are_none() -> None:
    assert filters["mirror_check_lines"]({"skipped": True}) is None
    assert filters["mirror_check_lines"]({"stdout": ""}) == []
    assert filters["mirror_check_lines"]({"stdout": '{"bytes": 1}\n{"bytes": 2}'}) == [{"bytes": 1}, {"bytes": 2}]


def test_ended_sessions_are_those_seen_and_no_longer_active() -> None:
    assert filters["mirror_check_ended"](copy_status(7, active=2), copy_status(20, active=5)) == 10
    assert filters["mirror_check_ended"]({}, {}) == 0
