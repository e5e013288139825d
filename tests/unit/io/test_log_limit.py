"""Of what is logged again and again, some is shown, and how much is not."""

from __future__ import annotations

import logging

import pytest

from copytool.io.log_limit import BURST, INTERVAL_S, MAX_CAUSES, UNLIMITED, LogLimit


class Log:
    """What passes the limit, at times that the test chooses."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.limit = LogLimit(lambda: self.now)

    def say(
        self, text: str, *arguments: object, name: str = "copytool.io.ring", level: int = logging.WARNING
    ) -> str | None:
        """Log a message; return it as it is shown, None if it is not."""
        return self._pass(logging.LogRecord(name, level, "ring.py", 1, text, arguments, None))

    def fail(self, kind: type[Exception]) -> str | None:
        """Log an exception that is raised here."""
        try:
            raise kind
        except kind as error:
            exception = (kind, error, error.__traceback__)
            return self._pass(logging.LogRecord("copytool.io.loop", logging.ERROR, "loop.py", 1, "bug", (), exception))

    def _pass(self, record: logging.LogRecord) -> str | None:
        return record.getMessage() if self.limit.filter(record) else None


@pytest.fixture
def log() -> Log:
    return Log()


def test_a_burst_is_shown_then_one_a_minute(log: Log) -> None:
    """The one after those that were not shown says how many they were; the next need not."""
    shown = [log.say("drops: %d", n) for n in range(BURST + 7)]
    assert shown == [f"drops: {n}" for n in range(BURST)] + [None] * 7
    log.now += INTERVAL_S - 1
    assert log.say("drops: %d", 50) is None
    log.now += 1
    assert log.say("drops: %d", 60) == "drops: 60 (8 more like it were not shown)"
    assert log.say("drops: %d", 61) is None
    log.now += INTERVAL_S
    assert log.say("drops: %d", 62) == "drops: 62 (1 more like it were not shown)"
    log.now += INTERVAL_S
    assert log.say("drops: %d", 63) == "drops: 63"


def test_after_a_while_there_is_a_whole_burst_again(log: Log) -> None:
    """And not more than one, however long it was quiet."""
    for _ in range(BURST):
        assert log.say("gone")
    log.now += 100 * BURST * INTERVAL_S
    assert [log.say("gone") for _ in range(BURST + 1)] == ["gone"] * BURST + [None]


def test_arguments_make_no_other_cause(log: Log) -> None:
    """A peer that comes from ever new ports does not fill the log."""
    shown = [log.say("link from %s ended", f"192.0.2.1:{port}") for port in range(1000)]
    assert len([text for text in shown if text]) == BURST


def test_another_message_level_or_logger_is_another_cause(log: Log) -> None:
    """What is not heard of often is not hidden by what is."""
    for _ in range(2 * BURST):
        log.say("lost")
    assert log.say("lost") is None
    assert log.say("found") and log.say("lost", level=logging.ERROR) and log.say("lost", name="copytool.io.output")


def test_exceptions_are_told_apart_by_where_they_arose(log: Log) -> None:
    """The message of the handler that caught them is the same for all."""
    shown = [log.fail(ValueError) for _ in range(2 * BURST)]
    assert shown == ["bug"] * BURST + [None] * BURST
    assert log.fail(KeyError) == "bug"


@pytest.mark.parametrize("name", UNLIMITED)
def test_what_somebody_did_or_asked_for_is_always_shown(log: Log, name: str) -> None:
    """Also when it is much."""
    assert all(log.say("uid 0 asked for pause", name=name, level=logging.INFO) for _ in range(10 * BURST))


def test_debugging_shows_all(log: Log) -> None:
    """That is what it is for."""
    assert all(log.say("session ended", level=logging.DEBUG) for _ in range(10 * BURST))


def test_causes_that_are_remembered_are_bounded(log: Log) -> None:
    """The one that has been quiet for longest is forgotten, one that goes on is not."""
    for _ in range(BURST):
        log.say("busy")
    for number in range(2 * MAX_CAUSES):
        assert log.say(f"message {number}")
        assert log.say("busy") is None
    assert len(log.limit._causes) == MAX_CAUSES


def test_a_message_with_a_per_cent_sign_is_not_filled_in_twice(log: Log) -> None:
    """Once the number of those not shown is in it, it has no arguments any more."""
    for _ in range(BURST + 1):
        log.say("at %s", "100 %d")
    log.now += INTERVAL_S
    assert log.say("at %s", "100 %d") == "at 100 %d (1 more like it were not shown)"
