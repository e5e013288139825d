"""The pace of what is mirrored: no backlog, no request before the answer that caused it, the clients' own pauses."""

from __future__ import annotations

import statistics
import sys
import time
from itertools import pairwise
from typing import Any

import pytest

from .hosts import COPY, Network, output, wait_until
from .servers import APPS, exact, logged, multiset, resident_bytes, run_client, settled, start_app, start_mirror

pytestmark = pytest.mark.alone

HOLD_LIMIT_S = 0.3
MIB = 1 << 20


def start_both(network: Network, *at_target: object, copy: str = COPY, online: tuple[object, ...] = ()) -> None:
    """Start the server on both hosts, the target's with these options, then the mirror."""
    start_app(network, "online", "pace.py", "server", *online)
    start_app(network, "target", "pace.py", "server", *at_target)
    start_mirror(network, copy)


def sessions(network: Network, count: int) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Wait until the target has logged `count` sessions; return each with the online one, which read the same."""
    wait_until(lambda: len(logged(network, "target")) >= count, f"the target logged {count} sessions")
    online, target = logged(network, "online"), logged(network, "target")
    assert multiset(online, "bytes", "sha256", "end") == multiset(target, "bytes", "sha256", "end")
    by_content = {session["sha256"]: session for session in target}
    assert len(by_content) == len(online) == count
    assert all(session["early"] == [] for session in online), "the client itself did not wait"
    return [(session, by_content[session["sha256"]]) for session in online]


def early(pairs: list[tuple[dict[str, Any], dict[str, Any]]]) -> list[list[int]]:
    """Return, for each session in which there were any, the requests that came before the last one's answer."""
    return [target["early"] for _, target in pairs if target["early"]]


def test_two_thousand_turns_a_second(bare_network: Network) -> None:
    """A connection with 2,000 turns a second is mirrored without backlog: within a second everything has arrived."""
    start_both(bare_network)
    report = run_client(bare_network, "pace.py", "client", "--requests", 8000, "--per-second", 2000)
    status = exact(bare_network, 1)
    [(_, target)] = sessions(bare_network, 1)
    [client] = report["results"]
    missing = sum(arrival > client["ended"] for arrival in target["arrivals"])
    behind_s = target["arrivals"][-1] - client["ended"]
    rate = 8000 / (client["ended"] - client["started"])
    print(
        f"figures: {rate:.0f} turns a second, {missing} missing when the load ended, the last {behind_s:.4f} s behind"
    )
    assert rate > 1000, "this machine is too slow to test with"
    assert len(target["arrivals"]) == 8000
    assert behind_s < 1
    assert early([(client, target)]) == []
    assert status["mirror"]["turns_quiet"] == status["mirror"]["turns_held"] == 0


@pytest.mark.parametrize(
    "answers",
    [
        ("--factor", 3),
        ("--factor", 0.3),
        ("--chunked",),
        ("--silent",),
        ("--factor", 3, "--think-s", 0.02),
        ("--factor", 0.3, "--think-s", 0.02),
    ],
    ids=["longer", "shorter", "chunked", "none", "longer-and-slower", "shorter-and-slower"],
)
def test_other_answers(bare_network: Network, answers: tuple[object, ...]) -> None:
    """A target that answers otherwise gets all requests, each after its own last answer, none much later than that."""
    start_both(bare_network, *answers, copy=f"{COPY} --hold-limit {HOLD_LIMIT_S}")
    load = ["--connections", 5, "--requests", 15, "--think-min-s", 0.005, "--think-max-s", 0.02, "--size", 2000]
    run_client(bare_network, "pace.py", "client", *load)
    exact(bare_network, 5)
    pairs = sessions(bare_network, 5)
    longest_s = max(after - before for _, target in pairs for before, after in pairwise(target["arrivals"]))
    print(f"figures: longest gap at the target {longest_s:.3f} s")
    assert early(pairs) == []
    assert longest_s < HOLD_LIMIT_S + 1


