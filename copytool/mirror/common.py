"""What all connections and sessions of an engine that lead to one target have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .config import MirrorConfig
from .counters import EngineCounters
from .emitter import Emitter
from .habits import TargetHabits
from .path import PathLimit

if TYPE_CHECKING:
    from .session import Session

__all__ = ["Common"]


class Common:
    """One object that they all refer to, which costs each of them one reference.

    path: towards the target's address; habits: of the target; the rest is the engine's. ready: the sessions that have
    something new, oldest first; awake: those that may fall asleep. Each is there at most once.
    """

    __slots__ = ("awake", "config", "counters", "emitter", "habits", "path", "ready")

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
