"""`copytool check` names what is broken: each thing is broken alone."""

from __future__ import annotations

import json
import signal
import sys

import pytest

from .checks import (
    COPY_OPTIONS,
    INTERCEPT_OPTIONS,
    check,
    check_all,
    check_copy,
    check_intercept,
    check_target,
    listening,
    verdict,
)
from .hosts import COPY, COPYTOOL, INTERCEPT, Network, ip, libfaketime, wait_until

CHECKED = pytest.mark.watch(checks=True)
pytestmark = CHECKED

NFT_DROP = "table inet broken {{ chain c {{ type filter hook {hook} priority 0; {rule} drop; }}; }}"


SEND_SYN_ACK = """
import socket
from copytool.wire.build import build_segment
packet = build_segment(bytes([192, 168, 50, 101]), bytes([192, 168, 60, 200]), 1025, 5000, 1, 2, 0x12, 1000)
socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW).sendto(packet, ("192.168.60.200", 0))
"""


@pytest.fixture
def ready(network: Network) -> Network:
    """The hosts and the echo services, and intercept; copy is not started yet."""
    network.assistant.start(*network.assistant.copytool(INTERCEPT))
    network.wait_listening("assistant", 36524)
    return network


@pytest.fixture
def mirroring(network: Network) -> Network:
    """The mirror runs."""
    network.start_mirror()
    return network


def _sessions_at_target(network: Network) -> str:
    return network.target.run("ss", "-Htan", "state", "all", "exclude", "listening", "sport = 1025").stdout


def _nft(network: Network, name: str, hook: str, rule: str) -> None:
    network.hosts[name].run("nft", NFT_DROP.format(hook=hook, rule=rule))


def _end(child: object) -> None:
    child.terminate()  # type: ignore[attr-defined]
    child.wait(10)  # type: ignore[attr-defined]


# -- nothing is broken ----------------------------------------------------------------------------------------


def test_before_mirroring(ready: Network) -> None:
    """Without a copy the check connects and sends the probe by itself; all is well, the target is left as it was."""
    found = check_all(ready)
    for each in found.values():
        assert (each.failed(), each.status) == ([], 0), each
    assert found["online"].one("probe")["state"] == "ok"
    assert found["target"].one("arrivals")["state"] == found["assistant"].one("answers")["state"] == "ok"
    wait_until(lambda: not _sessions_at_target(ready), "the target has nothing of the probe")
    assert all((session["peer"], session["bytes"]) == ("192.168.50.10", 0) for session in ready.sessions_of("target"))


@pytest.mark.parametrize("workers", [1, 2])
def test_while_mirroring(network: Network, workers: int) -> None:
    """The running copy sends the probe; sessions that are mirrored meanwhile are exact, and clients are seen."""
    network.start_mirror(f"{COPY} --workers {workers}")
    driver = network.client.start(
        sys.executable, "roles/mirror_check/files/sessions.py", "192.168.50.10",
        "--sessions", 60, "--concurrency", 10, "--turn-pause", 0.1,
    )  # fmt: skip
    wait_until(lambda: network.online.status()["sessions"]["seen"], "the first session is seen")
    found = check_copy(network, f"{COPY_OPTIONS} --workers {workers}", wait_s=5)
    assert (found.failed(), found.status) == ([], 0), found
    for name in ("probe", "link", "traffic", "daemon"):
        assert found.one(name)["state"] == "ok", found
    assert driver.wait(60) == 0
    network.wait_for_sessions("online", 60)
    wait_until(lambda: network.online.status()["sessions"]["outcomes"]["mirrored"] >= 60, "all are mirrored")
    mirrored = [session for session in network.sessions_of("target") if session["peer"].startswith("192.168.60.")]
    assert len(mirrored) == 60
    assert network.online.status()["imbalance"] == []


def test_ipv6(network: Network) -> None:
    """The same for IPv6."""
    options = "-x [fd50::10]:1025-[fd50::101]:1025 -s 192.168.50.102 -c fd60::/64"
    network.start_mirror(f"copy {options}")
    with listening(network.target, f"target {options}") as target:
        online = check_copy(network, options)
    for each in (online, target[0]):
        assert (each.failed(), each.status) == ([], 0), each
    assert online.one("probe")["state"] == target[0].one("arrivals")["state"] == "ok"


def test_for_people(ready: Network) -> None:
    """The table has a line for each check, and cause and fix under what failed; without --json."""
    words = [word for word in ready.online.copytool(f"check copy {COPY_OPTIONS} --wait 0.2 --no-probe") if word]
    ready.target.run("ip", "link", "set", "ens18", "down")
    done = ready.online.run(*words, check=False)
    assert done.returncode == 4
    assert "  FAILED   next hop 192.168.50.101" in done.stdout
    assert "           cause: 192.168.50.101: next hop 192.168.50.101 does not answer on ens18" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("the first that failed: next hop 192.168.50.101")


