"""`copytool status --sessions` against what the clients did."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections import Counter
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import pytest

from copytool.mirror.histogram import quantile

from .hosts import COPY, COPYTOOL, INTERCEPT, SESSION_DRIVER, Host, Network, wait_until


@pytest.fixture(scope="module")
def driver() -> ModuleType:
    """The program that drives sessions: it knows what each one sends."""
    spec = importlib.util.spec_from_file_location("session_driver", SESSION_DRIVER)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _ask(host: Host, *options: object) -> str:
    words = [*COPYTOOL, "status", "--control-socket", host.control_socket, "--sessions", *options]
    return host.run(*words, check=False).stdout


def _listed(network: Network, count: int) -> list[dict[str, Any]]:
    """Wait until so many sessions have ended, and return them."""

    def ended() -> Any:
        answer = json.loads(_ask(network.online, "--json"))
        return answer["ended"] >= count and answer["sessions"]

    listed: list[dict[str, Any]] = wait_until(ended, f"{count} sessions have ended")
    assert len(listed) == count
    return listed


def test_mirrored_sessions_are_listed(network: Network, driver: ModuleType) -> None:
    """Each session is there once, with the bytes and turns that its client sent and the bytes that it got back."""
    network.start_mirror()
    options = ["--sessions", "60", "--concurrency", "10", "--max-bytes", "1000", "--seed", "list"]
    started = datetime.now(UTC)
    report = network.drive(*options)
    assert report["errors"] == []
    listed = _listed(network, 60)
    turns = [driver.content(driver.parse_plan(["x", *options]), number) for number in range(60)]
    sent = Counter((sum(map(len, parts)), len(parts)) for parts in turns)
    assert Counter(size for size, _ in sent.elements()) == Counter(size for size, _ in report["multiset"])
    assert Counter((session["client_bytes"], session["turns"]) for session in listed) == sent
    for session in listed:
        assert session["client_bytes"] == session["delivered_bytes"] == session["response_bytes"]
        assert (session["undelivered_bytes"], session["outcome"], session["reason"]) == (0, "mirrored", "")
        assert session["client"].startswith("192.168.50.200:") and session["target"] == "192.168.50.101:1025"
        assert 0 < session["duration_s"] < 60
        assert started <= datetime.fromisoformat(session["ended_at"]) <= datetime.now(UTC)
    peers = Counter(f"{entry['peer']}:{entry['peer_port']}" for entry in network.sessions_of("target"))
    assert Counter(session["mirror"] for session in listed) == peers
    table = _ask(network.online).splitlines()
    assert len(table) == 62
    for line, session in zip(table[1:-1], listed, strict=True):
        assert session["client"] in line.split() and f"{session['delivered_bytes']:,}" in line.split()
    assert len(_ask(network.online, 20).splitlines()) == 22


def test_refused_sessions_are_listed(network: Network) -> None:
    """Sessions that the target refuses are there with no turn, nothing delivered, and what was not."""
    service = network.target._children[0]
    service.terminate()
    service.wait(10)
    network.start_mirror()
    report = network.drive("--sessions", 5, "--concurrency", 1)
    assert report["errors"] == []
    for session in _listed(network, 5):
        assert (session["outcome"], session["turns"]) == ("target_refused", 0)
        assert (session["delivered_bytes"], session["response_bytes"]) == (0, 0)
        assert session["undelivered_bytes"] == session["client_bytes"]
        assert session["client"].startswith("192.168.50.200:")
    assert _ask(network.online).count("target_refused") == 5


def test_ipv6_sessions_are_listed(network: Network) -> None:
    """Both families stand in one table, under the same headers."""
    mapping = "[fd50::10]:1025-[fd50::101]:1025,192.168.50.10:1025-192.168.50.101:1025"
    network.start_mirror(COPY.replace("1025-192.168.50.101:1025", mapping).replace("60.x", "60.x,fd60::/64"))
    for address in ("fd50::10", "192.168.50.10"):
        assert network.drive("--sessions", 3, "--concurrency", 1, address=address)["errors"] == []
    listed = _listed(network, 6)
    assert [session["target"] for session in listed] == ["[fd50::101]:1025"] * 3 + ["192.168.50.101:1025"] * 3
    table = _ask(network.online).splitlines()
    at = table[0].index("outcome")
    assert [line[at:] for line in table[1:-1]] == ["mirrored"] * 6


def test_intercept_says_that_it_has_no_list(network: Network) -> None:
    """One line that says whom to ask, and the host status."""
    network.assistant.start(*network.assistant.copytool(INTERCEPT))
    wait_until(network.assistant.status, "intercept answers")
    words = [*COPYTOOL, "status", "--sessions", "--control-socket", network.assistant.control_socket]
    done = network.assistant.run(*words, check=False)
    assert (done.returncode, done.stdout) == (3, "")
    reason = "intercept keeps no list of sessions; ask copy, on the online host"
    assert done.stderr == f"copytool: sessions refused by {network.assistant.control_socket}: {reason}\n"


def test_lag_and_answer_times_are_shown(network: Network) -> None:
    """They come from the kernel's timestamps: a mirror that keeps up is late by little."""
    network.start_mirror()
    assert network.drive("--sessions", 100)["errors"] == []
    network.wait_for_sessions("target", 100)
    status = network.online.status()
    assert status["lag"]["count"] >= 100
    assert status["answer_time"]["count"] >= 100
    assert quantile(status["lag"], 0.5) < 0.1
    assert status["lag"]["sum_s"] > 0
    shown = network.online.run(*network.online.copytool("status")).stdout
    assert " for half of them, under " in shown
    assert shown.count("for 99 %: from capture to release to the target") == 1
