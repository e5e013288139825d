"""What a check found."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ...errors import CopytoolError

__all__ = ["FAILED", "OK", "SKIPPED", "WARNING", "Result", "failed", "ok", "run", "skipped", "warning"]

OK, WARNING, FAILED, SKIPPED = "ok", "warning", "failed", "skipped"


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the table. `cause` and `fix`, a line each, are there when the state is warning or failed."""

    check: str
    """Which check; always the same word."""

    subject: str
    """What of several things was looked at: an interface, a target; or ""."""

    state: str
    """OK, WARNING, FAILED, or SKIPPED if it could not be looked at; `seen` then says why."""

    seen: str
    """What there is."""

    cause: str = ""
    fix: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    """Figures for whoever joins the results of several hosts."""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON-able data."""
        return {
            "check": self.check,
            "subject": self.subject,
            "state": self.state,
            "seen": self.seen,
            "cause": self.cause,
            "fix": self.fix,
            "data": self.data,
        }


def ok(check: str, seen: str, subject: str = "", **data: Any) -> Result:
    """Return that all is well."""
    return Result(check, subject, OK, seen, data=data)


def warning(check: str, seen: str, cause: str, fix: str, subject: str = "", **data: Any) -> Result:
    """Return that something may be wrong."""
    return Result(check, subject, WARNING, seen, cause, fix, data)


def failed(check: str, seen: str, cause: str, fix: str, subject: str = "", **data: Any) -> Result:
    """Return that something keeps sessions from arriving."""
    return Result(check, subject, FAILED, seen, cause, fix, data)


def skipped(check: str, why: str, subject: str = "", **data: Any) -> Result:
    """Return that it could not be looked at."""
    return Result(check, subject, SKIPPED, why, data=data)


def run(check: str, look: Callable[..., Result | Iterable[Result]], *arguments: Any) -> list[Result]:
    """Return what `look(*arguments)` finds; that it was skipped, with the reason, if the host does not let it look."""
    results: list[Result] = []
    try:
        found = look(*arguments)
        for result in [found] if isinstance(found, Result) else found:
            results.append(result)
    except CopytoolError as error:
        results.append(skipped(check, str(error)))
    except OSError as error:
        results.append(skipped(check, error.strerror or str(error)))
    except Exception as error:  # it shall not hide what the others find
        results.append(failed(check, "internal error", repr(error), "please report it"))
    return results
