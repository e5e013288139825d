"""Takes JSON out of registered results, also out of those of commands that failed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def mirror_check_json(result: dict[str, Any]) -> dict[str, Any]:
    """The object that a command printed; {} when it failed or did not run."""
    if result.get("rc", 1) != 0 and not result.get("stdout"):
        return {}
    try:
        return dict(json.loads(result["stdout"]))
    except (KeyError, ValueError):
        return {}


def mirror_check_lines(result: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The JSON lines that a command printed; None when it did not run."""
    if result.get("skipped") or "stdout" not in result:
        return None
    return [json.loads(line) for line in result["stdout"].splitlines()]


def mirror_check_logs(names: list[str], hostvars: Mapping[str, Any], key: str) -> dict[str, Any]:
    """By host: the JSON lines of the result that it registered as `key`; None when there is none."""
    return {name: mirror_check_lines(hostvars[name].get(key, {})) for name in names}


def mirror_check_statuses(names: list[str], hostvars: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """By host: its daemon's status `before` and `after`."""
    return {
        name: {
            when: mirror_check_json(hostvars[name].get(f"__mirror_check_status_{when}", {}))
            for when in ("before", "after")
        }
        for name in names
    }


def mirror_check_linked(status: dict[str, Any]) -> bool:
    """Whether the daemon whose status this is has links, and all of them are established."""
    states = [peer.get("state") for peer in status.get("link", [])]
    return bool(states) and all(state == "established" for state in states)


def mirror_check_ended(before: dict[str, Any], after: dict[str, Any]) -> int:
    """How many sessions copy saw and was done with in between."""
    return _ended(after) - _ended(before)


def _ended(status: dict[str, Any]) -> int:
    sessions = status.get("sessions", {})
    return int(sessions.get("seen", 0)) - int(sessions.get("outcomes", {}).get("active", 0))


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        """The filters that this file brings."""
        return {
            "mirror_check_ended": mirror_check_ended,
            "mirror_check_json": mirror_check_json,
            "mirror_check_linked": mirror_check_linked,
            "mirror_check_lines": mirror_check_lines,
            "mirror_check_logs": mirror_check_logs,
            "mirror_check_statuses": mirror_check_statuses,
        }
