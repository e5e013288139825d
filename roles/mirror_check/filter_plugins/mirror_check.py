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


def mirror_check_lines(result: dict[str, Any], ports: list[int] | int = ()) -> list[dict[str, Any]] | None:
    """The JSON lines that `tail` printed of a session log, those of services on other ports left out.

    No ports are all ports. None when it did not run.
    """
    if result.get("skipped") or "stdout" not in result:
        return None
    wanted = {int(port) for port in ([ports] if isinstance(ports, int | str) else ports)}
    lines = [json.loads(line) for line in result["stdout"].splitlines()]
    return [line for line in lines if not wanted or line["local_port"] in wanted]


def mirror_check_logs(
    names: list[str], hostvars: Mapping[str, Any], kind: str, ports: list[int] | int = ()
) -> dict[str, Any]:
    """By host: what its service `online` or `target` logged, see mirror_check_lines(); None when it keeps no log."""
    return {name: mirror_check_lines(hostvars[name].get(f"__mirror_check_{kind}_log", {}), ports) for name in names}


def mirror_check_statuses(names: list[str], hostvars: Mapping[str, Any], daemon: str) -> dict[str, dict[str, Any]]:
    """By host: the status of its daemon of this kind, `before` and `after`."""
    return {
        name: {
            when: mirror_check_json(_of_daemon(hostvars[name].get(f"__mirror_check_status_{when}", {}), daemon))
            for when in ("before", "after")
        }
        for name in names
    }


def mirror_check_versions(statuses: dict[str, Any]) -> list[str]:
    """What each daemon of a host is, from the results of the loop that asked them."""
    return [f"copytool {daemon_of(result)} {_version(mirror_check_json(result))}" for result in statuses["results"]]


def daemon_of(result: dict[str, Any]) -> str:
    """The daemon that a result is of: of a loop over daemons, or over the results of such a loop."""
    item = result["item"]
    return str(item["item"] if isinstance(item, Mapping) else item)


def _of_daemon(statuses: dict[str, Any], daemon: str) -> dict[str, Any]:
    return next((result for result in statuses.get("results", []) if daemon_of(result) == daemon), {})


def _version(status: dict[str, Any]) -> str:
    return f"{status['version']}, {status['flavour']}" if status else "(does not answer)"


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
            "mirror_check_versions": mirror_check_versions,
        }
