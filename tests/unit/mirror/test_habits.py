"""What sessions have shown of a target, and what the release rule makes of it for others."""

from __future__ import annotations

from copytool.mirror.config import MirrorConfig
from copytool.mirror.habits import TargetHabits

from .test_release import Turns, known


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


def test_what_comes_long_after_a_request_is_no_thinking() -> None:
    """A long poll or a push says nothing of how long the target needs."""
    config = MirrorConfig()
    habits = known(config)
    habits.note_thought(config.hold_limit_s + 1, 0.0)
    assert habits.silence_s(0.0) == config.quiet_first_s
    habits.note_thought(1.0, 0.0)
    assert habits.silence_s(0.0) == 3.0
