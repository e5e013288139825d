"""What a judge says about one thing on one host."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Finding", "failed", "ok", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """state: ok, warning or failed. cause and fix are empty if all is well."""

    host: str
    check: str
    state: str
    seen: str
    cause: str = ""
    fix: str = ""


def ok(host: str, check: str, seen: str) -> Finding:
    """Nothing is wrong."""
    return Finding(host, check, "ok", seen)


def warning(host: str, check: str, seen: str, cause: str, fix: str) -> Finding:
    """It may be wrong, or works with a loss."""
    return Finding(host, check, "warning", seen, cause, fix)


def failed(host: str, check: str, seen: str, cause: str, fix: str) -> Finding:
    """It would do harm, or could not work."""
    return Finding(host, check, "failed", seen, cause, fix)