# -- the online host ------------------------------------------------------------------------------------------


def test_no_capability(ready: Network) -> None:
    words = ("setpriv", "--bounding-set", "-all", "--inh-caps", "-all")
    found = check_copy(ready, COPY_OPTIONS, *words)
    found.names("capabilities", "CAP_NET_RAW", "run as root")
    assert found.one("traffic")["state"] == "skipped"


def test_missing_interface(ready: Network) -> None:
    check_copy(ready, f"{COPY_OPTIONS} -i eth9").names("interface", "there is no interface eth9", "ens18")


def test_interface_down(ready: Network) -> None:
    ready.online.run("ip", "link", "set", "ens18", "down")
    found = check_copy(ready, f"{COPY_OPTIONS} -i ens18")
    found.names("interface", "ip link set ens18 up")
    found.names("next hop")


def test_service_not_listening(ready: Network) -> None:
    check_copy(ready, COPY_OPTIONS.replace("-x 1025-", "-x 1027-")).names("service", "port 1027", "ss -ltn")


def test_traffic_on_another_interface(ready: Network) -> None:
    driver = ready.client.start(
        sys.executable, "roles/mirror_check/files/sessions.py", "192.168.50.10",
        "--sessions", 1000, "--concurrency", 2, "--turn-pause", 0.05,
    )  # fmt: skip
    found = check_copy(ready, f"{COPY_OPTIONS} -i lo", wait_s=3)
    found.names("traffic", "arrive on ens18", "captures on lo")
    driver.kill()


def test_client_network_in_use(ready: Network) -> None:
    for name, run in (("online", check_copy), ("target", check_target)):
        ready.hosts[name].run("ip", "address", "add", "192.168.60.7/32", "dev", "ens18")
        run(ready).names("client network", "192.168.60.7")
        ready.hosts[name].run("ip", "address", "del", "192.168.60.7/32", "dev", "ens18")


def test_target_is_down(ready: Network) -> None:
    ready.target.run("ip", "link", "set", "ens18", "down")
    found = check_copy(ready)
    found.names("next hop", "does not answer on ens18", "cable")
    assert found.one("probe")["state"] == "failed"


def test_port_closed(ready: Network) -> None:
    _end(ready.target._children[0])
    found = check_copy(ready)
    found.names("port", "nothing listens on port 1025", "start the service")
    found.names("probe", "the target refuses")
    check_target(ready).names("service", "no service listens on port 1025")


def test_small_mtu_on_the_path(ready: Network) -> None:
    """The route says 1500, and a cable takes 1400."""
    ip("-n", ready.switch.namespace, "link", "set", "target", "mtu", "1400")
    check_copy(ready).names("mtu", "-M 1400", state="warning")


def test_clock(ready: Network) -> None:
    faked = ("env", f"LD_PRELOAD={libfaketime()}", "FAKETIME_DONT_FAKE_MONOTONIC=1", "FAKETIME=+30s")
    found = check_copy(ready, COPY_OPTIONS, *faked)
    found.names("clock", "behind", "NTP", state="warning")


def test_kernel_drops(network: Network) -> None:
    """What copy could not take in while it was stopped is lost; the check tells."""
    network.start_mirror(f"{COPY} --ring-size 1")
    copy = network.online.latest
    copy.send_signal(signal.SIGSTOP)
    report = network.drive("--sessions", 400, "--concurrency", 40)
    copy.send_signal(signal.SIGCONT)
    assert report["errors"] == []
    wait_until(lambda: network.online.status()["capture"]["drops"], "the kernel dropped packets")
    check_copy(network).names("drops", "too slow", "--ring-size")


def test_copy_hangs(mirroring: Network) -> None:
    copy = mirroring.online.latest
    copy.send_signal(signal.SIGSTOP)
    found = check_copy(mirroring)
    copy.send_signal(signal.SIGCONT)
    found.names("daemon", "does not answer")
    assert found.one("link")["state"] == "skipped"


def test_paused_and_dry_run(network: Network) -> None:
    network.start_mirror()
    network.online.run(*network.online.copytool("pause"))
    check_copy(network).names("daemon", "paused", "copytool resume")
    _end(network.online.latest)
    network.online.start(*network.online.copytool(f"{COPY} --dry-run"))
    wait_until(network.online.status, "copy answers")
    check_copy(network).names("daemon", "--dry-run")


# -- the link -------------------------------------------------------------------------------------------------


