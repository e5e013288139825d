"""The budgets of a running copy: what it measures, and what it has the engine and the kernel's filter do."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from copytool.io.budgets import Budgets, Use
from copytool.io.settings import BudgetLimits
from copytool.mirror.mapping import Sampler

from ..mirror.playbook import CLIENT, Scene
from ..mirror.test_shedding import opened, ports
from .test_steering import Steered

_MIB = 1 << 20


class Budgeted(Steered):
    """A steered scene with budgets. cpu: processor time a second, by the number of sessions; resident: octets."""

    def __init__(self, limits: BudgetLimits, **config: Any) -> None:
        super().__init__(**config)
        self.cpu: Callable[[int], float] = lambda sessions: 0.0
        self.resident = 100 * _MIB
        self.used_s = 0.0
        self._at = self.scene.now
        self.saves: list[bool] = []
        self.budgets = Budgets(
            limits, self.scene.engine, self.steering, self.saves.append, self.scene.now, self._measure
        )

    def _measure(self) -> Use:
        active = self.scene.engine.counters.outcomes["active"]
        self.used_s += self.cpu(active) * (self.scene.now - self._at)
        self._at = self.scene.now
        return Use(self.used_s, self.resident)

    def passes(self, seconds: float) -> None:
        """Time goes by for all of them."""
        end = self.scene.now + seconds
        while (due := min(self.steering.next_timer(), self.budgets.next_timer())) <= end:
            self.scene.passes(max(due - self.scene.now, 0.0))
            for service in (self.steering, self.budgets):
                if service.next_timer() <= self.scene.now:
                    service.handle_timer(self.scene.now)
        self.scene.passes(end - self.scene.now)

    def status(self, name: str) -> dict[str, Any]:
        """Return one budget of the status document."""
        document: dict[str, Any] = json.loads(json.dumps(self.budgets.status()))[name]
        return document


def test_processor_time(caplog: pytest.LogCaptureFixture) -> None:
    """New ones are declined at once, open ones end after a second, then the kernel shows no more than is mirrored;
    and when the load has gone everything is as before."""
    budgeted = Budgeted(BudgetLimits(cpu_percent=20))
    scene = budgeted.scene
    opened(scene, list(range(40000, 40100)))
    budgeted.passes(2)
    assert scene.outcomes() == {"active": 100}
    budgeted.cpu = lambda sessions: 0.01 * sessions
    budgeted.passes(1)
    steering = budgeted.steering.status()
    assert steering["ratio_percent"] == steering["captured_percent"] == 100
    assert steering["admitted_percent"] < 100
    outside = next(port for port in range(50000, 60000) if not Sampler(99).chooses(CLIENT, port))
    scene.client(port=outside).opens()
    assert scene.outcomes() == {"active": 100, "shed_cpu": 1}
    budgeted.passes(20)
    active = scene.outcomes()["active"]
    assert 10 <= active <= 20
    assert budgeted.status("cpu") == {"unit": "percent", "limit": 20, "used": active, "shed": 101 - active}
    steering = budgeted.steering.status()
    assert steering["admitted_percent"] <= steering["captured_percent"] + 0.01 <= 1.2 * steering["admitted_percent"]
    assert "of --cpu-limit is used: mirroring" in caplog.text
    assert budgeted.saves[-1]
    budgeted.cpu = lambda sessions: 0.0
    budgeted.passes(30)
    assert budgeted.steering.status()["admitted_percent"] == budgeted.shown[-1] == 100
    assert not budgeted.saves[-1]
    scene.client(port=outside, isn=77_000).opens()
    assert scene.outcomes() == {"active": active + 1, "shed_cpu": 101 - active}


def test_with_nobody_to_mirror_the_share_rises_whatever_is_used() -> None:
    """Where a slow moment of the machine, or a limit that is too low for anything, has cut it down. Clients end it."""
    budgeted = Budgeted(BudgetLimits(cpu_percent=20))
    scene = budgeted.scene
    clients = opened(scene, list(range(40000, 40020)))
    budgeted.cpu = lambda sessions: 0.5  # whatever is mirrored
    budgeted.passes(60)
    assert scene.outcomes() == {"shed_cpu": 20}
    assert budgeted.steering.status()["admitted_percent"] == 100
    assert not budgeted.saves[-1]
    for _ in range(60):
        clients[0].confirms()
        budgeted.passes(1)
    assert budgeted.steering.status()["admitted_percent"] == 0


def test_open_sessions_end_only_if_they_are_outside() -> None:
    """The share falls to half, and so do the sessions: all of them outside, the oldest first."""
    budgeted = Budgeted(BudgetLimits(cpu_percent=45))
    opened(budgeted.scene, list(range(40000, 40100)))
    budgeted.cpu = lambda sessions: 0.01 * sessions
    budgeted.passes(20)
    events = budgeted.scene.events()
    order = [event.client[1] for event in events]
    assert len(order) > 50
    assert {event.reason for event in events} == {"copy was over --cpu-limit"}
    left = {session.connection.key[1] for session in budgeted.scene.engine.sessions()}
    sampler = Sampler(budgeted.scene.engine.admission.admitted_percent())
    assert all(sampler.chooses(CLIENT, port) or port > max(order) for port in left)


def test_bandwidth() -> None:
    """Octets of the packets count, also those that were sent again; what was shed is counted for it."""
    budgeted = Budgeted(BudgetLimits(bandwidth_bits=80_000))
    scene = budgeted.scene
    clients = opened(scene, list(range(40000, 40050)))
    budgeted.passes(2)
    for _ in range(100):
        for client in clients:
            client.says(b"x" * 100)
        left = {session.key[1] for session in scene.engine.sessions()}
        for target in scene.targets():
            if target.mirror[1] in left:
                target.acks(target.acked + 100)
        budgeted.passes(0.1)
    status = budgeted.status("bandwidth")
    assert status["limit"] == 80_000
    assert status["used"] <= 80_000
    assert 0 < scene.outcomes()["active"] < 10
    assert status["shed"] == scene.outcomes()["shed_bandwidth"] == 50 - scene.outcomes()["active"]


def test_memory(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """No further sessions when it is scarce, fewer when even more is used; freed memory is given back."""
    trimmed: list[float] = []
    monkeypatch.setattr("copytool.io.budgets.release_free_memory", lambda: trimmed.append(budgeted.scene.now))
    budgeted = Budgeted(BudgetLimits(memory_bytes=200 * _MIB))
    scene = budgeted.scene
    opened(scene, list(range(40000, 40040)))
    budgeted.passes(2)
    assert not trimmed
    budgeted.resident = 185 * _MIB
    budgeted.passes(2.05)
    assert len(trimmed) in (2, 3)
    scene.client(port=41000).opens()
    assert scene.outcomes() == {"active": 40, "shed_memory": 1}
    assert "185 of 200 MiB are resident (--memory-limit): at most 40 sessions" in caplog.text
    budgeted.resident = 195 * _MIB
    budgeted.passes(1)
    assert scene.outcomes() == {"active": 38, "shed_memory": 3}
    assert [event.client[1] for event in scene.events()] == [40000, 40001]
    assert budgeted.status("memory") == {"unit": "bytes", "limit": 200 * _MIB, "used": 195 * _MIB, "shed": 3}
    budgeted.resident = 120 * _MIB
    budgeted.passes(1)
    scene.client(port=41000, isn=77_000).opens()
    assert scene.outcomes() == {"active": 39, "shed_memory": 3}


def test_what_is_used_is_shown_without_limits_too() -> None:
    """Looked at once a second; nothing is shed."""
    budgeted = Budgeted(BudgetLimits())
    opened(budgeted.scene, [40000])
    budgeted.cpu = lambda sessions: 0.25
    budgeted.passes(5)
    assert budgeted.budgets.next_timer() - budgeted.scene.now > 0.9
    assert budgeted.status("cpu") == {"unit": "percent", "limit": None, "used": 25, "shed": 0}
    assert budgeted.status("memory")["used"] == 100 * _MIB
    assert budgeted.status("sessions") == {"unit": "sessions", "limit": 100_000, "used": 1, "shed": 0}


def test_the_lowest_share_of_several_budgets_holds() -> None:
    """And names the outcome; the other one's share comes back while it holds."""
    budgeted = Budgeted(BudgetLimits(cpu_percent=20, bandwidth_bits=10**9))
    opened(budgeted.scene, list(range(40000, 40100)))
    budgeted.cpu = lambda sessions: 0.01 * sessions
    budgeted.passes(10)
    assert set(budgeted.scene.outcomes()) == {"active", "shed_cpu"}
    assert budgeted.status("bandwidth")["shed"] == 0


