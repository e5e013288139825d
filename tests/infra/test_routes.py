"""The hop from the target to the assistant: where the answers to mirrored sessions go, and end.

Where the target is its own assistant they go to the loopback.
"""

from __future__ import annotations

import json

from support.mirror import Mirror
from support.topology import Topology
from testinfra.host import Host


def routes_to_client_networks(target: Host, topology: Topology) -> dict[str, list[tuple[str, str]]]:
    """Gateway, or interface, and source address of each route to the client network, by the online host whose part it
    is."""
    found = {}
    for online, network in topology.client_networks.items():
        shown = json.loads(target.check_output("ip -4 -json route show %s", str(network)))
        found[online] = [(route.get("gateway", route["dev"]), route["prefsrc"]) for route in shown]
    return found


def routes_via_assistants(target: Host, topology: Topology) -> dict[str, list[tuple[str, str]]]:
    """What these routes have to be."""
    name = target.backend.get_hostname()
    own = topology.addresses[name]
    return {
        online: [("lo" if topology.ends_at(name) else topology.addresses[via], own)]
        for online, via in topology.assistants.items()
    }


def test_target_routes_the_client_network_via_the_assistant(target: Host, topology: Topology) -> None:
    assert routes_to_client_networks(target, topology) == routes_via_assistants(target, topology)


def test_target_would_send_an_answer_to_the_assistant(target: Host, topology: Topology) -> None:
    for online, network in topology.client_networks.items():
        (route,) = json.loads(target.check_output("ip -4 -json route get %s", str(network[7])))
        assert [(route.get("gateway", route["dev"]), route["prefsrc"])] == routes_via_assistants(target, topology)[
            online
        ]


def test_target_gets_the_route_back_by_its_unit(target: Host, topology: Topology) -> None:
    target.check_output("systemctl stop mirror-route")
    try:
        assert not any(routes_to_client_networks(target, topology).values())
    finally:
        target.check_output("systemctl start mirror-route")
    assert routes_to_client_networks(target, topology) == routes_via_assistants(target, topology)
    assert target.service("mirror-route").is_enabled


def test_target_accepts_packets_from_the_client_network(target: Host, topology: Topology) -> None:
    """Reverse path filtering must let in what arrives on the interface that the route leads out of."""
    command = "ip -4 -json route get %s from %s iif %s"
    name = target.backend.get_hostname()
    own = topology.addresses[name]
    for online, network in topology.client_networks.items():
        (towards,) = json.loads(target.check_output("ip -4 -json route get %s", topology.addresses[online]))
        if online == name:
            assert towards["type"] == "local", "what a host sends to itself is not filtered when it arrives"
            continue
        answer = target.run(command, own, str(network[7]), towards["dev"])
        assert answer.rc == 0, answer.stderr


def test_assistant_does_not_forward(assistant: Host, topology: Topology) -> None:
    if topology.ends_at(assistant.backend.get_hostname()):
        return  # answers end on the loopback, whether anything is forwarded or not
    assert assistant.sysctl("net.ipv4.ip_forward") == 0
    interfaces = json.loads(assistant.check_output("ip -json link show up"))
    for name in (interface["ifname"] for interface in interfaces):
        assert assistant.sysctl(f"net.ipv4.conf.{name}.forwarding") == 0, name


def test_assistant_keeps_forwarding_off_across_a_reboot(assistant: Host, topology: Topology) -> None:
    settings = assistant.file("/etc/sysctl.d/99-zz-mirror-route.conf")
    if topology.ends_at(assistant.backend.get_hostname()):
        assert not settings.exists, "a target that is its own assistant may forward what it likes"
    else:
        assert "net/ipv4/ip_forward = 0" in settings.content_string.splitlines()


def icmp_sent(assistant: Host) -> dict[str, int]:
    """How many ICMP messages of each kind the host has sent."""
    rows = [line.split() for line in assistant.file("/proc/net/snmp").content_string.splitlines()]
    names, values = (row for row in rows if row[0] == "Icmp:")
    counters = dict(zip(names[1:], map(int, values[1:]), strict=True))
    return {name: counters[name] for name in ("OutDestUnreachs", "OutRedirects", "OutTimeExcds")}


def test_assistant_drops_answers_without_a_word(mirror: Mirror, assistant: Host) -> None:
    """No ICMP unreachable and no redirect: the target would act on them."""
    before = icmp_sent(assistant)
    passage = mirror.pass_sessions(sessions=50)
    assert passage.outcomes["mirrored"] == 50
    assert icmp_sent(assistant) == before


def test_answers_that_end_at_the_target_cannot_leave_it(target: Host, topology: Topology) -> None:
    """The guard, which is there as long as the route, drops what the route does not lead to the loopback."""
    if not topology.ends_at(target.backend.get_hostname()):
        assert target.run("nft list table inet mirror_route").rc != 0, "it would keep answers from the assistant"
        return
    network = str(next(iter(topology.client_networks.values())))
    rule = f'ip daddr {network} oifname != "lo" counter packets'
    assert rule in target.check_output("nft list table inet mirror_route")
    target.check_output("systemctl stop mirror-route")
    try:
        assert target.run("nft list table inet mirror_route").rc != 0
    finally:
        target.check_output("systemctl start mirror-route")
    assert rule in target.check_output("nft list table inet mirror_route")