def test_intercept_does_not_run(network: Network) -> None:
    check_intercept(network).names("daemon", "nothing answers", "systemctl start copytool@intercept")
    found = check_copy(network)
    found.names("link", "intercept does not run", "start it")
    assert found.one("probe")["state"] == "skipped"
    network.online.start(*network.online.copytool(COPY))
    wait_until(lambda: network.online.status().get("link", [{}])[0].get("reason"), "copy has tried")
    check_copy(network).names("link", "intercept does not run", "start it")


def test_firewall_drops_the_link(ready: Network) -> None:
    _nft(ready, "assistant", "input", "tcp dport 36524")
    check_copy(ready).names("link", "a firewall drops TCP port 36524")


def test_intercept_of_another_version(network: Network) -> None:
    program = (
        "import sys, copytool; copytool.__version__ = '9.9'; from copytool.cli.main import main; main(sys.argv[1:])"
    )
    words = network.assistant.copytool(INTERCEPT)[len(COPYTOOL) :]
    network.assistant.start(sys.executable, "-P", "-c", program, *words)
    network.wait_listening("assistant", 36524)
    check_copy(network).names("link", "version 9.9", "install the same version", state="warning")
    check_intercept(network).names("daemon", "9.9", "restart it", state="warning")


def test_another_copy_has_the_client_network(ready: Network) -> None:
    ready.client.start(*ready.client.copytool(COPY))
    wait_until(lambda: ready.client.status().get("link", [{}])[0].get("state") == "established", "it is connected")
    check_copy(ready).names("link", "belongs to the copy at 192.168.50.200", "its own -c")


# -- the target -----------------------------------------------------------------------------------------------


def test_target_without_the_route(ready: Network) -> None:
    ready.target.run("ip", "route", "del", "192.168.60.0/24")
    found = check_all(ready)
    found["online"].names("probe", "lost on the way")
    found["target"].names("route", "no route for the client network", "via 192.168.50.102")
    found["target"].names("arrivals", "no answer leaves")
    assert found["assistant"].one("answers")["state"] == "warning"
    assert verdict(found).startswith('FAILED at "target: route 192.168.60.0/24"')


@pytest.mark.watch(off="answers go to the client host, as they must not")
def test_route_via_the_wrong_host(ready: Network) -> None:
    ready.target.run("ip", "route", "replace", "192.168.60.0/24", "via", "192.168.50.200")
    found = check_all(ready)
    found["target"].names("route", "answers go to 192.168.50.200", "via 192.168.50.102")
    assert found["target"].one("arrivals")["state"] == "ok"
    assert found["assistant"].one("answers")["state"] == "warning"
    found["online"].names("probe")


@pytest.mark.watch(off="answers go to the client host, as they must not")
def test_answers_follow_the_default_route(ready: Network) -> None:
    ready.target.run("ip", "route", "del", "192.168.60.0/24")
    ready.target.run("ip", "route", "add", "default", "via", "192.168.50.200")
    check_target(ready).names("route", "follow the default route via 192.168.50.200")


def test_strict_rp_filter_with_another_way_back(ready: Network) -> None:
    switch, target = ready.switch.namespace, ready.target
    ip("-n", switch, "link", "add", "target2", "type", "veth", "peer", "name", "ens19", "netns", target.namespace)
    ip("-n", switch, "link", "set", "target2", "master", "br0", "up")
    target.run("ip", "address", "add", "192.168.50.111/32", "dev", "ens19")
    target.run("ip", "link", "set", "ens19", "up")
    target.run("ip", "route", "replace", "192.168.60.0/24", "via", "192.168.50.102", "dev", "ens19", "onlink")
    target.run("sysctl", "-qw", "net.ipv4.conf.ens18.rp_filter=1", "net.ipv4.conf.all.arp_ignore=1")
    found = check_all(ready)
    found["target"].names("rp_filter", "leads out of ens19", "net.ipv4.conf.ens18.rp_filter=2")
    found["target"].names("arrivals", "no answer leaves")
    target.run("sysctl", "-qw", "net.ipv4.conf.ens18.rp_filter=2")
    assert check_target(ready).one("rp_filter")["state"] == "ok"


def test_firewall_drops_the_client_network(ready: Network) -> None:
    _nft(ready, "target", "input", "ip saddr 192.168.60.0/24")
    found = check_all(ready)
    found["target"].names("firewall", "inet broken c handle", "192.168.60.1", "nft -a list ruleset")
    found["target"].names("arrivals", "no answer leaves")
    assert found["online"].one("port")["state"] == "ok"


