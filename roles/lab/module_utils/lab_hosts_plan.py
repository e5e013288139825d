"""Plan the lab's hosts: what to do, in order, to get from what is there to what is wanted.

Pure: no input, no output. A host is an overlay over a root file system that others share, some files of its own in it,
and the processes that run it: systemd-nspawn and the systemd inside.

Wanted: ``{"hosts": {name: {"lower": path, "build": id, "files": {path: {"content": str, "mode": str}}}}}`` where
``lower`` is the root file system, ``build`` what tells it from others at the same place.
Current: ``{name: {"exists": bool, "made_of": id or None, "mounted": bool, "files": {path: file}, "processes": bool,
"running": bool}}`` where ``exists`` says that the host has a directory, ``made_of`` which build of the root file system
its overlay lies on, ``processes`` that any process of it is alive and ``running`` that all are, in the right namespace;
a file has ``content`` and ``mode``, None when there is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Operation = dict[str, Any]
State = dict[str, Any]


def plan_present(wanted: State, current: State) -> list[Operation]:
    """Operations that make the wanted hosts run and remove other ones, none when all is so already."""
    surplus = {name: host for name, host in current.items() if name not in wanted["hosts"]}
    operations = plan_absent(surplus)
    for name, host in wanted["hosts"].items():
        operations += _host(name, host, current.get(name, _NOTHING))
    return operations


def plan_absent(current: State) -> list[Operation]:
    """Operations that remove every host there is, newest first."""
    operations: list[Operation] = []
    for name in reversed(current):
        operations += _remove(name, current[name])
    return operations


def describe(operation: Operation) -> str:
    """One line for people."""
    details = f" {operation['path']}" if "path" in operation else ""
    return f"{operation['host']}: {operation['op'].replace('_', ' ')}{details}"


def fresh_hosts(operations: list[Operation]) -> set[str]:
    """Hosts that a plan makes from nothing."""
    return {operation["host"] for operation in operations if operation["op"] == "make_directory"}


def host_files(
    name: str, *, addresses: dict[str, str], sysctl: dict[str, Any], machine_id: str, keys: dict[str, str]
) -> dict[str, State]:
    """Files that make one host of the shared root file system.

    ``addresses`` maps each host of the lab to its address; ``keys`` holds ``authorized``, ``host`` (private) and
    ``host_public``.
    """
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback", ""]
    lines += [f"{address} {host}" for host, address in addresses.items()]
    settings = "".join(f"{key} = {value}\n" for key, value in sysctl.items())
    return {
        "/etc/hostname": _file(f"{name}\n"),
        "/etc/hosts": _file("\n".join(lines) + "\n"),
        "/etc/machine-id": _file(f"{machine_id}\n", "0444"),
        "/etc/resolv.conf": _file("# The lab has no name servers: see /etc/hosts.\n"),
        "/etc/sysctl.d/60-lab.conf": _file(settings),
        "/etc/ssh/ssh_host_ed25519_key": _file(keys["host"], "0600"),
        "/etc/ssh/ssh_host_ed25519_key.pub": _file(keys["host_public"]),
        "/root/.ssh/authorized_keys": _file(keys["authorized"], "0600"),
    }


_NOTHING: State = {
    "exists": False,
    "made_of": None,
    "mounted": False,
    "files": {},
    "processes": False,
    "running": False,
}


def _file(content: str, mode: str = "0644") -> State:
    return {"content": content, "mode": mode}


def _host(name: str, host: State, current: State) -> Iterator[Operation]:
    if current["made_of"] not in (None, host["build"]):
        yield from _remove(name, current)
        current = _NOTHING
    if not current["exists"]:
        yield {"op": "make_directory", "host": name}
    if not current["mounted"]:
        if current["processes"]:
            yield {"op": "kill", "host": name}
        current = {**current, "processes": False, "running": False}
        yield {"op": "mount", "host": name, "lower": host["lower"], "build": host["build"]}
    for path, file in host["files"].items():
        if current["files"].get(path) != file:
            yield {"op": "write", "host": name, "path": path, **file}
    if not current["running"]:
        if current["processes"]:
            yield {"op": "kill", "host": name}
        yield {"op": "boot", "host": name}


def _remove(name: str, current: State) -> Iterator[Operation]:
    if current["processes"]:
        yield {"op": "kill", "host": name}
    if current["mounted"]:
        yield {"op": "unmount", "host": name}
    if current["exists"]:
        yield {"op": "remove_directory", "host": name}
