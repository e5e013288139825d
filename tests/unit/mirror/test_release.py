"""The release rule: a turn goes to the target once the target has answered the one before."""

from __future__ import annotations

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


def test_a_target_that_is_ahead_and_known_to_answer_alike_is_not_waited_for() -> None:
    """With octets in flight both ways it may have answered more than a request had seen, once the client has, too."""
    habits = known(MirrorConfig())
    first = Turns(habits=habits)
    first.ask(0, 0.0)
    first.answer(100, 0.001)
    assert first.ask(100, 5.0), "the client paused: both hosts' answers were complete, and equal"
    turns = Turns(habits=habits)
    turns.ask(0, 6.0)
    turns.answer(250, 7.0)
    assert turns.ask(100, 7.0, latest_seen=300)
    turns.answer(400, 7.1)
    assert turns.ask(400, 7.1)
    assert turns.counts == (2, 0, 0)
    turns.answer(650, 7.2)
    assert not turns.ask(500, 7.2, latest_seen=600), "nobody has read that much online"


def test_a_session_that_ends_with_other_lengths_shows_that_the_target_differs() -> None:
    """For a minute no session takes a longer answer for octets in flight; the FIN may have been read or not."""
    habits = known(MirrorConfig())
    for seen, alike in ((101, True), (100, True), (99, True), (50, False), (100, False)):
        turns = Turns(habits=habits)
        turns.ask(0, 0.0)
        turns.answer(100, 0.001, finished=True)
        turns.rule.note_end(seen, 1.0)
        assert habits.answers_alike(2.0) == alike
    assert habits.answers_alike(62.0)
    silent = Turns(habits=known(MirrorConfig()))
    silent.rule.note_end(100, 1.0)
    assert not silent.rule._habits.answers_alike(2.0), "a target that says nothing is not known"


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


def test_a_target_that_never_stops_speaking_holds_one_turn_only() -> None:
    """Once the hold limit has shown that it speaks by itself, having answered enough is enough."""
    turns = Turns(hold_limit_s=5.0)
    turns.ask(0, 0.0)
    now, octets = 0.0, 0
    for turn in range(1, 20):
        while not turns.ask(turn * 10, now):
            now += 0.02
            octets += 7
            turns.answer(octets, now)
            assert now < 7
    assert turns.counts[2] == 1


def test_a_longer_response_held_in_silence_does_not_count_as_unasked() -> None:
    """With a hold limit below the quiet time it ends the wait; the target has said nothing meanwhile."""
    config = MirrorConfig(hold_limit_s=0.2)
    habits = TargetHabits(config)
    turns = Turns(habits, hold_limit_s=0.2)
    turns.ask(0, 0.0)
    turns.answer(150, 0.01)
    assert not turns.ask(100, 0.01)
    assert turns.ask(100, turns.rule.wake_at)
    assert turns.counts == (0, 0, 1)
    assert not habits.speaks_unasked(0.3)


def test_little_is_known_of_a_new_target() -> None:
    """Its first pause is not taken for the end of a response; after twenty responses its pauses are known."""
    config = MirrorConfig()
    pauses = TargetHabits(config)
    turns = Turns(habits=pauses)
    turns.ask(0, 0.0)
    turns.answer(10, 0.001)
    assert not turns.ask(100, 0.001)
    assert turns.rule.wake_at == 0.001 + config.quiet_first_s
    for turn in range(1, 21):
        turns.answer(turn * 100, turn * 0.002)
        assert turns.ask(turn * 100, turn * 0.002)
    turns.answer(2010, 0.042)
    assert not turns.ask(2100, 0.042)
    assert turns.rule.wake_at < 0.042 + 0.02


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
    assert turns.rule.wake_at > 0.5 + 3 * 0.2, "the pause of the turn before counts"


def test_pauses_of_other_sessions_count() -> None:
    """A session that has seen no pause waits as long as the target's pauses elsewhere suggest, for a while."""
    pauses = known(MirrorConfig())
    first, second = Turns(habits=pauses), Turns(habits=pauses)
    first.ask(0, 0.0)
    first.answer(10, 0.001)
    first.answer(20, 0.101)
    second.ask(0, 0.2)
    second.answer(10, 0.201)
    assert not second.ask(100, 0.201)
    assert 0.201 + 0.29 < second.rule.wake_at < 0.201 + 0.31
    third = Turns(habits=pauses)
    third.ask(0, 600.0)
    third.answer(10, 600.001)
    assert not third.ask(100, 600.001)
    assert third.rule.wake_at < 600.02, "ten minutes later it is forgotten"


def test_a_server_that_speaks_by_itself_does_not_slow_down_others() -> None:
    """A gap longer than the limit is no pause inside a response."""
    pauses = known(MirrorConfig())
    pauses.note(30.0, 0.0)
    assert pauses.longest_s(0.0) == 0.0
    pauses.note(0.5, 0.0)
    pauses.note(0.1, 1.0)
    assert 0.4 < pauses.longest_s(1.0) <= 0.5


def test_an_answer_that_was_given_before_is_not_waited_for_until_the_hold_limit() -> None:
    """With requests in flight a difference may be taken for one too early; the target has then said what the next
    request waits for, and its silence is enough."""
    turns = Turns()
    turns.ask(0, 0.0)
    turns.answer(400, 0.001)
    assert turns.ask(100, 1.0), "it looked longer, but it had answered three requests that came later"
    assert turns.ask(200, 1.0)
    assert turns.counts == (0, 2, 0)


def test_a_long_response_that_stops_short_is_waited_for_as_long_as_it_took() -> None:
    """It is more likely held up than over; one that is longer than online's has no reason to be held up."""
    for received, quiet_s in ((50, 0.8), (150, 0.075)):
        turns = Turns()
        turns.ask(0, 1.0)
        for step in range(1, 33):
            turns.answer(received * step // 32, 1.0 + 0.025 * step)
        assert not turns.ask(100, 1.8)
        assert abs(turns.rule.wake_at - 1.8 - quiet_s) < 0.03


def test_the_first_shorter_answer_is_given_time_to_be_sent_again() -> None:
    """Where all answers were alike, one that stops short has probably lost its end, for the 200 ms of a time-out."""
    config = MirrorConfig()
    habits = known(config)
    for has_differed in (False, True):
        habits.note_lengths(not has_differed, 0.0)
        turns = Turns(habits)
        turns.ask(0, 0.998)
        turns.answer(60, 1.0)
        assert not turns.ask(100, 1.0)
        assert turns.rule.wake_at == 1.0 + (config.quiet_min_s if has_differed else config.quiet_first_s)