def test_firewall_drops_the_service(ready: Network) -> None:
    _nft(ready, "target", "input", "tcp dport 1025")
    check_copy(ready).names("port", "a firewall drops TCP port 1025")
    check_target(ready).names("firewall", "inet broken c handle")


def test_not_a_target(ready: Network) -> None:
    check(ready.client, f"target {COPY_OPTIONS}").names("address", "192.168.50.200", "-x")


# -- the assistant --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["net.ipv4.ip_forward", "net.ipv4.conf.ens18.forwarding"])
def test_assistant_forwards(ready: Network, name: str) -> None:
    ready.assistant.run("sysctl", "-qw", f"{name}=1")
    check_intercept(ready).names("forwarding", "forwards what arrives on ens18", "net.ipv4.ip_forward=0")


def test_address_of_the_client_network_on_the_assistant(mirroring: Network) -> None:
    mirroring.assistant.run("ip", "address", "add", "192.168.60.7/32", "dev", "lo")
    check_intercept(mirroring).names("client network", "192.168.60.7 on lo")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("-i ens18 -F|tcp and src port 1026", ("filter does not pass it", "src port 1025")),
        ("-i lo -F|tcp and src port 1025", ("arrive on ens18", "captures on lo", "-i ens18")),
    ],
)
def test_intercept_looks_elsewhere(network: Network, options: str, words: tuple[str, ...]) -> None:
    network.assistant.start(*network.assistant.copytool(f"intercept {options}"))
    network.wait_listening("assistant", 36524)
    found = check_all(network, options)
    found["assistant"].names("answers", *words)
    found["online"].names("probe")


def test_intercept_was_started_with_another_filter(network: Network) -> None:
    """The configuration is right by now, and the daemon runs with an older one."""
    network.assistant.start(*network.assistant.copytool("intercept -i ens18 -F|tcp and src port 1026"))
    network.wait_listening("assistant", 36524)
    check_all(network)["assistant"].names("reports", "restart it")


def test_filter_does_not_compile(ready: Network) -> None:
    check_intercept(ready, "-i ens18 -F|tcp and prot 1025").names("filter", "does not compile")


def test_answers_for_nobody(network: Network) -> None:
    """The copy that is connected has another client network than those that the target answers to."""
    network.assistant.start(*network.assistant.copytool(INTERCEPT))
    network.wait_listening("assistant", 36524)
    network.online.start(*network.online.copytool(COPY.replace("192.168.60.x", "192.168.60.0/25")))
    network.wait_for_link()
    with listening(network.assistant, f"intercept {INTERCEPT_OPTIONS}") as assistant:
        network.target.start(sys.executable, "-c", SEND_SYN_ACK)
    assistant[0].names("reports", "no connected copy has announced", "-c")


# -- the way --------------------------------------------------------------------------------------------------


def test_something_between_drops_the_client_network(ready: Network) -> None:
    """Anti-spoofing: the online host's own address passes, and the client network does not."""
    rules = "table bridge guard { chain c { type filter hook forward priority 0; ip saddr 192.168.60.0/24 drop; }; }"
    ready.switch.run("nft", rules)
    found = check_all(ready)
    assert found["online"].one("port")["state"] == "ok"
    found["online"].names("probe", "lost on the way")
    found["target"].names("arrivals", "no SYN from the client network", state="warning")
    assert verdict(found).startswith('FAILED at "online to target: packets from the client network"')
    assert "anti-spoofing" in verdict(found)
    assert found["target"].failed() == found["assistant"].failed() == []


def test_something_between_drops_the_answers(ready: Network) -> None:
    """Anti-spoofing on the other half of the way: the answer leaves, and nobody has it."""
    rules = "table bridge guard { chain c { type filter hook forward priority 0; ip daddr 192.168.60.0/24 drop; }; }"
    ready.switch.run("nft", rules)
    found = check_all(ready)
    assert found["target"].failed() == found["assistant"].failed() == []
    assert verdict(found).startswith('FAILED at "target to assistant: answers to the client network"')


def test_probe_through_the_control_socket(mirroring: Network) -> None:
    """Whoever asks for a probe twice at once gets one, and its record resets nothing else."""
    socket = mirroring.online.control_socket
    program = (
        "import json, sys; from pathlib import Path; from copytool.io.control import ask_daemon;"
        "path = Path(sys.argv[1]); first, second = (ask_daemon(path, 'probe') for _ in range(2));"
        "print(json.dumps([first, second]))"
    )
    first, second = json.loads(mirroring.online.run(sys.executable, "-P", "-c", program, socket).stdout)
    assert first["attempts"][0]["mirror"].startswith("192.168.60.")
    assert second["attempts"][0]["target"] == "192.168.50.101:1025"
