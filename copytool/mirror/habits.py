"""How one target answers, for sessions that have not learnt it yet. Times in seconds."""

from __future__ import annotations

from .config import MirrorConfig

__all__ = ["PER_RESPONSE", "TargetHabits"]

PER_RESPONSE = 0.98
"""What an older pause counts for after each response that has none."""

_PER_RESPONSE = PER_RESPONSE

_KNOWN_RESPONSES = 20
_HALF_LIFE_S = 60.0
_THOUGHTS = 3


class TargetHabits:
    """The longest recent pauses before and inside a response, whether responses are as long as online's, whether it
    speaks unasked.

    has_been_equal: responses that were complete at both hosts had equal lengths at least once.
    """

    __slots__ = (
        "_config",
        "_differed_at",
        "_longest_at",
        "_longest_s",
        "_responses",
        "_thought_at",
        "_thought_s",
        "_unasked_at",
        "has_been_equal",
    )

    def __init__(self, config: MirrorConfig) -> None:
        self._config = config
        self._longest_s = 0.0
        self._longest_at = 0.0
        self._thought_s = 0.0
        self._thought_at = 0.0
        self._responses = 0
        self.has_been_equal = False
        self._differed_at = float("-inf")
        self._unasked_at = float("-inf")

    def note(self, pause_s: float, now: float) -> None:
        """Take in a pause; one beyond the limit is no part of a response but a server that speaks by itself."""
        if self.longest_s(now) < pause_s <= self._config.quiet_max_s:
            self._longest_s = pause_s
            self._longest_at = now

    def note_thought(self, thought_s: float, now: float) -> None:
        """Take in the time from a request's release to the first octet of its response, or of what comes unasked."""
        if thought_s > self._config.hold_limit_s:
            return
        if self._fade(self._thought_s, now - self._thought_at) < thought_s:
            self._thought_s = thought_s
            self._thought_at = now

    def note_response(self) -> None:
        """A response was seen from its beginning to its end; each that comes without a pause lets older ones fade."""
        self._responses += 1
        self._longest_s *= _PER_RESPONSE

    def note_lengths(self, equal: bool, now: float) -> None:
        """Responses that were complete at both hosts had equal lengths, or had not."""
        if equal:
            self.has_been_equal = True
        else:
            self._differed_at = now

    def answers_alike(self, now: float) -> bool:
        """Return whether responses were as long as online's, and none was known to differ lately."""
        return self.has_been_equal and now - self._differed_at > _HALF_LIFE_S

    def note_unasked(self, now: float) -> None:
        """It has gone on speaking for the whole hold limit, beyond what online had answered."""
        self._unasked_at = now

    def speaks_unasked(self, now: float) -> bool:
        """Return whether it lately did."""
        return now - self._unasked_at <= _HALF_LIFE_S

    def longest_s(self, now: float) -> float:
        """Return the longest pause; an old one counts for less."""
        return self._fade(self._longest_s, now - self._longest_at)

    def silence_s(self, now: float) -> float:
        """Return the silence after a request that shows that it has been answered already."""
        return max(self._config.quiet_first_s, _THOUGHTS * self._fade(self._thought_s, now - self._thought_at))

    def _fade(self, longest_s: float, age_s: float) -> float:
        return float(longest_s * 0.5 ** (age_s / _HALF_LIFE_S)) if longest_s else 0.0

    def least_quiet_s(self, is_shorter: bool, now: float) -> float:
        """Return the least silence that may mean the end of a response, which is shorter than online's or is not."""
        config = self._config
        if self._responses < _KNOWN_RESPONSES or (is_shorter and self.answers_alike(now)):
            return config.quiet_first_s
        return config.quiet_min_s
