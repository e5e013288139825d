"""What all connections and sessions of an engine that lead to one target have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .config import MirrorConfig
from .counters import EngineCounters
from .emitter import Emitter
from .habits import TargetHabits
from .path import PathLimit

if TYPE_CHECKING:
    from .asleep import Awake
    from .session import Session

__all__ = ["Common"]


class Common:
    """One object that they all refer to, which costs each of them one reference.

    path: towards the target's address; habits: of the target; the rest is the engine's. ready: the sessions that have
    something new, oldest first; awake: those that may fall asleep. Each is there at most once.
    spares: what sessions that have fallen asleep left for those that wake up; woken: how many did in this period. New
    parts instead of spares would keep the garbage collector busy, which looks at all sessions in the end.
    """

    __slots__ = ("_wanted", "awake", "config", "counters", "emitter", "habits", "path", "ready", "spares", "woken")

    def __init__(
        self,
        config: MirrorConfig,
        counters: EngineCounters,
        emitter: Emitter,
        ready: list[Session],
        awake: list[Session],
        path: PathLimit,
        habits: TargetHabits,
    ) -> None:
        self.config = config
        self.counters = counters
        self.emitter = emitter
        self.ready = ready
        self.awake = awake
        self.path = path
        self.habits = habits
        self.spares: list[Awake] = []
        self.woken = 0
        self._wanted = 0

    def leave(self, parts: Awake) -> None:
        """Keep parts, which are at rest, for another session if one will probably need them."""
        if len(self.spares) < self._wanted:
            self.spares.append(parts)

    def begin_period(self) -> None:
        """Keep as many spares from now on as sessions woke up since this was called last."""
        self._wanted = self.woken
        self.woken = 0
        del self.spares[self._wanted :]
