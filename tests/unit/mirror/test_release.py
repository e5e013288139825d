"""The release rule: a turn goes to the target once the target has answered the one before."""

from __future__ import annotations

import pytest

from copytool.mirror.config import MirrorConfig
from copytool.mirror.habits import TargetHabits
from copytool.mirror.release import ReleaseCounters, ReleaseRule
from copytool.mirror.timers import NEVER

RTT_S = 0.002


def known(config: MirrorConfig) -> TargetHabits:
    """Return the pauses of a target that has answered often and never paused."""
    pauses = TargetHabits(config)
    for _ in range(20):
        pauses.note_response()
    return pauses


class Turns:
    """A rule with its counters and a short way to ask it."""

    def __init__(self, habits: TargetHabits | None = None, **config: float) -> None:
        self.counters = ReleaseCounters()
        settings = MirrorConfig(**config)
        self.rule = ReleaseRule(settings, self.counters, habits or known(settings))

    def ask(
        self, seen: int, now: float, delivered_at: float = 0.0, in_write: bool = False, latest_seen: int = 0
    ) -> bool:
        """Ask whether a piece sent after `seen` response octets may go at `now`; does it leave its write unfinished?"""
        released = self.rule.may_release(seen, max(seen, latest_seen), delivered_at, RTT_S, now)
        if released:
            self.rule.in_write = in_write
        return released

    def answer(self, received: int, now: float, finished: bool = False) -> None:
        """The target has answered `received` octets in all, and closed or not."""
        self.rule.note_received(received, finished, now)

    @property
    def counts(self) -> tuple[int, int, int]:
        """Turns released because answered, quiet and held."""
        return self.counters.answered, self.counters.quiet, self.counters.held


def test_first_request_goes_at_once() -> None:
    """A request that no response preceded waits for nothing, in any number of pieces."""
    turns = Turns()
    assert turns.ask(0, 0.0) and turns.ask(0, 0.0, delivered_at=NEVER)
    assert turns.counts == (0, 0, 0)
    assert turns.rule.turns == 1


def test_equal_lengths_need_no_timer() -> None:
    """When target and online answer alike, each turn goes the moment its answer is complete."""
    turns = Turns()
    assert turns.ask(0, 0.0)
    total = 0
    for index in range(1, 200):
        total += 100
        assert not turns.ask(total, index)
        turns.answer(total - 1, index)
        assert not turns.ask(total, index)
        turns.answer(total, index)
        assert turns.ask(total, index)
        assert turns.rule.wake_at == NEVER
    assert turns.counts == (199, 0, 0)
    assert turns.rule.turns == 200


def test_answer_that_came_before_the_request_costs_nothing() -> None:
    """A client that pauses finds the target's answer complete."""
    turns = Turns()
    turns.ask(0, 0.0)
    turns.answer(100, 0.1)
    assert turns.ask(100, 9.0)
    assert turns.counts == (1, 0, 0)


def test_all_pieces_of_a_turn_go_with_its_first() -> None:
    """Later pieces of a released turn do not wait again."""
    turns = Turns()
    turns.ask(0, 0.0)
    turns.answer(100, 0.1)
    assert turns.ask(100, 0.1) and turns.ask(100, 0.1) and turns.ask(50, 0.1)
    assert turns.rule.turns == 2


def test_shorter_response_is_released_when_quiet() -> None:
    """A target that answers less is given the quiet time after its last octet, no more."""
    turns = Turns()
    turns.ask(0, 0.998)
    turns.answer(60, 1.0)
    assert not turns.ask(100, 1.001)
    assert 1.0 < turns.rule.wake_at <= 1.0 + 0.02
    assert turns.ask(100, turns.rule.wake_at)
    assert turns.counts == (0, 1, 0)


def test_longer_response_is_released_when_quiet() -> None:
    """A target that answers more is given time to finish."""
    turns = Turns()
    turns.ask(0, 0.0)
    turns.answer(150, 1.0)
    assert not turns.ask(100, 1.0)
    assert turns.ask(100, turns.rule.wake_at)
    assert turns.counts == (0, 1, 0)


def test_a_difference_does_not_shift_the_next_turns() -> None:
    """After a response of other length the next ones are compared from the turn boundary."""
    turns = Turns()
    turns.ask(0, 0.9)
    turns.answer(60, 1.0)
    assert turns.ask(100, 1.5)
    assert not turns.ask(200, 1.6)
    turns.answer(160, 1.7)
    assert not turns.ask(200, 1.7), "it may be on its way to a longer one"
    assert turns.ask(200, turns.rule.wake_at)
    turns.answer(260, 2.0)
    assert turns.ask(300, 2.0), "an equal one that was complete is trusted again"
    assert turns.counts == (1, 2, 0)


