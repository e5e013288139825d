"""Adding up what several workers count."""

from __future__ import annotations

import copy
from typing import Any

from copytool.cli.arguments import parse_arguments
from copytool.cli.settings import copy_settings
from copytool.cli.status import format_status
from copytool.io.budgets import budgets_status
from copytool.io.shares import split_settings
from copytool.io.totals import add_up, merge_sessions
from copytool.mirror.counters import EngineCounters
from copytool.mirror.outcome import OUTCOMES

SETTINGS = copy_settings(
    parse_arguments(["copy", "--plain", "-x", "1-10.0.0.1:1", "-s", "10.0.0.2,10.0.0.3", "-c", "10.9.0.x"])[1]
)
LIMITED = copy_settings(
    parse_arguments(
        ["copy", "--plain", "-x1-10.0.0.1:1", "-s10.0.0.2", "-c10.9.0.x", "--workers", "2", "--cpu-limit", "80"]
    )[1]
)
STEERING = {"paused": False, "ratio_percent": 5.0, "ratio_goal_percent": 5.0, "copies": 1}
UP = {"state": "established", "reason": "", "connects": 1, "version": "1", "encrypted": True}
LINKS = [{"peer": f"10.0.0.{n}:36524", **UP} for n in (2, 3)]


def _worker(seen: int) -> dict[str, Any]:
    counters = EngineCounters()
    counters.seen = seen
    counters.outcomes["mirrored"] = seen
    counters.undelivered["target_reset"] = seen
    return {
        "role": "copy", "version": "1", "flavour": "pure", "dry_run": False,
        "steering": {**STEERING, "captured_percent": 5.0}, **counters.to_json(0, seen), "link": copy.deepcopy(LINKS),
        "capture": {"packets": 10 * seen, "drops": 0, "problems": {}},
        "send": {"errors": {"EPERM": seen} if seen > 3 else {}, "unreachable": {}},
        "internal_errors": 0, "cpu_s": 1.25, "imbalance": [],
    }  # fmt: skip


def test_counters_are_added() -> None:
    """Every number is the sum, also one that only one of them has."""
    total = add_up(SETTINGS, STEERING, {1: _worker(3), 2: _worker(4)})
    alone = add_up(SETTINGS, STEERING, {1: _worker(7)})
    assert total["send"].pop("errors") == {"EPERM": 4}
    alone["send"].pop("errors")
    assert total.pop("cpu_s") == 2.5 and alone.pop("cpu_s") == 1.25
    assert [link.pop("connects") for link in total["link"]] == [2, 2]
    assert [link.pop("connects") for link in alone["link"]] == [1, 1]
    assert total == alone
    assert total["sessions"]["seen"] == total["bytes"]["buffered"] == total["bytes"]["undelivered"]["target_reset"] == 7


def test_budgets_are_those_of_all_workers() -> None:
    """Limits are what the user said, use is added up, and so is what was shed."""
    answers = {}
    for number, share in enumerate(split_settings(LIMITED), 1):
        outcomes = dict.fromkeys(OUTCOMES, 0) | {"shed_cpu": number}
        use = {"sessions": 5, "cpu": 12.5, "memory": 100, "bandwidth": 7}
        budgets = budgets_status(share.budgets, share.mirror.max_sessions, use, outcomes)
        answers[number] = {**_worker(1), "budgets": budgets}
        answers[number]["sessions"]["outcomes"]["shed_cpu"] = number
    assert add_up(LIMITED, STEERING, answers)["budgets"] == {
        "sessions": {"unit": "sessions", "limit": 100_000, "used": 10, "shed": 0},
        "cpu": {"unit": "percent", "limit": 80.0, "used": 25.0, "shed": 3},
        "memory": {"unit": "bytes", "limit": None, "used": 200, "shed": 0},
        "bandwidth": {"unit": "bits/s", "limit": None, "used": 14, "shed": 0},
    }


def test_texts_name_the_worker() -> None:
    """An imbalance, and a link that is down, are of one worker; it stands before the text."""
    first, second = _worker(1), _worker(1)
    second["imbalance"] = ["seen == sum(outcomes): 1 != 2"]
    second["link"][1] |= {"state": "closed", "reason": "Connection refused"}
    second["send"]["unreachable"] = {"10.0.0.1": "no route"}
    total = add_up(SETTINGS, STEERING, {1: first, 2: second})
    assert total["imbalance"] == ["worker 2: seen == sum(outcomes): 1 != 2"]
    assert [link["state"] for link in total["link"]] == ["established", "closed"]
    assert total["link"][1]["reason"] == "worker 2: Connection refused"
    assert total["send"]["unreachable"] == {"10.0.0.1": "no route"}


def test_without_any_answer() -> None:
    """There is a status all the same, of zeros, and it can be printed."""
    total = add_up(SETTINGS, STEERING, {})
    assert total["sessions"]["seen"] == 0
    assert [link["reason"] for link in total["link"]] == ["no worker answers"] * 2
    total["workers"] = [
        {"worker": 1, "pid": 0, "restarts": 2, "state": "is being started again: was killed by SIGKILL"}
    ]
    assert (
        "  NO FIGURES   of worker 1 (pid none), started again 2 times: is being started again: was killed by SIGKILL"
        in format_status(total)
    )


def test_sessions_are_merged() -> None:
    """By the time at which they ended, the last ones if not all are wanted."""
    one = {"ended": 5, "sessions": [{"ended_at": "2026-01-01T00:00:01"}, {"ended_at": "2026-01-01T00:00:04"}]}
    two = {"ended": 7, "sessions": [{"ended_at": "2026-01-01T00:00:02"}, {"ended_at": "2026-01-01T00:00:03"}]}
    merged = merge_sessions({1: one, 2: two}, None)
    assert merged["ended"] == 12
    assert [session["ended_at"][-1] for session in merged["sessions"]] == ["1", "2", "3", "4"]
    assert [session["ended_at"][-1] for session in merge_sessions({1: one, 2: two}, 3)["sessions"]] == ["2", "3", "4"]
    assert merge_sessions({1: one, 2: two}, 0)["sessions"] == []


def test_sessions_of_one_moment_keep_their_order() -> None:
    """Whichever worker answers first."""
    one = {"ended": 1, "sessions": [{"ended_at": "2026-01-01T00:00:01", "worker": 1}]}
    two = {"ended": 1, "sessions": [{"ended_at": "2026-01-01T00:00:01", "worker": 2}]}
    assert merge_sessions({2: two, 1: one}, None) == merge_sessions({1: one, 2: two}, None)
