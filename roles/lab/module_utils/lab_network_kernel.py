"""Read the lab's network from the kernel and carry out planned operations, through netlink."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible.module_utils.lab_mounts import unmount_below
from ansible.module_utils.lab_processes import in_netns, kill
from pyroute2 import IPRoute
from pyroute2 import netns as namespaces

NETNS_DIR = Path("/run/netns")
_IFF_UP = 1
_SCOPE_UNIVERSE = 0


class Registry:
    """Which namespaces this lab made, on disk, oldest first. A name is noted before the namespace is made."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> list[str]:
        """Names of the namespaces that the lab made."""
        return self._read()["namespaces"]

    def made_directory(self) -> bool:
        """Tell whether the lab's first namespace was the machine's first, so that even their directory is new."""
        return self._read()["made_directory"]

    def add(self, name: str) -> None:
        """Note that the lab is about to make this namespace."""
        noted = self._read()
        if name not in noted["namespaces"]:
            self._write(noted["namespaces"] + [name], noted["made_directory"] or not NETNS_DIR.exists())

    def discard(self, name: str) -> None:
        """Forget a namespace that is gone."""
        noted = self._read()
        names = [other for other in noted["namespaces"] if other != name]
        if names:
            self._write(names, noted["made_directory"])
        else:
            self._path.unlink(missing_ok=True)

    def _read(self) -> dict[str, Any]:
        try:
            return json.loads(self._path.read_text())
        except FileNotFoundError:
            return {"namespaces": [], "made_directory": False}

    def _write(self, names: list[str], made_directory: bool) -> None:
        self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps({"namespaces": names, "made_directory": made_directory}) + "\n")
        partial.replace(self._path)


def read_state(registry: Registry, names: list[str]) -> dict[str, Any]:
    """Current state, in the planner's form, of the lab's own namespaces and of those with these ``names``."""
    owned = registry.read()
    present = [name for name in dict.fromkeys([*owned, *names]) if (NETNS_DIR / name).exists()]
    return {"owned": owned, "namespaces": {name: _read_namespace(name) for name in present}}


def apply(operations: list[dict[str, Any]], registry: Registry) -> None:
    """Carry out a plan."""
    for operation in operations:
        arguments = {key: value for key, value in operation.items() if key != "op"}
        if operation["op"] == "add_netns":
            _add_netns(registry, **arguments)
        elif operation["op"] == "remove_netns":
            _remove_netns(registry, **arguments)
        else:
            with IPRoute(netns=arguments.pop("netns")) as ip:
                _LINK_OPERATIONS[operation["op"]](ip, **arguments)


def is_namespace(path: Path) -> bool:
    """Tell whether a namespace is mounted on this file; a crash can leave the file alone."""
    return path.exists() and path.stat().st_dev != path.parent.stat().st_dev


def _read_namespace(name: str) -> dict[str, Any]:
    if not is_namespace(NETNS_DIR / name):
        return {"mounted": False, "links": {}}
    with IPRoute(netns=name) as ip:
        addresses: dict[int, list[str]] = {}
        for message in ip.get_addr():
            if message["scope"] == _SCOPE_UNIVERSE:
                cidr = f"{message.get('IFA_ADDRESS')}/{message['prefixlen']}"
                addresses.setdefault(message["index"], []).append(cidr)
        links = {message.get("IFLA_IFNAME"): _read_link(message, addresses) for message in ip.get_links()}
    return {"mounted": True, "links": links}


def _read_link(message: Any, addresses: dict[int, list[str]]) -> dict[str, Any]:
    info = message.get("IFLA_LINKINFO")
    return {
        "index": message["index"],
        "kind": info.get("IFLA_INFO_KIND") if info else "",
        "up": bool(message["flags"] & _IFF_UP),
        "master": message.get("IFLA_MASTER"),
        "peer": message.get("IFLA_LINK"),
        "addresses": addresses.get(message["index"], []),
    }


def _add_netns(registry: Registry, netns: str) -> None:
    registry.add(netns)
    namespaces.create(netns)


def _remove_netns(registry: Registry, netns: str) -> None:
    path = NETNS_DIR / netns
    if is_namespace(path):
        kill(in_netns(path.stat().st_ino), f"network namespace {netns}")
        namespaces.remove(netns)
    else:
        path.unlink(missing_ok=True)
    if registry.made_directory() and NETNS_DIR.is_dir() and not any(NETNS_DIR.iterdir()):
        unmount_below(NETNS_DIR)
        NETNS_DIR.rmdir()
    registry.discard(netns)


def _index(ip: IPRoute, link: str) -> int:
    return ip.link_lookup(ifname=link)[0]


def _set_up(ip: IPRoute, link: str) -> None:
    ip.link("set", index=_index(ip, link), state="up")


def _add_bridge(ip: IPRoute, link: str) -> None:
    ip.link("add", ifname=link, kind="bridge")


def _add_veth(ip: IPRoute, link: str, peer_netns: str, peer_link: str) -> None:
    handle = os.open(NETNS_DIR / peer_netns, os.O_RDONLY | os.O_CLOEXEC)
    try:
        ip.link("add", ifname=link, kind="veth", peer={"ifname": peer_link, "net_ns_fd": handle})
    finally:
        os.close(handle)


def _remove_link(ip: IPRoute, link: str) -> None:
    for index in ip.link_lookup(ifname=link):  # None when it went with the namespace at its other end.
        ip.link("del", index=index)


def _set_master(ip: IPRoute, link: str, master: str) -> None:
    ip.link("set", index=_index(ip, link), master=_index(ip, master))


def _add_address(ip: IPRoute, link: str, address: str) -> None:
    host, _, prefix_length = address.partition("/")
    ip.addr("add", index=_index(ip, link), address=host, prefixlen=int(prefix_length))


def _remove_address(ip: IPRoute, link: str, address: str) -> None:
    host, _, prefix_length = address.partition("/")
    ip.addr("del", index=_index(ip, link), address=host, prefixlen=int(prefix_length))


_LINK_OPERATIONS = {
    "set_up": _set_up,
    "add_bridge": _add_bridge,
    "add_veth": _add_veth,
    "remove_link": _remove_link,
    "set_master": _set_master,
    "add_address": _add_address,
    "remove_address": _remove_address,
}