def test_a_target_that_has_closed_has_answered_everything() -> None:
    """Its FIN ends every wait, whether the client has read as much, less or more."""
    for received in (99, 100, 101):
        turns = Turns()
        turns.ask(0, 0.0)
        turns.answer(received, 1.0, finished=True)
        assert turns.ask(100, 1.0)
        assert turns.counts == ((0, 1, 0) if received < 100 else (1, 0, 0))


def test_quiet_time_adapts_to_pauses_inside_responses() -> None:
    """A target whose response comes in bursts is not cut off between two of them."""
    turns = Turns()
    turns.ask(0, 0.0)
    turns.answer(10, 1.0)
    turns.answer(20, 1.2)
    assert not turns.ask(100, 1.5)
    assert turns.rule.wake_at >= 1.2 + 0.2


def test_quiet_time_has_bounds() -> None:
    """Neither a tiny nor a huge pause makes the quiet time unreasonable."""
    turns = Turns(quiet_min_s=0.05, quiet_max_s=0.5)
    turns.ask(0, 0.99)
    turns.answer(10, 1.0)
    assert not turns.ask(100, 1.0)
    assert turns.rule.wake_at == 1.05
    turns.answer(20, 3.0)
    assert not turns.ask(100, 3.0)
    assert turns.rule.wake_at == 3.5


def test_hold_limit_ends_the_wait_for_no_response() -> None:
    """A target that answers nothing holds a turn for the hold limit, which is counted."""
    turns = Turns(hold_limit_s=5.0)
    turns.ask(0, 0.0)
    assert not turns.ask(100, 1.0)
    assert turns.rule.wake_at == 6.0
    assert not turns.ask(100, 5.9)
    assert turns.ask(100, 6.0)
    assert turns.counts == (0, 0, 1)


def test_hold_limit_bounds_an_endless_longer_response() -> None:
    """A target that has answered enough and never stops holds a turn no longer than the hold limit."""
    turns = Turns(hold_limit_s=5.0)
    turns.ask(0, 0.0)
    turns.answer(200, 1.0)
    now = 1.0
    while not turns.ask(100, now):
        now += 0.005
        turns.answer(200 + int(now * 1000), now)
        assert now < 7
    assert 5.9 < now < 6.1
    assert turns.counts == (0, 0, 1)


def test_progress_of_an_incomplete_response_starts_the_hold_limit_again() -> None:
    """A target that answers slowly, but answers, is waited for until it is done."""
    turns = Turns(hold_limit_s=0.5)
    turns.ask(0, 0.0)
    for step in range(1, 100):
        turns.answer(step, step * 0.4)
        assert not turns.ask(100, step * 0.4)
    turns.answer(100, 41.0)
    assert turns.ask(100, 41.0)
    assert turns.counts == (1, 0, 0)


def test_each_turn_has_its_own_hold_limit() -> None:
    """A held turn does not use up the time of the next."""
    turns = Turns(hold_limit_s=5.0)
    turns.ask(0, 0.0)
    turns.ask(100, 1.0)
    assert turns.ask(100, 6.0)
    assert not turns.ask(200, 6.0)
    assert turns.rule.wake_at == 11.0


def test_greeting_is_waited_for() -> None:
    """In a protocol where the server speaks first, so must the target."""
    turns = Turns()
    assert not turns.ask(40, 0.0)
    turns.answer(40, 0.2)
    assert turns.ask(40, 0.2)
    assert turns.counts == (1, 0, 0)
    assert turns.rule.turns == 1


def test_a_write_that_goes_on_waits_for_nothing() -> None:
    """Octets that the client had to send before it read a response are no turn, whatever it has read meanwhile."""
    turns = Turns()
    assert turns.ask(0, 0.0, in_write=True)
    assert turns.ask(500, 0.1, in_write=True)
    assert turns.ask(900, 0.2)
    assert turns.rule.turns == 1
    assert not turns.ask(1500, 0.3), "the write was finished: this one may answer what was read"
    turns.answer(1500, 0.4)
    assert turns.ask(1500, 0.4)
    assert turns.counts == (1, 0, 0)


def test_a_longer_answer_does_not_count_for_later_turns() -> None:
    """However far the mirror lags behind the client, each request waits for the whole of its own answer."""
    turns = Turns()
    turns.ask(0, 0.0)
    now = 0.0
    for turn in range(1, 30):
        turns.answer(turn * 150 - 40, now + 0.001)
        assert not turns.ask(turn * 100, now + 0.001), "forty octets are still to come"
        turns.answer(turn * 150, now + 0.006)
        assert not turns.ask(turn * 100, now + 0.007)
        now = turns.rule.wake_at
        assert turns.ask(turn * 100, now)
    assert turns.counts == (0, 29, 0)


