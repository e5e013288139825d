"""The target's way back: which host its answers to the client network go to, or that they end here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address

from ...errors import HostError
from ...link.share import Network
from . import host
from .result import Result, failed, ok, skipped, warning

__all__ = ["WayBack", "check_neighbour", "check_way_back", "ends_here"]

_UNRESOLVED = ("INCOMPLETE", "FAILED", "NONE")


@dataclass(frozen=True, slots=True)
class WayBack:
    """A route as the kernel chooses it; gateway is "" for what is on the link itself."""

    interface: str
    gateway: str
    kind: str

    @property
    def ends_here(self) -> bool:
        """Whether what takes it comes in on the loopback again, and nowhere else."""
        return self.interface == host.LOOPBACK and not self.gateway


def ends_here(assistants: list[str]) -> bool:
    """Return whether one of the assistants is this host, so that the target's answers have to end here."""
    local = host.local_addresses()
    own = [ip_address(text) for text in assistants]
    return any(address.packed in local or address.is_loopback for address in own)


def check_way_back(network: Network, first: bytes, count: int, assistants: list[str]) -> tuple[Result, WayBack | None]:
    """Return whether the target sends answers to `network` to an assistant, and the way that they take.

    first, count: the usable addresses; the first and the last one are looked at.
    """
    subject = str(network)
    here = ends_here(assistants)
    gateways = [text for text in assistants if ip_address(text).version == network.version]
    fix = f"{_command(network, gateways, here)}; playbooks/routes.yml makes it last"
    ways: list[WayBack] = []
    for number in dict.fromkeys((0, count - 1)):
        address = str(ip_address((int.from_bytes(first, "big") + number).to_bytes(len(first), "big")))
        try:
            ways.append(_way_to(address))
        except HostError as error:
            cause = "the target has no route for the client network"
            return failed("route", f"{address}: {error}", cause, fix, subject), None
    for way in ways:
        problem = None if here and _is_right_here(way, network) else _problem(way, network, gateways)
        if problem is not None:
            judge, cause = problem
            return judge("route", _described(way), cause, fix, subject), way
    return ok("route", _described(ways[0]), subject, gateway=ways[0].gateway, interface=ways[0].interface), ways[0]


def _command(network: Network, gateways: list[str], here: bool) -> str:
    """Return the command that makes the route right."""
    if here:
        kind = "-6 route replace local" if network.version == 6 else "route replace"
        return f"ip {kind} {network} dev {host.LOOPBACK} mtu 1500"
    return f"ip route replace {network} via {gateways[0] if gateways else 'ASSISTANT'}"


def _is_right_here(way: WayBack, network: Network) -> bool:
    """Return whether answers end here: IPv6 has no other routes over the loopback than local ones."""
    return way.ends_here and way.kind == ("local" if network.version == 6 else "unicast")


def _problem(way: WayBack, network: Network, assistants: list[str]) -> tuple[Callable[..., Result], str] | None:
    """Return what is wrong with a route that has to lead to an assistant: how it is judged, and why."""
    if way.kind == "local":
        return failed, "an address of the client network is this host's own"
    if way.kind != "unicast":
        return failed, f"the route is {way.kind}: answers end at the target itself"
    if way.ends_here:
        return failed, f"answers end on {way.interface}, and none of copy's -s ({', '.join(assistants)}) is this host"
    if not way.gateway:
        return failed, f"{network} counts as on the link of {way.interface}: the target asks there who has an address"
    if way.gateway in assistants:
        return None
    if _is_default(network):
        return failed, f"there is no route of its own: answers follow the default route via {way.gateway}"
    if any(_is_on_link(text) for text in assistants):
        return failed, f"answers go to {way.gateway}, which is none of copy's -s ({', '.join(assistants)})"
    return warning, f"answers go to {way.gateway}; right only if that router sends {network} on to an assistant"


def _way_to(address: str) -> WayBack:
    entry = host.ip_json("route", "get", address)[0]
    gateway = entry.get("gateway") or entry.get("via", {}).get("host", "")
    return WayBack(entry.get("dev", ""), gateway, entry.get("type", "unicast"))


def _is_default(network: Network) -> bool:
    """Return whether no route but the default one covers the network."""
    shown = host.ip_json(f"-{network.version}", "route", "show", "match", str(network))
    return all(entry["dst"] in ("default", "0.0.0.0/0", "::/0") for entry in shown)


def _is_on_link(address: str) -> bool:
    try:
        way = _way_to(address)
    except HostError:
        return False
    return not way.gateway and way.kind == "unicast"


def _described(way: WayBack) -> str:
    if way.ends_here:
        return f"ends here, on {way.interface}" + ("" if way.kind == "unicast" else f" ({way.kind})")
    text = f"via {way.gateway or 'nobody'}" + (f" on {way.interface}" if way.interface else "")
    return text if way.kind == "unicast" else way.kind


def check_neighbour(way: WayBack) -> Result:
    """Whether the next hop's link-layer address is known; without one no answer leaves."""
    if not way.gateway:
        why = "answers end here" if way.ends_here else "there is no next hop"
        return skipped("neighbour", why)
    entries = host.ip_json("neighbour", "show", "to", way.gateway, "dev", way.interface)
    states = [state for entry in entries for state in entry.get("state", [])]
    address = next((entry["lladdr"] for entry in entries if "lladdr" in entry), "")
    if address:
        return ok("neighbour", f"{address} ({', '.join(states)})", way.gateway)
    if any(state in _UNRESOLVED for state in states):
        cause = f"{way.gateway} does not answer on {way.interface}: it is down, or not on this link"
        fix = f"check the assistant, the cable, the VLAN; ping {way.gateway}"
        return failed("neighbour", "unresolved", cause, fix, way.gateway)
    return skipped("neighbour", "nobody has asked for its address lately", way.gateway)