@pytest.mark.parametrize("factor", [1, 1.7, 0.4])
def test_slow_streaming_answers(bare_network: Network, factor: float) -> None:
    """A target that streams its answers with pauses gets each request after the whole answer to the one before."""
    start_both(bare_network, "--pieces", 6, "--pause-s", 0.03, "--factor", factor)
    load = ["--connections", 5, "--requests", 15, "--think-min-s", 0.005, "--think-max-s", 0.02, "--size", 2000]
    run_client(bare_network, "pace.py", "client", *load)
    exact(bare_network, 5)
    assert early(sessions(bare_network, 5)) == []


def test_target_ten_times_slower(bare_network: Network) -> None:
    """A target with ten times the think time is followed session by session, within the buffer limits."""
    copy = f"{COPY} --session-buffer 8 --total-buffer 64"
    start_both(bare_network, "--think-s", 0.03, online=("--think-s", 0.003), copy=copy)
    pid = bare_network.online.latest.pid
    before = resident_bytes(pid)
    load = ["--connections", 10, "--requests", 100, "--padding", 60_000]
    client = bare_network.client.start(sys.executable, APPS / "pace.py", "client", *load)
    buffered = resident = 0
    while client.poll() is None or bare_network.online.status()["sessions"]["outcomes"]["active"]:
        buffered = max(buffered, bare_network.online.status()["bytes"]["buffered"])
        resident = max(resident, resident_bytes(pid) - before)
        time.sleep(0.05)
    print(f"figures: at most {buffered / MIB:.1f} MiB buffered, {resident / MIB:.1f} MiB more resident")
    exact(bare_network, 10)
    pairs = sessions(bare_network, 10)
    assert early(pairs) == []
    behind_s = statistics.median(target["arrivals"][-1] - online["arrivals"][-1] for online, target in pairs)
    assert behind_s > 1, "the target was not slow"
    assert 2 * MIB < buffered <= 64 * MIB
    assert resident < 2 * 64 * MIB


def test_budget_too_small(bare_network: Network) -> None:
    """Sessions over the buffer limit end as shed_memory and are reset; all others stay exact."""
    start_both(bare_network, "--think-s", 0.1, copy=f"{COPY} --session-buffer 1")
    heavy = ["--connections", 3, "--requests", 30, "--padding", 300_000]
    greedy = bare_network.client.start(sys.executable, APPS / "pace.py", "client", *heavy)
    run_client(bare_network, "pace.py", "client", "--connections", 10, "--requests", 20, "--padding", 1000)
    assert greedy.wait(60) == 0, output(greedy)
    status = settled(bare_network, 13)
    outcomes = {word: count for word, count in status["sessions"]["outcomes"].items() if count}
    assert outcomes == {"mirrored": 10, "shed_memory": 3}
    assert status["imbalance"] == []
    wait_until(lambda: len(logged(bare_network, "target")) >= 13, "the target logged all sessions")
    target = logged(bare_network, "target")
    whole = multiset((session for session in target if session["end"] == "eof"), "bytes", "sha256")
    light = [session for session in logged(bare_network, "online") if len(session["arrivals"]) == 20]
    assert whole == multiset(light, "bytes", "sha256")
    assert sum(session["end"] == "reset" for session in target) == 3


def test_think_times_survive(bare_network: Network) -> None:
    """The pauses between a client's requests are the same at the target as at online."""
    start_both(bare_network)
    load = ["--connections", 10, "--requests", 30, "--think-min-s", 0.005, "--think-max-s", 0.2]
    run_client(bare_network, "pace.py", "client", *load)
    exact(bare_network, 10)
    differences = [
        abs((there - before_there) - (here - before_here))
        for online, target in sessions(bare_network, 10)
        for (before_here, here), (before_there, there) in zip(
            pairwise(online["arrivals"]), pairwise(target["arrivals"]), strict=True
        )
    ]
    median_s, worst_s = statistics.median(differences), max(differences)
    print(
        f"figures: {len(differences)} pauses, off by {1000 * median_s:.2f} ms (median), {1000 * worst_s:.2f} ms (most)"
    )
    assert len(differences) == 290
    assert median_s < 0.005