def test_slow_target_is_not_late_while_it_takes_in_the_request() -> None:
    """A pause in the response means nothing before the target has every byte of the request."""
    turns = Turns()
    turns.ask(0, 0.0)
    turns.answer(50, 1.0)
    for now in (1.5, 3.0, 5.0):
        assert not turns.ask(100, now, delivered_at=NEVER)
    assert not turns.ask(100, 5.001, delivered_at=5.0)
    assert turns.rule.wake_at > 5.0
    turns.answer(100, 5.002)
    assert turns.ask(100, 5.002, delivered_at=5.0)
    assert turns.counts == (1, 0, 0)


def test_hold_limit_starts_when_the_target_has_the_request() -> None:
    """A target that needs long to take in a request has the whole hold limit left to answer it."""
    turns = Turns(hold_limit_s=5.0)
    turns.ask(0, 0.0)
    for now in (1.0, 10.0, 100.0):
        assert not turns.ask(100, now, delivered_at=NEVER)
    assert not turns.ask(100, 104.9, delivered_at=100.0)
    assert turns.ask(100, 105.0, delivered_at=100.0)
    assert turns.counts == (0, 0, 1)


def test_complete_answer_is_enough_although_octets_are_unacknowledged() -> None:
    """An answer of full length releases the turn even when the acknowledgement of its request is missing."""
    turns = Turns()
    turns.ask(0, 0.0)
    turns.answer(100, 1.0)
    assert turns.ask(100, 1.0, delivered_at=NEVER)


def test_a_response_that_began_late_is_waited_for_as_long_again() -> None:
    """A target that thought for 300 ms before its first octet may do so before the next."""
    turns = Turns()
    turns.ask(0, 0.0)
    turns.answer(10, 0.3)
    assert not turns.ask(100, 0.3)
    assert turns.rule.wake_at == 0.6
    turns.answer(100, 0.5)
    assert turns.ask(100, 0.5)
    turns.answer(110, 0.501)
    assert not turns.ask(200, 0.501)
    assert turns.rule.wake_at > 0.5 + 3 * 0.19, "the pause of the turn before counts"


def test_an_answer_that_was_given_before_is_not_waited_for_until_the_hold_limit() -> None:
    """With requests in flight a difference may be taken for one too early; the target has then said what the next
    request waits for, and its silence is enough."""
    turns = Turns()
    turns.ask(0, 0.0)
    turns.answer(400, 0.001)
    assert turns.ask(100, 1.0), "it looked longer, but it had answered three requests that came later"
    assert not turns.ask(200, 1.0, delivered_at=1.0)
    assert turns.ask(200, 1.3, delivered_at=1.0)
    assert turns.counts == (0, 2, 0)


def test_a_surplus_is_not_taken_for_the_answer_to_come() -> None:
    """A target that is ahead in all because each response is longer, and then thinks, is waited for: well beyond what
    it lately needed to begin, even if it never paused."""
    for thought_s, silence_s in ((0.004, 0.3), (0.2, 0.6), (4.0, 5.0)):
        turns = Turns()
        sent_at = 0.0
        turns.ask(0, sent_at)
        for turn in range(1, 21):
            turns.answer(turn * 110, sent_at + thought_s)
            assert not turns.ask(turn * 100, sent_at + thought_s, sent_at)
            now = turns.rule.wake_at
            assert turns.ask(turn * 100, now, sent_at)
            sent_at = now
        assert not turns.ask(2100, sent_at, sent_at)
        assert turns.rule.wake_at == pytest.approx(sent_at + silence_s, rel=0.05)


def test_a_long_response_that_stops_short_is_waited_for_as_long_as_it_took() -> None:
    """It is more likely held up than over; one that is longer than online's has no reason to be held up."""
    for received, quiet_s in ((50, 0.8), (150, 0.075)):
        turns = Turns()
        turns.ask(0, 1.0)
        for step in range(1, 33):
            turns.answer(received * step // 32, 1.0 + 0.025 * step)
        assert not turns.ask(100, 1.8)
        assert abs(turns.rule.wake_at - 1.8 - quiet_s) < 0.03


def test_a_pause_counts_for_less_with_each_response_that_has_none() -> None:
    """Else one of a busy machine would hold every later turn of a target whose responses differ."""
    turns = Turns()
    sent_at = 0.0
    turns.ask(0, sent_at)
    waits = []
    for turn in range(1, 200):
        turns.answer(turn * 150 - 40, sent_at + 0.001)
        answered_at = sent_at + (0.101 if turn == 1 else 0.0011)
        turns.answer(turn * 150, answered_at)
        assert not turns.ask(turn * 100, answered_at, sent_at)
        now = turns.rule.wake_at
        assert turns.ask(turn * 100, now, sent_at)
        waits.append(now - answered_at)
        sent_at = now
    assert waits[0] == pytest.approx(0.3)
    assert waits[20] > 0.15
    assert waits[-1] < 0.02
