"""Makes one status, and one list of ended sessions, of those of several workers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import __version__
from ..flavour import flavour
from ..mirror.counters import EngineCounters
from .budgets import budgets_status
from .channel import format_endpoint
from .settings import CopySettings

__all__ = ["add_up", "merge_sessions"]

Document = dict[str, Any]

_NOT_ADDED = ("role", "version", "flavour", "dry_run", "steering", "link", "certificate", "capabilities", "feed")


def add_up(settings: CopySettings, steering: Document, answers: Mapping[int, Document]) -> Document:
    """Return the status of all workers together, of their status documents by worker number.

    steering: what holds for all of them. Counters are sums. Of each link there is the worst state that a worker is in,
    and texts name the worker.
    """
    total = _nothing(settings, steering)
    total["budgets"] = {}
    for number, answer in sorted(answers.items()):
        _add(
            total,
            {key: value for key, value in answer.items() if key not in _NOT_ADDED},
            number,
        )
    certificates = [answer["certificate"] for answer in answers.values() if answer.get("certificate")]
    total["certificate"] = min(certificates, key=lambda one: str(one["not_after"]), default=None)
    outcomes = total["sessions"]["outcomes"]
    use = {name: budget["used"] for name, budget in total["budgets"].items()}
    total["budgets"] = budgets_status(settings.budgets, settings.mirror.max_sessions, use, outcomes)
    if not settings.mirror.dry_run:
        total["link"] = [_link(format_endpoint(address), answers) for address in settings.intercepts]
    return total


def _nothing(settings: CopySettings, steering: Document) -> Document:
    """Return a status that counts nothing."""
    return {
        "role": "copy",
        "version": __version__,
        "flavour": flavour(),
        "dry_run": settings.mirror.dry_run,
        "steering": steering,
        **EngineCounters().to_json(0, 0),
        "feed": {"kind": settings.feed.kind},
        "capture": {"packets": 0, "drops": 0, "problems": {}},
        "send": {"errors": {}, "unreachable": {}},
        "link": [],
        "certificate": None,
        "internal_errors": 0,
        "cpu_s": 0.0,
        "imbalance": [],
    }


def _add(total: Document, part: Document, number: int) -> None:
    for key, value in part.items():
        if isinstance(value, dict):
            _add(total.setdefault(key, {}), value, number)
        elif isinstance(value, list):
            total[key] = [*total.get(key, []), *(f"worker {number}: {item}" for item in value)]
        elif isinstance(value, float):
            total[key] = round(total.get(key, 0.0) + value, 6)
        elif isinstance(value, int):
            total[key] = total.get(key, 0) + value
        else:  # why a target cannot be reached, or an interface not captured on: about the same for all
            total.setdefault(key, value)


def _link(peer: str, answers: Mapping[int, Document]) -> Document:
    """Return the state of the workers' links to one intercept; each has its own connection."""
    links = [(number, link) for number, answer in sorted(answers.items()) for link in answer["link"]]
    links = [(number, link) for number, link in links if link["peer"] == peer]
    if not links:
        return {
            "peer": peer,
            "state": "closed",
            "reason": "no worker answers",
            "connects": 0,
            "version": "",
            "encrypted": False,
        }
    connects = sum(link["connects"] for _, link in links)
    for number, link in links:
        if link["state"] != "established":
            return {**link, "reason": f"worker {number}: {link['reason']}", "connects": connects}
    return {**links[0][1], "connects": connects}


def merge_sessions(answers: Mapping[int, Document], count: int | None) -> Document:
    """Return the last sessions that ended, newest last, of all workers' answers; at most `count`."""
    sessions = sorted(
        (session for _, answer in sorted(answers.items()) for session in answer["sessions"]),
        key=lambda session: session["ended_at"],
    )
    kept = sessions if count is None else sessions[len(sessions) - min(count, len(sessions)) :]
    return {"ended": sum(answer["ended"] for answer in answers.values()), "sessions": kept}
