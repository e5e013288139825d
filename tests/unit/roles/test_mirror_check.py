"""The check's verdict names the first hop that lost sessions."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from support.loading import load

report = load("mirror_check/action_plugins/mirror_check_report.py")
filters = load("mirror_check/filter_plugins/mirror_check.py").FilterModule().filters()

SENT = [[10, "aa"], [20, "bb"], [20, "bb"]]
LOG = [{"bytes": size, "sha256": digest} for size, digest in SENT]
LINKED = [{"peer": "p", "state": "established"}]


def copy_status(seen: int, **outcomes: int) -> dict[str, Any]:
    """copy's status with some counters."""
    return {"sessions": {"seen": seen, "outcomes": {"active": 0, "mirrored": 0, **outcomes}}, "link": LINKED}


def intercept_status(packets: int, *states: str) -> dict[str, Any]:
    """intercept's status."""
    return {"capture": {"packets": packets}, "link": [{"peer": "p", "state": state} for state in states]}


def daemon(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """A daemon's status before and after."""
    return {"before": before, "after": after}


COPY_BEFORE, INTERCEPT_BEFORE = copy_status(7, mirrored=7), intercept_status(5, "established")
GOOD = report.Observed(
    client={"sessions": 3, "completed": 3, "errors": [], "bytes": 50, "multiset": SENT},
    online_log={"online": LOG},
    copy={"online": daemon(COPY_BEFORE, copy_status(10, mirrored=10))},
    intercept={"assistant": daemon(INTERCEPT_BEFORE, intercept_status(50, "established"))},
    target_log={"target": LOG},
)
SPREAD = dataclasses.replace(
    GOOD,
    online_log={"online-1": LOG[:1], "online-2": LOG[1:]},
    copy={
        "online-1": daemon(COPY_BEFORE, copy_status(8, mirrored=8)),
        "online-2": daemon({}, copy_status(2, mirrored=2)),
    },
    intercept={
        "assistant-1": daemon(INTERCEPT_BEFORE, intercept_status(25, "established")),
        "assistant-2": daemon(INTERCEPT_BEFORE, intercept_status(30, "established")),
    },
    target_log={"target-1": LOG[1:2], "target-2": [LOG[0], LOG[2]]},
)


def copy_after(seen: int, **outcomes: int) -> dict[str, Any]:
    """A change of what copy says in the end."""
    return {"copy": {"online": daemon(COPY_BEFORE, copy_status(seen, **outcomes))}}


def intercept_after(status: dict[str, Any]) -> dict[str, Any]:
    """A change of what intercept says in the end."""
    return {"intercept": {"assistant": daemon(INTERCEPT_BEFORE, status)}}


@pytest.mark.parametrize("seen", [GOOD, SPREAD], ids=["one host of each kind", "two"])
def test_all_is_well(seen: Any) -> None:
    verdict = report.judge(seen)
    assert verdict.failed() is None
    assert [hop.sessions for hop in verdict.hops if hop.sessions is not None] == [3, 3, 3, 3, 3]
    assert "All 3 sessions with 50 bytes reached the target" in report.headline(verdict, seen)


def test_sessions_of_others_do_not_count() -> None:
    others = [*LOG, {"bytes": 5, "sha256": "cc"}]
    logs = {"online_log": {"online": others}, "target_log": {"target": others}}
    seen = dataclasses.replace(GOOD, **logs, **copy_after(11, mirrored=11))
    assert report.judge(seen).failed() is None


@pytest.mark.parametrize(
    ("change", "hop", "message"),
    [
        ({"client": {**GOOD.client, "errors": ["session 2: reset"]}}, "client: sent", "session 2: reset"),
        ({"online_log": {"online": LOG[:2]}}, "online: read", "logged 2 of 3"),
        ({"copy": {"online": daemon(COPY_BEFORE, {})}}, "link:", "copytool copy on online does not answer"),
        (intercept_after({}), "link:", "copytool intercept on assistant does not answer"),
        (intercept_after(intercept_status(50)), "link:", "copytool intercept on assistant says that it has no peer"),
        (copy_after(9, mirrored=9), "copy: seen", "saw 2 of 3"),
        (intercept_after(INTERCEPT_BEFORE), "intercept: answers", "check the route"),
        (
            copy_after(10, mirrored=8, target_refused=2),
            "copy: mirrored",
            "mirrored 1 of 3 sessions (2 target_refused); nothing listens",
        ),
        ({"target_log": {"target": LOG[:1]}}, "target: read", "1 of 3 sessions reached"),
        ({"target_log": {"target": [*LOG, LOG[0]]}}, "target: read", "3 of 3"),
        ({"target_log": {"target": [{"bytes": 10, "sha256": "corrupt"}, *LOG[1:]]}}, "target: read", "2 of 3"),
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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"online_log": {**SPREAD.online_log, "online-2": LOG[1:2]}}, "2 of 3 sessions (online-1 1, online-2 1)"),
        (
            {"copy": {**SPREAD.copy, "online-2": daemon(COPY_BEFORE, {})}},
            "copytool copy on online-2 does not answer",
        ),
        (
            {
                "copy": {
                    **SPREAD.copy,
                    "online-2": daemon({}, {**copy_status(2), "link": [*LINKED, {"state": "closed"}]}),
                }
            },
            "copytool copy on online-2 says established, closed",
        ),
        (
            {"copy": {**SPREAD.copy, "online-2": daemon({}, copy_status(2, mirrored=1, target_unreachable=1))}},
            "mirrored 2 of 3 sessions (online-1 1, online-2 1) (1 target_unreachable); the target does not answer",
        ),
        (
            {"copy": {**SPREAD.copy, "online-2": daemon({}, copy_status(0))}},
            "saw 1 of 3 sessions (online-1 1, online-2 0)",
        ),
        ({"target_log": {**SPREAD.target_log, "target-2": LOG[:1]}}, "2 of 3 sessions reached"),
    ],
)
def test_host_that_lost_sessions_is_named(change: dict[str, Any], message: str) -> None:
    failed = report.judge(dataclasses.replace(SPREAD, **change)).failed()
    assert failed is not None
    assert message in failed.problem


