"""Judges of who mirrors to whom: only to a test copy, with an assistant that is one."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from .finding import Finding, failed, ok, warning
from .inventory import Host, is_address
from .network import Hosts, having, named

__all__ = ["judge_way"]


def judge_way(hosts: Hosts) -> Iterator[Finding]:
    """All that concerns the addresses in copytool_copy_map and copytool_copy_intercept."""
    for copy in having(hosts, "copy"):
        before = len(copy.objections)
        found = [*targets(copy, hosts), *upstreams(copy), *intercepts(copy, hosts), *services(copy)]
        yield from found
        if not found and not before and copy.maps:
            shown = ", ".join(dict.fromkeys(mapped.target for mapped in copy.maps))
            yield ok(copy.name, "targets", shown)


def targets(copy: Host, hosts: Hosts) -> Iterator[Finding]:
    """Each target is a target host, and no online host unless the inventory says that it is both."""
    known = having(hosts, "target")
    complete = all(host.seen is not None for host in known)
    for target in dict.fromkeys(mapped.target for mapped in copy.maps):
        if not is_address(target):
            continue
        live = [host for host in hosts.values() if host.roles & {"online", "copy"} and target in host.addresses]
        live = [host for host in live if "target" not in host.roles]
        if live or (ip_address(target).is_loopback and "target" not in copy.roles):
            owner = live[0].name if live else copy.name
            cause = f"that is {owner}, a host with the live service: it would get its own clients' requests again"
            fix = "have copytool_copy_map name the test copy; put a host that is meant to be both in target_hosts, too"
            yield failed(copy.name, "targets", f"mirrors to {target}", cause, fix)
        elif (
            known and complete and not ip_address(target).is_loopback and not any(target in h.addresses for h in known)
        ):
            cause = f"{target} is no address of {named(known)}: production data would go to a host that is not known"
            fix = "correct copytool_copy_map, or put that host in target_hosts"
            yield failed(copy.name, "targets", f"mirrors to {target}", cause, fix)


def upstreams(copy: Host) -> Iterator[Finding]:
    """No target is what the service itself uses."""
    for mapped in copy.maps:
        inside = [net for net in copy.upstreams if is_address(mapped.target) and ip_address(mapped.target) in net]
        if inside:
            cause = f"{inside[0]} is one of upstreams, which the service uses in production"
            fix = "have copytool_copy_map name the test copy"
            yield failed(copy.name, "targets", f"mirrors to {mapped.target}", cause, fix)


def intercepts(copy: Host, hosts: Hosts) -> Iterator[Finding]:
    """Each intercept is an assistant, at the port where it is to listen."""
    known = having(hosts, "assistant")
    complete = all(host.seen is not None for host in known)
    for address, port in copy.intercepts:
        owners = [host for host in known if address in host.addresses or address == host.name]
        if owners:
            if port not in {host.port for host in owners}:
                shown = owners[0].port
                cause = f"intercept on {owners[0].name} is to listen on port {shown} (copytool_intercept_port)"
                fix = f"write {address}:{shown} in copytool_copy_intercept"
                yield failed(copy.name, "intercept", f"connects to {address}:{port}", cause, fix)
        elif known and complete and is_address(address):
            cause = f"{address} is no address of {named(known)}"
            fix = (
                "correct copytool_copy_intercept; copytool_tls_addresses names addresses that are translated on the way"
            )
            yield failed(copy.name, "intercept", f"connects to {address}:{port}", cause, fix)


def services(copy: Host) -> Iterator[Finding]:
    """The live service listens, where this host is the one that has it, and has the address that -x names."""
    if "online" not in copy.roles or copy.seen is None:
        return
    for mapped in copy.maps:
        if is_address(mapped.online) and mapped.online not in copy.addresses:
            cause = f"copytool_copy_map names {mapped.online}, which this host does not have"
            fix = "correct it, or leave the online address away"
            yield warning(copy.name, "service", f"port {mapped.port}", cause, fix)
        open_ports = {one["port"] for one in copy.seen["listeners"]} | set(copy.service_ports)
        if mapped.port not in open_ports:
            cause = f"nothing listens on port {mapped.port}: there is nothing to mirror"
            fix = "correct the port in copytool_copy_map, or start the service"
            yield warning(copy.name, "service", f"port {mapped.port}", cause, fix)