def test_a_kernel_that_refuses_a_wider_filter() -> None:
    """The share stays low, and is tried again."""
    budgeted = Budgeted(BudgetLimits(cpu_percent=20))
    opened(budgeted.scene, list(range(40000, 40100)))
    budgeted.cpu = lambda sessions: 0.01 * sessions
    budgeted.passes(10)
    budgeted.cpu = lambda sessions: 0.0
    low = budgeted.steering.status()["admitted_percent"]
    budgeted.refuses = True
    budgeted.passes(10)
    assert budgeted.steering.status()["admitted_percent"] == low
    budgeted.refuses = False
    budgeted.passes(30)
    assert budgeted.steering.status()["admitted_percent"] == 100


def test_the_users_ratio_is_kept() -> None:
    """It may be changed meanwhile; the kernel shows the part of it that is admitted."""
    budgeted = Budgeted(BudgetLimits(cpu_percent=20), ratio_percent=80)
    opened(budgeted.scene, ports(80, True, 100))
    budgeted.cpu = lambda sessions: 0.01 * sessions
    budgeted.passes(15)
    status = budgeted.steering.status()
    assert status["ratio_percent"] == 80
    assert 0.8 * status["admitted_percent"] - 0.01 <= status["captured_percent"] <= 80 * 0.2
    budgeted.ask("ratio", percent=40)
    budgeted.passes(0.05)
    assert budgeted.scene.engine.admission.admitted_percent() == pytest.approx(
        0.4 * budgeted.steering.status()["admitted_percent"], abs=0.01
    )