def test_a_copy_that_takes_over_greets_beside_the_one_before() -> None:
    seen = dataclasses.replace(GOOD, **intercept_after(intercept_status(50, "greeting", "established")))
    assert report.judge(seen).failed() is None


def test_sampled_sessions_are_right_when_the_target_has_those_that_copy_mirrored() -> None:
    after = copy_after(10, mirrored=8, sampled_out=2)
    seen = dataclasses.replace(GOOD, ratio=20, target_log={"target": LOG[:1]}, **after)
    assert report.judge(seen).failed() is None
    assert report.judge(dataclasses.replace(seen, target_log={"target": LOG[:2]})).failed() is not None


def test_copies_are_right_when_each_session_is_there_that_often() -> None:
    seen = dataclasses.replace(GOOD, copies=2, target_log={"target": LOG + LOG}, **copy_after(13, mirrored=13))
    assert report.judge(seen).failed() is None
    assert report.judge(dataclasses.replace(seen, target_log={"target": LOG})).failed() is not None


def test_without_a_client_the_link_is_judged() -> None:
    seen = dataclasses.replace(GOOD, client={}, online_log={"online": None}, target_log={"target": None})
    verdict = report.judge(seen)
    assert [hop.name for hop in verdict.hops] == ["link: copy to intercept"]
    assert report.headline(verdict, seen).startswith("copy and intercept are connected.")


def test_logs_are_judged_only_when_all_services_keep_one() -> None:
    seen = dataclasses.replace(SPREAD, target_log={"target-1": LOG[1:2], "target-2": None})
    verdict = report.judge(seen)
    assert verdict.failed() is None
    assert verdict.hops[-1].name == "copy: mirrored"


def test_json_of_a_command_that_failed_is_empty() -> None:
    assert filters["mirror_check_json"]({"rc": 1, "stdout": ""}) == {}
    assert filters["mirror_check_json"]({"rc": 0, "stdout": "no json"}) == {}
    assert filters["mirror_check_json"]({"skipped": True}) == {}
    assert filters["mirror_check_json"]({"rc": 1, "stdout": '{"errors": ["x"]}'}) == {"errors": ["x"]}


def test_lines_of_a_log_that_is_not_kept_are_none() -> None:
    assert filters["mirror_check_lines"]({"skipped": True}) is None
    assert filters["mirror_check_lines"]({"stdout": ""}) == []
    assert filters["mirror_check_lines"]({"stdout": '{"bytes": 1}\n{"bytes": 2}'}) == [{"bytes": 1}, {"bytes": 2}]


def answer(item: Any, role: str) -> dict[str, Any]:
    """A result of the loop that asks a host's daemons for their status."""
    return {"item": item, "rc": 0, "stdout": f'{{"role": "{role}", "version": "1", "flavour": "pure"}}'}


def test_what_hosts_registered_is_found_by_host() -> None:
    before = [answer("copy", "copy"), {"item": "intercept", "rc": 3, "stdout": ""}]
    hostvars = {
        "one": {
            "__mirror_check_status_before": {"results": before},
            "__mirror_check_status_after": {"results": [answer(before[0], "copy"), answer(before[1], "intercept")]},
            "__mirror_check_target_log": {"stdout": '{"bytes": 1}'},
        },
        "two": {"__mirror_check_target_log": {"skipped": True}},
        "other": {},
    }
    names = ["one", "two"]
    assert filters["mirror_check_logs"](names, hostvars, "target") == {"one": [{"bytes": 1}], "two": None}
    status = {"version": "1", "flavour": "pure"}
    copy, intercept = {"role": "copy", **status}, {"role": "intercept", **status}
    statuses = filters["mirror_check_statuses"]
    assert statuses(names, hostvars, "copy") == {"one": daemon(copy, copy), "two": daemon({}, {})}
    assert statuses(["one"], hostvars, "intercept") == {"one": daemon({}, intercept)}


def test_each_daemon_of_a_host_is_named() -> None:
    results = {"results": [answer("copy", "copy"), {"item": "intercept", "rc": 3, "stdout": ""}]}
    versions = filters["mirror_check_versions"]
    assert versions(results) == ["copytool copy 1, pure", "copytool intercept (does not answer)"]
    assert versions({"results": []}) == []


def test_services_of_one_host_are_told_apart_by_their_ports() -> None:
    lines = {"stdout": '{"local_port": 1025}\n{"local_port": 1026}'}
    for ports, found in ((1026, [1026]), ([1025], [1025]), (["1025", 1026], [1025, 1026]), ([], [1025, 1026])):
        assert [line["local_port"] for line in filters["mirror_check_lines"](lines, ports)] == found
    hostvars = {"one": {"__mirror_check_online_log": lines}}
    assert filters["mirror_check_logs"](["one"], hostvars, "online", 1025) == {"one": [{"local_port": 1025}]}


def test_a_daemon_is_linked_when_all_its_links_are() -> None:
    for states, linked in (([], False), (["established"], True), (["established", "closed"], False)):
        assert filters["mirror_check_linked"]({"link": [{"state": state} for state in states]}) is linked


def test_ended_sessions_are_those_seen_and_no_longer_active() -> None:
    assert filters["mirror_check_ended"](copy_status(7, active=2), copy_status(20, active=5)) == 10
    assert filters["mirror_check_ended"]({}, {}) == 0
