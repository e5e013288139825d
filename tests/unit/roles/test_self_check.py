"""The join of all hosts' checks names the first hop that fails."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from support.loading import load

report = load("self_check/action_plugins/self_check_report.py")
filters = load("self_check/filter_plugins/self_check.py").FilterModule().filters()


def check(name: str, state: str = "ok", subject: str = "", **data: Any) -> dict[str, Any]:
    """A result as `copytool check --json` has it."""
    wrong = state in ("failed", "warning")
    cause, fix = (f"cause of {name}", f"fix of {name}") if wrong else ("", "")
    return {"check": name, "subject": subject, "state": state, "seen": "so", "cause": cause, "fix": fix, "data": data}


def says(**hosts: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """What hosts say, each once."""
    return {name: [{"checks": checks}] for name, checks in hosts.items()}


ONLINE = [check("daemon"), check("port"), check("link"), check("probe", state="ok", subject="10.0.0.2:1")]
ONLINE[-1]["data"] = {"state": "answered"}
ARRIVED = check("arrivals", syns={"e": 1}, answers={"SYN/ACK": 1})
TARGET = [check("address", addresses=["10.0.0.2"]), check("route", gateway="10.0.0.3"), ARRIVED]
ASSISTANT = [check("daemon"), check("answers", sources=["10.0.0.2"])]


def lost(**changes: list[dict[str, Any]]) -> list[Any]:
    """The rows when the probe got no answer."""
    probe = {**check("probe", "failed", "10.0.0.2:1"), "data": {"state": "no_answer", "ended_at": 90.0}}
    online = changes.get("online", [*ONLINE[:-1], probe])
    target, assistant = changes.get("target", TARGET), changes.get("assistant", ASSISTANT)
    rows: list[Any] = report.join(says(o=online), says(t=target), says(a=assistant))
    return rows


def first(rows: list[Any]) -> Any:
    """The first row that failed."""
    return next(row for row in rows if row.state == "failed")


def test_all_is_well() -> None:
    """The headline says so, and the hops are in their order."""
    rows = report.join(says(o=ONLINE), says(t=TARGET), says(a=ASSISTANT))
    assert [row.host for row in rows] == ["o", "o", "online to t", *"ttt", "t to assistant", *"aaoo"]
    assert all(row.state == "ok" for row in rows)
    assert report.headline(rows).startswith("A SYN from the client network is answered")
    assert report.summary(rows)[3] == "Hop by hop"


def test_nothing_proved_is_said() -> None:
    """Without a probe nothing has shown that the way works."""
    online = [*ONLINE[:-1], check("probe", "skipped")]
    rows = report.join(says(o=online), says(t=TARGET), says(a=ASSISTANT))
    assert "no probe went all the way" in report.headline(rows)


@pytest.mark.parametrize(
    ("port", "words"), [("ok", "anti-spoofing"), ("failed", "nothing of the online host reaches the target")]
)
def test_what_does_not_reach_the_target(port: str, words: str) -> None:
    """The online host's own connection tells a path that is down from one that drops strangers' addresses."""
    probe = {**check("probe", "failed", "10.0.0.2:1"), "data": {"state": "no_answer", "ended_at": 90.0}}
    target = [*TARGET[:-1], check("arrivals", "warning", syns={}, answers={}, ended_at=100.0)]
    rows = lost(online=[check("daemon"), check("port", port), check("link"), probe], target=target)
    own = next(row for row in rows if row.host == "online to t")
    assert own.state == "failed" and words in own.cause
    assert not any(row.name == "arrivals" for row in rows)


def test_what_does_not_reach_the_assistant() -> None:
    """The answer leaves the target: its next hop is named."""
    rows = lost(assistant=[check("daemon"), check("answers", "warning", sources=["10.0.0.9"], ended_at=100.0)])
    own = first(rows)
    assert own.host == "t to assistant" and "10.0.0.3" in own.cause
    assert report.headline(rows).startswith('FAILED at "t to assistant: answers to the client network": ')


def test_who_looked_too_early_has_seen_nothing() -> None:
    """A target that stopped to look before the probe was sent does not prove that it is lost on the way."""
    target = [*TARGET[:-1], check("arrivals", "warning", syns={}, answers={}, ended_at=80.0)]
    rows = lost(target=target)
    assert next(row for row in rows if row.host == "online to t").state == "skipped"
    assert first(rows).name == "probe 10.0.0.2:1"


def test_the_target_comes_before_what_follows_from_it() -> None:
    """A missing route is named, not the probe that fails because of it."""
    target = [TARGET[0], check("route", "failed"), check("arrivals", "failed", syns={"e": 3}, answers={})]
    assert first(lost(target=target)).name == "route"


def test_a_host_that_says_nothing() -> None:
    """It is a failure, once, with the reason."""
    rows = report.join({"o": [{"error": "no such command", "checks": []}]}, says(t=TARGET), says(a=ASSISTANT))
    assert [row.cause for row in rows if row.state == "failed"] == ["no such command"]


def test_a_target_of_one_copy_only() -> None:
    """What it says for a copy that mirrors elsewhere does not count."""
    target = {"t": [{"checks": TARGET}, {"checks": [check("address", "failed")]}]}
    assert all(row.state == "ok" for row in report.join(says(o=ONLINE), target, says(a=ASSISTANT)))
    target = {"t": [{"checks": [check("address", "failed")]}]}
    assert first(report.join(says(o=ONLINE), target, says(a=ASSISTANT))).name == "address"


def test_documents() -> None:
    """JSON of results that are loops or not, and the last line of errors."""
    hostvars = {
        "a": {"key": {"stdout": '{"checks": []}', "rc": 4}},
        "b": {"key": {"results": [{"stdout": '{"checks": [1]}'}, {"stdout": "", "stderr": "x\nno tomllib\n"}]}},
        "c": {},
    }
    found = filters["self_check_documents"](["a", "b", "c"], hostvars, "key")
    assert found["a"] == [{"checks": []}]
    assert found["b"] == [{"checks": [1]}, {"error": "no tomllib", "checks": []}]
    assert found["c"] == [{"error": "no answer", "checks": []}]


def test_settings_and_networks() -> None:
    """Each copy's client networks, once."""
    text = '[copy]\nclient_network = ["10.0.0.0/8", "fd00::/64"]\n'
    encoded = base64.b64encode(text.encode()).decode()
    hostvars = {name: {"__self_check_settings": {"content": encoded}} for name in "ab"}
    settings = filters["self_check_settings"](["a", "b"], hostvars)
    assert settings == {"a": text, "b": text}
    assert filters["self_check_networks"](settings) == ["--client-network", "10.0.0.0/8,fd00::/64"]
    assert filters["self_check_networks"]({"a": "[copy]\n"}) == []