@pytest.mark.parametrize(("start", "goal"), [(50, 100), (100, 50)])
def test_a_ramp_meanwhile(start: float, goal: float) -> None:
    """The filter is narrowed all the same, to what the ramp will need; and the share goes on falling."""
    budgeted = Budgeted(BudgetLimits(cpu_percent=20), ratio_percent=start)
    opened(budgeted.scene, ports(start, True, 100))
    budgeted.ask("ratio", percent=goal, ramp_s=600)
    budgeted.cpu = lambda sessions: 0.5  # whatever is mirrored
    budgeted.passes(12)
    status = budgeted.steering.status()
    assert status["admitted_percent"] < 10
    assert start - 2 < status["ratio_percent"] < start + 3
    assert status["ratio_goal_percent"] == goal
    admitted = budgeted.scene.engine.admission.admitted_percent()
    assert admitted <= status["captured_percent"] <= 20


def test_it_measures_this_process() -> None:
    """Processor time and memory as the kernel has them."""
    one, two = Use.measure(), Use.measure()
    assert two.cpu_s >= one.cpu_s > 0
    assert one.resident_bytes > 10 * _MIB


def test_scene_is_not_budgeted_by_itself() -> None:
    """A share of everything and room for all sessions is where an engine begins."""
    admission = Scene().engine.admission
    assert (admission.share, admission.session_cap) == (1.0, 100_000)
