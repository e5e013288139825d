"""The claim that tests of the mirror make: every session arrived exactly."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from .hosts import Network, wait_until


def assert_exact(network: Network, *reports: dict[str, Any], timeout_s: float = 30) -> dict[str, Any]:
    """Every session that the drivers report is the same at client, online and target, and copy says so.

    Returns copy's status.
    """
    sent = Counter((size, digest) for report in reports for size, digest in report["multiset"])
    count = sum(report["sessions"] for report in reports)
    assert [report["errors"] for report in reports] == [[] for _ in reports]
    last: dict[str, Any] = {}

    def all_ended() -> bool:
        last.update(network.copy_host.status())
        outcomes = last["sessions"]["outcomes"]
        return last["sessions"]["seen"] >= count and not outcomes["active"]

    try:
        wait_until(all_ended, "every session has ended", timeout_s)
    except pytest.fail.Exception:
        pytest.fail(f"sessions have not ended: {last}")
    outcomes = {outcome: number for outcome, number in last["sessions"]["outcomes"].items() if number}
    assert outcomes == {"mirrored": count}, f"{outcomes}; {last['bytes']}; {last['mirror']}; {last['capture']}"
    network.wait_for_sessions("target", count)
    network.wait_for_sessions("online", count)
    assert network.multiset("online") == sent
    assert network.multiset("target") == sent
    assert last["imbalance"] == [], last["imbalance"]
    assert last["bytes"]["delivered"] == sum(report["bytes"] for report in reports)
    assert network.watch.mirrored_syns() >= count, "the observer sees no mirrored sessions"
    return last
