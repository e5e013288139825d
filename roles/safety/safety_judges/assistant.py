"""Judges of the assistant, which will forward nothing more, and of ports that are somebody else's already."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network

from .finding import Finding, failed, ok, warning
from .inventory import Host
from .network import Hosts, client_networks, having

__all__ = ["judge_assistants", "judge_ports"]

NETWORKS_OF_GUESTS = {
    "docker": "Docker", "br-": "Docker", "podman": "Podman", "cni": "Kubernetes or Podman", "flannel": "Kubernetes",
    "cali": "Kubernetes", "cilium": "Kubernetes", "kube": "Kubernetes", "virbr": "libvirt", "vnet": "libvirt",
    "lxcbr": "LXC", "lxdbr": "LXD", "incusbr": "Incus", "wg": "WireGuard", "tun": "a VPN",
}  # fmt: skip
_TRANSLATES = ("masquerade", "snat", "dnat", "redirect")


def judge_assistants(hosts: Hosts) -> Iterator[Finding]:
    """All assistants that answered, but for targets where answers end: these may forward."""
    for host in having(hosts, "assistant"):
        if host.seen is not None and not host.ends_here:
            yield forwarding(host, hosts)


def forwarding(host: Host, hosts: Hosts) -> Finding:
    """Nobody needs the forwarding that mirror_route switches off."""
    seen = host.seen or {}
    users = [*routed_by(host, hosts), *guests(host), *translations(host)]
    is_on = seen["sysctl"].get("net/ipv4/ip_forward") == "1"
    if not is_on:
        return ok(host.name, "forwarding", "is off")
    if not users and not seen.get("forwarded"):
        cause = "an assistant must not forward; it will be switched off, and on again by playbooks/teardown.yml"
        return warning(host.name, "forwarding", "is on, nobody seems to use it", cause, "nothing to do")
    if not users:
        users = [f"{seen['forwarded']:,} packets were forwarded since it was started"]
    cause = f"an assistant must not forward, and here somebody depends on it: {'; '.join(users[:3])}"
    fix = (
        "take a host that forwards nothing as assistant; or, if nobody needs that any more, give this host "
        "safety_accept: [forwarding]"
    )
    return failed(host.name, "forwarding", "is on", cause, fix)


def routed_by(host: Host, hosts: Hosts) -> list[str]:
    """Which hosts of the inventory send what is for others to this one."""
    found = []
    for other in hosts.values():
        if other.name == host.name:
            continue
        for route in other.routes_seen():
            if route.get("gateway") in host.addresses and not _is_client_network(route["dst"], hosts):
                what = "the default gateway" if route["dst"] == "default" else f"the way to {route['dst']}"
                found.append(f"it is {what} of {other.name}")
    return found


def _is_client_network(text: str, hosts: Hosts) -> bool:
    return text != "default" and ip_network(text, strict=False) in client_networks(hosts)


def guests(host: Host) -> list[str]:
    """What its interfaces say about containers, virtual machines and tunnels."""
    found = []
    for link in (host.seen or {}).get("addresses") or []:
        name = link["ifname"]
        owner = next((who for start, who in NETWORKS_OF_GUESTS.items() if name.startswith(start)), "")
        if owner:
            found.append(f"{owner} (interface {name})")
    return found


def translations(host: Host) -> list[str]:
    """Rules that translate the addresses of packets on their way through."""
    found = []
    for entry in ((host.seen or {})["firewall"]["nft"] or {}).get("nftables", []):
        rule = entry.get("rule")
        # iptables-nft's targets show as "xt", whatever they are.
        names = {name for statement in (rule or {}).get("expr", []) for name in statement}
        if names & set(_TRANSLATES) or (rule and rule["table"] == "nat" and "xt" in names):
            found.append(f"address translation in nft table {rule['family']} {rule['table']}")
    if "nat" in (host.seen or {})["firewall"]["legacy"]:
        found.append("address translation by iptables-legacy")
    return list(dict.fromkeys(found))


def judge_ports(hosts: Hosts) -> Iterator[Finding]:
    """What is to listen can: nobody else has the port."""
    for host in hosts.values():
        if host.seen is None:
            continue
        if "assistant" in host.roles:
            variable = "copytool_intercept_port, and copytool_copy_intercept on the online hosts"
            yield port(host, "link port", host.bind, host.port, "copytool@intercept.service", variable)
        for number in host.service_ports:
            yield port(host, "echo port", "", number, "echo_server.service", "echo_hosts: keep your own service's out")
        for check, listen, unit, variable in (
            ("exporter port", host.exporter, "copytool-exporter.service", "copytool_exporter_listen"),
            ("Prometheus port", host.monitoring, "prometheus.service", "monitoring_listen"),
        ):
            address, _, number = listen.rpartition(":")
            if number.isdecimal() and host.roles & {"copy", "assistant", "monitoring", "forward"}:
                yield port(host, check, address.strip("[]"), int(number), unit, variable)


def port(host: Host, check: str, address: str, number: int, unit: str, variable: str) -> Finding:
    """Whether a port is free, or has the unit's own service already."""
    wild = ("", "0.0.0.0", "::")
    others = [
        one["owner"] or "a process that cannot be seen"
        for one in (host.seen or {})["listeners"]
        if one["port"] == number
        and one["owner"] != unit
        and (address in wild or one["address"] in wild or one["address"].removeprefix("::ffff:") == address)
    ]
    if not others:
        return ok(host.name, check, str(number))
    cause = f"{others[0]} listens there"
    return failed(host.name, check, f"{number} is taken", cause, f"stop it, or take another port: {variable}")
