"""What is refused before anything is changed: each judgement, on hosts as look.py describes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.loading import load

report = load("safety/action_plugins/safety_report.py")
inventory = __import__("safety_judges.inventory", fromlist=["read_host"])

GROUPS = {
    "all": ["online", "target", "assistant"],
    "online_hosts": ["online"],
    "target_hosts": ["target"],
    "assistant_hosts": ["assistant"],
}
VARIABLES: dict[str, dict[str, Any]] = {
    "online": {
        "ansible_host": "10.0.0.1",
        "copytool_copy_map": ["80-10.0.0.2:80"],
        "copytool_copy_intercept": ["10.0.0.3"],
        "copytool_copy_client_network": ["192.168.60.x"],
    },
    "target": {
        "ansible_host": "10.0.0.2",
        "mirror_route_client_network": "192.168.60.0/24",
        "mirror_route_assistant_address": "10.0.0.3",
    },
    "assistant": {"ansible_host": "10.0.0.3"},
}


def link(name: str, *addresses: str) -> dict[str, Any]:
    """One interface as `ip -json address` has it."""
    entries = [{"local": address.split("/")[0], "prefixlen": int(address.split("/")[1])} for address in addresses]
    return {"ifname": name, "addr_info": entries}


def seen(address: str, **changes: Any) -> dict[str, Any]:
    """What a host says with which nothing is wrong."""
    said: dict[str, Any] = {
        "python": {"version": "3.11", "venv": True, "ensurepip": True},
        "libpcap": True,
        "package_manager": "apt-get",
        "systemd": True,
        "clock_ahead_s": 0.4,
        "free_mib": {"/opt": 900},
        "addresses": [link("lo", "127.0.0.1/8"), link("eth0", f"{address}/24", "fe80::1/64")],
        "routes": {
            "-4": [{"dst": "default", "gateway": "10.0.0.254", "dev": "eth0"}, {"dst": "10.0.0.0/24", "dev": "eth0"}]
        },
        "rules": [{"table": "local"}, {"table": "main"}, {"table": "default"}],
        "sysctl": {"net/ipv4/ip_forward": "0"},
        "forwarded": 0,
        "listeners": [{"address": "0.0.0.0", "port": 80, "owner": "nginx.service"}],
        "firewall": {"keepers": [], "nft": {"nftables": []}, "has_nft": True, "legacy": []},
        "protections": {"selinux": "off", "apparmor": False},
        "installed": [],
        "route_unit": False,
    }
    return {**said, **changes}


class Site:
    """Three hosts that a test puts something wrong into."""

    def __init__(self) -> None:
        self.groups = {name: list(members) for name, members in GROUPS.items()}
        self.variables = {name: dict(own) for name, own in VARIABLES.items()}
        self.seen: dict[str, Any] = {name: seen(own["ansible_host"]) for name, own in VARIABLES.items()}
        self.why_not: dict[str, str] = {}

    def add(self, name: str, group: str, address: str, **variables: Any) -> None:
        """One more host."""
        self.groups["all"].append(name)
        self.groups[group].append(name)
        self.variables[name] = {"ansible_host": address, **variables}
        self.seen[name] = seen(address)

    def route(self, name: str, **route: Any) -> None:
        """One more route."""
        self.seen[name]["routes"]["-4"].append(route)

    def lose(self, name: str) -> None:
        """A host that does not answer."""
        del self.seen[name]
        self.why_not[name] = "no route"

    def judge(self) -> list[Any]:
        """All findings."""
        hosts = {}
        for name in self.groups["all"]:
            host = inventory.read_host(name, inventory.roles_of(name, self.groups), self.variables[name])
            host.seen, host.why_not = self.seen.get(name), self.why_not.get(name, "")
            hosts[name] = host
        return list(report.judge(hosts, self.variables, 200))


Break = Callable[[Site], None]


def break_(where: str, **changes: Any) -> Break:
    """Something of what a host says is different."""
    return lambda site: site.seen[where].update(changes)


def vary(where: str, **changes: Any) -> Break:
    """Variables of a host are different."""
    return lambda site: site.variables[where].update(changes)


def nft(*expr: dict[str, Any], policy: str = "accept", hook: str = "input") -> dict[str, Any]:
    """A firewall with one chain, and a rule if an expression is given."""
    place = {"family": "inet", "table": "filter", "chain": hook}
    chain = {"family": "inet", "table": "filter", "name": hook, "hook": hook, "policy": policy}
    rules = [{"rule": {**place, "handle": 7, "expr": list(expr)}}] if expr else []
    return {"keepers": [], "nft": {"nftables": [{"chain": chain}, *rules]}, "has_nft": True, "legacy": []}


DROPS_PORT = {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 80}}
GUEST = [link("eth0", "10.0.0.3/24"), link("docker0", "172.17.0.1/16")]
FORWARDS = {"sysctl": {"net/ipv4/ip_forward": "1"}}
NAT = {"nftables": [{"rule": {"family": "ip", "table": "nat", "chain": "post", "expr": [{"masquerade": None}]}}]}


def test_nothing_is_wrong() -> None:
    findings = Site().judge()
    assert {finding.state for finding in findings} == {"ok"}, findings
    assert report.headline(findings, []) == "Safe to set up: 3 hosts looked at, nothing is in the way."
    assert report.summary(findings, [], False)[2:] == [""]


CASES: list[tuple[str, str, str, str, Break]] = [
    ("target", "host", "failed", "does not answer", lambda s: s.lose("target")),
    ("online", "python", "failed", "3.9", break_("online", python={"version": "3.9", "venv": True, "ensurepip": True})),
    (
        "online",
        "python",
        "failed",
        "without ensurepip",
        break_("online", python={"version": "3.12", "venv": True, "ensurepip": False}),
    ),
    ("target", "systemd", "failed", "does not run", break_("target", systemd=False)),
    ("assistant", "libpcap", "warning", "is missing", break_("assistant", libpcap=False)),
    ("assistant", "libpcap", "failed", "is missing", break_("assistant", libpcap=False, package_manager="")),
    ("online", "disk space", "failed", "20 MiB", break_("online", free_mib={"/opt": 900, "/var": 20})),
    ("online", "clock", "failed", "4000 s behind", break_("online", clock_ahead_s=-4000.0)),
    ("online", "clock", "warning", "90 s ahead", break_("online", clock_ahead_s=90.0)),
    ("assistant", "selinux", "warning", "enforcing", break_("assistant", protections={"selinux": "enforcing"})),
    ("online", "inventory", "failed", "copytool_copy_map", vary("online", copytool_copy_map=["80:10.0.0.2"])),
    (
        "target",
        "client network",
        "failed",
        "has 192.168.60.9",
        lambda s: s.seen["target"]["addresses"].append(link("eth1", "192.168.60.9/24")),
    ),
    (
        "online",
        "client network",
        "failed",
        "route to 192.168.60.0/25",
        lambda s: s.route("online", dst="192.168.60.0/25", gateway="10.0.0.9"),
    ),
    (
        "target",
        "client network",
        "failed",
        "route to 192.168.60.0/24",
        lambda s: s.route("target", dst="192.168.60.0/24", gateway="10.0.0.9"),
    ),
    (
        "online",
        "client network",
        "failed",
        "route to 192.168.0.0/16",
        lambda s: s.route("online", dst="192.168.0.0/16", dev="eth0"),
    ),
    (
        "online",
        "client network",
        "warning",
        "route to 192.168.0.0/16",
        lambda s: s.route("online", dst="192.168.0.0/16", gateway="10.0.0.9"),
    ),
    ("online", "targets", "failed", "mirrors to 10.0.0.1", vary("online", copytool_copy_map=["80-10.0.0.1:80"])),
    ("online", "targets", "failed", "mirrors to 127.0.0.1", vary("online", copytool_copy_map=["80-127.0.0.1:81"])),
    ("online", "targets", "failed", "mirrors to 10.0.0.77", vary("online", copytool_copy_map=["80-10.0.0.77:80"])),
    (
        "online",
        "targets",
        "failed",
        "mirrors to 10.0.0.2",
        vary("online", copytool_copy_options={"upstreams": ["10.0.0.2/31"]}),
    ),
    ("online", "intercept", "failed", "10.0.0.9", vary("online", copytool_copy_intercept=["10.0.0.9"])),
    ("online", "intercept", "failed", "10.0.0.3:36524", vary("assistant", copytool_intercept_port=4000)),
    ("online", "service", "warning", "port 8080", vary("online", copytool_copy_map=["8080-10.0.0.2:80"])),
    ("online", "service", "warning", "port 80", vary("online", copytool_copy_map=["10.0.0.8:80-10.0.0.2:80"])),
    ("target", "route", "failed", "via 10.0.0.9", vary("target", mirror_route_assistant_address="10.0.0.9")),
    ("target", "route", "failed", "via 10.0.0.3", break_("target", addresses=[link("eth0", "10.0.0.2/32")])),
    ("target", "route", "failed", "192.168.60.0/25", vary("target", mirror_route_client_network="192.168.60.0/25")),
    ("target", "policy routing", "warning", "table 100", break_("target", rules=[{"table": "main"}, {"table": 100}])),
    ("assistant", "forwarding", "warning", "nobody", break_("assistant", **FORWARDS)),
    ("assistant", "forwarding", "failed", "is on", break_("assistant", **FORWARDS, forwarded=12)),
    ("assistant", "forwarding", "failed", "is on", break_("assistant", **FORWARDS, addresses=GUEST)),
    ("assistant", "forwarding", "failed", "is on", break_("assistant", **FORWARDS, firewall={**nft(), "nft": NAT})),
    (
        "assistant",
        "link port",
        "failed",
        "36524",
        break_("assistant", listeners=[{"address": "::", "port": 36524, "owner": "x.service"}]),
    ),
    ("target", "firewall", "failed", "handle 7", break_("target", firewall=nft(DROPS_PORT, {"drop": None}))),
    ("assistant", "firewall", "failed", "policy of", break_("assistant", firewall=nft(policy="drop"))),
    (
        "assistant",
        "firewall",
        "warning",
        "policy of",
        break_("assistant", firewall=nft({"xt": None}, {"accept": None}, policy="drop")),
    ),
    ("target", "firewall", "warning", "iptables-legacy", break_("target", firewall={**nft(), "legacy": ["filter"]})),
    (
        "target",
        "firewall",
        "warning",
        "ufw",
        break_("target", firewall={**nft(), "nft": None, "has_nft": False, "keepers": ["ufw"]}),
    ),
]


@pytest.mark.parametrize(("host", "check", "state", "words", "break_it"), CASES)
def test_what_is_wrong_is_found(host: str, check: str, state: str, words: str, break_it: Break) -> None:
    """One thing is wrong: it is found, on its host, with what was seen, its cause and what helps."""
    site = Site()
    break_it(site)
    wrong = [finding for finding in site.judge() if finding.state != "ok"]
    found = [one for one in wrong if (one.host, one.check, one.state) == (host, check, state) and words in one.seen]
    assert found, wrong
    assert found[0].cause and found[0].fix
    assert ("REFUSED" in report.headline(wrong, [])) == any(one.state == "failed" for one in wrong)


def test_docker_translates_by_iptables() -> None:
    """nft shows the targets of iptables-nft as xt only."""
    site = Site()
    rule = {"rule": {"family": "ip", "table": "nat", "chain": "POSTROUTING", "expr": [{"xt": None}]}}
    site.seen["assistant"].update(FORWARDS, firewall={**nft(), "nft": {"nftables": [rule]}})
    (wrong,) = [finding for finding in site.judge() if finding.state == "failed"]
    assert "address translation in nft table ip nat" in wrong.cause


def test_the_assistant_is_somebodys_gateway() -> None:
    """Whoever sends packets for others through it is named."""
    site = Site()
    site.seen["assistant"].update(FORWARDS)
    site.seen["target"]["routes"]["-4"][0]["gateway"] = "10.0.0.3"
    (wrong,) = [finding for finding in site.judge() if finding.state != "ok"]
    assert (wrong.state, wrong.check) == ("failed", "forwarding")
    assert "the default gateway of target" in wrong.cause


def test_a_host_can_accept_a_failure() -> None:
    site = Site()
    site.seen["assistant"].update(FORWARDS, forwarded=5)
    site.variables["assistant"]["safety_accept"] = ["forwarding"]
    (wrong,) = [finding for finding in site.judge() if finding.state != "ok"]
    assert wrong.state == "warning" and "safety_accept" in wrong.fix


def test_one_host_that_is_both_online_and_target() -> None:
    """That the inventory says so is asking for it."""
    site = Site()
    site.groups["target_hosts"] = ["online"]
    site.groups["all"].remove("target")
    site.variables["online"].update(copytool_copy_map=["80-10.0.0.1:81"])
    assert not [finding for finding in site.judge() if finding.check == "targets" and finding.state != "ok"]


def test_what_is_set_up_is_not_in_its_own_way() -> None:
    """Its own route, its own daemons: a second run is as safe as the first."""
    site = Site()
    site.route("target", dst="192.168.60.0/24", gateway="10.0.0.3", dev="eth0")
    site.seen["assistant"]["listeners"] = [
        {"address": "10.0.0.3", "port": 36524, "owner": "copytool@intercept.service"}
    ]
    assert {finding.state for finding in site.judge()} == {"ok"}


def own_assistant() -> Site:
    """A target that is its own assistant, so that answers end there."""
    site = Site()
    site.groups["assistant_hosts"] = ["target"]
    site.groups["all"].remove("assistant")
    site.variables["online"]["copytool_copy_intercept"] = ["10.0.0.2"]
    del site.variables["target"]["mirror_route_assistant_address"]
    site.route("target", dst="192.168.60.0/24", dev="lo")
    return site


@pytest.mark.parametrize(("table", "wrong"), [("mirror_route", set()), ("filter", {"firewall"})])
def test_a_target_where_answers_end(table: str, wrong: set[str]) -> None:
    """The route to the loopback and the guard are its own, and it may forward."""
    site = own_assistant()
    site.seen["target"]["route_unit"] = True
    drops = {"match": {"op": "!=", "left": {"meta": {"key": "oifname"}}, "right": "lo"}}
    firewall = nft(drops, {"drop": None}, hook="postrouting")
    for entry in firewall["nft"]["nftables"]:
        next(iter(entry.values()))["table"] = table
    site.seen["target"] |= {
        "firewall": firewall,
        "addresses": [*site.seen["target"]["addresses"], GUEST[1]],
        **FORWARDS,
    }
    assert {finding.check for finding in site.judge() if finding.state != "ok"} == wrong


def test_a_route_to_the_loopback_that_is_somebody_elses() -> None:
    findings = [finding for finding in own_assistant().judge() if finding.state != "ok"]
    assert [(finding.host, finding.check, finding.state) for finding in findings] == [
        ("target", "client network", "failed")
    ]


@pytest.mark.parametrize(
    ("intercept", "mapped", "clash"),
    [
        ("10.0.0.3", "80-10.0.0.2:80", True),
        ("10.0.0.33", "80-10.0.0.22:80", False),
        ("10.0.0.33", "80-10.0.0.2:80", True),
    ],
)
def test_copies_that_share_a_host_share_no_addresses(intercept: str, mapped: str, clash: bool) -> None:
    site = Site()
    site.add("target2", "target_hosts", "10.0.0.22")
    site.add("assistant2", "assistant_hosts", "10.0.0.33")
    copies = {"copytool_copy_map": [mapped], "copytool_copy_intercept": [intercept]}
    site.add("online2", "online_hosts", "10.0.0.11", **copies, copytool_copy_client_network="192.168.60.128/25")
    found = [
        one
        for one in site.judge()
        if one.check == "client network" and "have" not in one.seen and one.state == "failed"
    ]
    assert bool(found) == clash


def test_two_routes_cover_one_network() -> None:
    site = Site()
    site.variables["target"]["mirror_route_client_network"] = ["192.168.60.0/25", "192.168.60.128/25"]
    assert {finding.state for finding in site.judge()} == {"ok"}


def test_a_firewall_that_will_be_opened_is_no_failure() -> None:
    site = Site()
    site.seen["assistant"]["firewall"] = nft(policy="drop")
    site.variables["assistant"]["copytool_firewall_mode"] = "open"
    assert {finding.state for finding in site.judge()} == {"ok"}


def test_a_port_of_another_address_is_free() -> None:
    site = Site()
    site.variables["assistant"]["copytool_intercept_bind"] = "10.0.0.3"
    site.seen["assistant"]["listeners"] = [{"address": "127.0.0.1", "port": 36524, "owner": "x.service"}]
    assert {finding.state for finding in site.judge()} == {"ok"}


def test_hosts_that_limit_leaves_out() -> None:
    """They are not asked: what needs them is not judged, and the headline says so."""
    site = Site()
    del site.seen["target"], site.seen["assistant"]
    findings = site.judge()
    assert {finding.state for finding in findings} == {"ok"}
    assert "leaves out target, assistant" in report.headline(findings, ["target", "assistant"])


@pytest.mark.parametrize(
    ("result", "why"),
    [
        ({"unreachable": True, "msg": "Failed to connect:\nConnection refused"}, "Connection refused"),
        ({"rc": 127, "stdout": "", "stderr": "python3: not found\n"}, "python3: not found"),
        ({"skipped": True}, ""),
        ({}, ""),
    ],
)
def test_hosts_that_say_nothing(result: dict[str, Any], why: str) -> None:
    assert report.heard(result) == (None, why)
    assert report.heard({"stdout": '{"a": 1}'}) == ({"a": 1}, "")
