"""The budgets' decisions, against a model of sessions that come, cost something, and go."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copytool.mirror.budget import TICK_S, Action, MemoryBudget, RateBudget

LIMIT = 100.0


@dataclass
class Open:
    """A connection of the model: where it is in the sample, and when it ends."""

    place: float
    ends_at: float


class Model:
    """Connections that come at a rate and last a while. Each costs something a second, and so does, until the kernel
    keeps it back, the data of each that is declined; a part of the cost has nothing to do with sessions."""

    def __init__(self, seed: int = 1, lasts_s: float = 1.0, fixed: float = 0.0, declined_cost: float = 0.0) -> None:
        self.random = random.Random(seed)
        self.lasts_s = lasts_s
        self.fixed = fixed
        self.declined_cost = declined_cost
        self.budget = RateBudget(LIMIT, "shed_cpu", 0.5)
        self.now = self.total = 0.0
        self.admitted = self.shown = 1.0
        self.open: list[Open] = []
        self.declined: list[Open] = []
        self.outside: list[Open] = []
        self.declines = self.ended = 0
        self.used: list[float] = []
        self.actions: list[Action] = []

    def run(self, seconds: float, per_s: float, cost: float) -> Model:
        """Let time pass with so many new connections a second, each at such a cost a second while it is mirrored."""
        for _ in range(round(seconds / TICK_S)):
            self.now += TICK_S
            self._arrive(per_s * TICK_S)
            self.open = [one for one in self.open if one.ends_at > self.now]
            self.declined = [one for one in self.declined if one.ends_at > self.now]
            shown = sum(one.place < self.shown for one in self.declined)
            used = self.fixed + len(self.open) * cost + shown * self.declined_cost
            self.total += used * TICK_S
            self.used.append(used)
            self.budget.note(self.total, self.now)
            self._act()
        return self

    def _arrive(self, count: float) -> None:
        whole = int(count) + (self.random.random() < count % 1)
        for _ in range(whole):
            one = Open(self.random.random(), self.now + self.lasts_s * self.random.uniform(0.5, 1.5))
            if one.place < self.admitted:
                self.open.append(one)
            else:
                self.declined.append(one)
                self.declines += 1

    def _act(self) -> None:
        self.outside = [one for one in self.outside if one in self.open]
        is_too_wide = self.shown > self.admitted
        action = self.budget.decide(self.now, self.admitted, bool(self.outside), is_too_wide)
        self.actions.append(action)
        if action in (Action.LOWER, Action.RAISE):
            self.admitted = self.budget.share
            self.shown = max(self.shown, self.admitted)
            self.outside = [one for one in self.open if one.place >= self.admitted]
        elif action is Action.END:
            for one in self.outside[: -(-len(self.outside) // 10)]:
                self.open.remove(one)
                self.ended += 1
        elif action is Action.NARROW:
            assert not self.outside
            self.shown = self.admitted

    def mean_used(self, seconds: float) -> float:
        """Return the average use of the last seconds."""
        recent = self.used[-round(seconds / TICK_S) :]
        return sum(recent) / len(recent)


def test_nothing_is_shed_below_the_limit() -> None:
    """However close to it."""
    model = Model().run(60, per_s=500, cost=0.15)
    assert 60 < model.mean_used(30) < LIMIT
    assert set(model.actions) == {Action.NONE}
    assert model.declines == model.ended == 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([0.1, 0.5, 2.0, 30.0]), st.sampled_from([0.0, 30.0]))
def test_five_times_the_budget(seed: int, lasts_s: float, fixed: float) -> None:
    """Use comes under the limit within seconds and stays near it, whether sessions are short or long."""
    model = Model(seed, lasts_s, fixed, declined_cost=0.3)
    model.run(2 * lasts_s + 15, per_s=5 * LIMIT / lasts_s / 3, cost=3.0)
    assert model.mean_used(10) <= 1.1 * LIMIT
    assert model.mean_used(10) >= 0.45 * LIMIT
    assert model.admitted > 0


def test_new_ones_are_shed_before_old_ones() -> None:
    """Declining alone is enough where sessions are short: none that is open ends."""
    model = Model(lasts_s=0.2).run(30, per_s=250, cost=10.0)
    assert model.declines and not model.ended
    assert model.mean_used(10) <= LIMIT


def test_old_ones_end_when_declining_is_not_enough() -> None:
    """A second after the limit was passed, not before; and not more than needed."""
    model = Model(lasts_s=1e6).run(1, per_s=500, cost=1.0)
    over_at = next(number for number, used in enumerate(model.used) if used > LIMIT) * TICK_S
    model.run(8, per_s=0, cost=1.0)
    ended_at = model.actions.index(Action.END) * TICK_S
    assert ended_at >= over_at + 1
    assert model.declines
    assert 0.6 * LIMIT <= model.used[-1] <= LIMIT
    ended = model.ended
    model.run(30, per_s=0, cost=1.0)
    assert model.ended == ended, "it has settled"


def test_everything_is_mirrored_again_when_the_load_has_gone() -> None:
    """Within half a minute, and nothing is shed any more."""
    model = Model().run(20, per_s=500, cost=1.0).run(30, per_s=20, cost=1.0)
    assert model.admitted == model.shown == 1.0
    declines = model.declines
    model.run(20, per_s=20, cost=1.0)
    assert model.declines == declines


def test_the_share_settles() -> None:
    """Under a steady load it moves now and then to see whether there is room, and less and less often."""
    model = Model(lasts_s=0.3).run(120, per_s=500 / 0.3, cost=1.0)
    changes = [action for action in model.actions[-600:] if action in (Action.LOWER, Action.RAISE)]
    assert len(changes) <= 12
    assert 0.7 * LIMIT < model.mean_used(60) <= LIMIT


def test_a_load_near_the_limit_is_tried_again_ever_more_rarely() -> None:
    """What would use 110 % is cut and let in again; each time that was one too many, twice as long passes."""
    model = Model(lasts_s=0.3, fixed=0.0)
    model.random = random.Random(3)
    for _ in range(20):  # use falls so far that the share rises, and then rises again
        model.run(6, per_s=110 / 0.3, cost=1.0).run(3, per_s=50 / 0.3, cost=1.0)
    raises = [number for number, action in enumerate(model.actions) if action is Action.RAISE]
    assert len(raises) < 25


def test_use_that_no_session_causes_ends_everything_and_no_more() -> None:
    """The share goes to nothing, stays there quietly, and comes back."""
    model = Model(fixed=2 * LIMIT).run(60, per_s=50, cost=1.0)
    assert model.admitted == model.shown == 0.0
    assert not model.open
    assert set(model.actions[-100:]) == {Action.NONE}
    model.fixed = 0.0
    model.run(40, per_s=50, cost=1.0)
    assert model.admitted == 1.0


def test_a_budget_without_a_limit_never_sheds() -> None:
    """And says what is used."""
    budget = RateBudget(float("inf"), "shed_cpu", 0.5)
    for number in range(20):
        budget.note(number * 1e12, number * TICK_S)
        assert budget.decide(number * TICK_S, 1.0, False, True) is Action.NONE
    assert budget.used == pytest.approx(1e13)


def test_use_is_not_judged_by_a_moment() -> None:
    """Before half of the window has passed nothing is known; then it is an average."""
    budget = RateBudget(LIMIT, "shed_cpu", 1.0)
    budget.note(0.0, 10.0)
    budget.note(50.0, 10.1)
    assert budget.used == 0
    budget.note(50.0, 10.5)
    assert budget.used == pytest.approx(100)
    for tick in range(6, 40):
        budget.note(50.0, 10 + tick * TICK_S)
    assert budget.used == 0


def test_another_budgets_share_is_lowered_from() -> None:
    """What holds is the lowest share of all budgets, so that is what has to fall."""
    budget = RateBudget(LIMIT, "shed_cpu", 0.5)
    for tick in range(10):
        budget.note(tick * TICK_S * 2 * LIMIT, tick * TICK_S)
    assert budget.decide(1.0, 0.4, False, False) is Action.LOWER
    assert budget.share == pytest.approx(0.4 * 0.45)


def test_use_that_goes_up_and_down_is_still_too_much() -> None:
    """One moment below the limit does not spare the sessions outside, as long as the mean is above it."""
    budget = RateBudget(LIMIT, "shed_cpu", 0.5)
    actions = []
    total = 0.0
    for tick in range(100):
        now = tick * TICK_S
        total += TICK_S * LIMIT * (1.8 if tick % 20 < 9 else 0.95)
        budget.note(total, now)
        actions.append(budget.decide(now, 0.5, True, False))
    assert Action.END in actions


def test_what_ended_has_to_show_first() -> None:
    """After the last session outside has ended the average still holds them: nothing more is done meanwhile."""
    budget = RateBudget(LIMIT, "shed_cpu", 1.0)
    total = 0.0
    for tick in range(31):
        now = tick * TICK_S
        total += TICK_S * LIMIT * 4
        budget.note(total, now)
        action = budget.decide(now, 0.5, True, False)
    assert action is Action.END
    for tick in range(31, 40):
        now = tick * TICK_S
        total += TICK_S * LIMIT * 0.9
        budget.note(total, now)
        assert budget.decide(now, 0.5, False, False) is Action.NONE


# -- memory -------------------------------------------------------------------------------------------------

MEMORY = 1_000_000


def test_memory_that_is_not_scarce() -> None:
    """As many sessions as ever."""
    budget = MemoryBudget(MEMORY, 500)
    assert budget.decide(int(0.85 * MEMORY), 400, 0.0) == 0
    assert budget.session_cap == 500
    assert budget.is_scarce()
    assert budget.decide(int(0.5 * MEMORY), 400, 1.0) == 0
    assert not budget.is_scarce()


def test_sessions_stay_as_many_as_they_were_when_memory_became_scarce() -> None:
    """Whoever comes in place of one that ended uses its memory again; what stays resident ends nobody."""
    budget = MemoryBudget(MEMORY, 500)
    assert budget.decide(int(0.91 * MEMORY), 300, 0.0) == 0
    assert budget.session_cap == 300
    for tick in range(1, 100):
        assert budget.decide(int(0.91 * MEMORY), 300 - tick, tick * TICK_S) == 0
    assert budget.session_cap == 300


def test_the_oldest_end_while_memory_grows() -> None:
    """Five per cent at a time, and only while more is used than before, or than the limit once that could show."""
    budget = MemoryBudget(MEMORY, 500)
    assert budget.decide(960_000, 100, 0.0) == 5
    assert budget.session_cap == 95
    assert budget.decide(960_000, 95, 0.1) == 0
    assert budget.decide(970_000, 95, 0.2) == 5
    assert budget.decide(1_001_000, 90, 0.3) == 5
    for tick in range(4, 18):
        assert budget.decide(1_001_000, 85, tick * TICK_S) == 0
    assert budget.decide(1_001_000, 85, 1.8) == 5
    assert budget.decide(990_000, 80, 1.9) == 0
    assert budget.session_cap == 80


def test_room_for_sessions_comes_back_with_the_memory() -> None:
    """Slowly while it is not plenty, at once when it is."""
    budget = MemoryBudget(MEMORY, 500)
    budget.decide(960_000, 100, 0.0)
    for tick in range(50):
        budget.decide(850_000, 50, 1 + tick * TICK_S)
    assert budget.session_cap == 100
    budget.decide(700_000, 50, 10.0)
    assert budget.session_cap == 500


def test_a_quiet_moment_does_not_close_the_door() -> None:
    """Memory that stays resident makes it scarce while hardly anything is open: more are let in after a while."""
    budget = MemoryBudget(MEMORY, 500)
    budget.decide(890_000, 3, 0.0)
    budget.decide(910_000, 3, 0.1)
    assert budget.session_cap == 3
    for tick in range(2, 600):
        budget.decide(910_000, budget.session_cap, tick * TICK_S)
    assert 40 < budget.session_cap < 60
    budget.decide(920_000, budget.session_cap, 60.0)
    assert budget.session_cap < 60
    for tick in range(600, 1200):
        budget.decide(960_000, 30, tick * TICK_S)
    assert budget.session_cap <= 60


def test_a_model_of_memory_that_never_comes_back() -> None:
    """An allocator that keeps all that it ever had: sessions go on coming, the limit is kept."""
    budget = MemoryBudget(MEMORY, 10_000)
    chooser = random.Random(5)
    sessions, peak, shed = 0, 300_000, 0
    for tick in range(5000):
        sessions -= sum(chooser.random() < 0.02 for _ in range(sessions))
        for _ in range(150):
            if sessions < budget.session_cap:
                sessions += 1
            else:
                shed += 1
        peak = max(peak, 300_000 + 200 * sessions)
        sessions -= budget.decide(peak, sessions, tick * TICK_S)
        assert peak <= MEMORY
    assert shed
    assert 2000 < sessions < 3500
