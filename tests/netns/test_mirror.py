"""The two documented commands against a real kernel and a real service: what is mirrored, and what is not."""

from __future__ import annotations

import sys
from pathlib import Path

from .hosts import COPY, Network, output, wait_until


def test_sessions_arrive_exactly(network: Network) -> None:
    """Every session's bytes arrive, from the client network, and all counters add up."""
    network.start_mirror()
    report = network.drive("--sessions", 200, "--concurrency", 20)
    assert report["errors"] == []
    network.wait_for_sessions("target", 200)
    assert network.multiset("target") == network.multiset("online")
    assert {session["peer"].rsplit(".", 1)[0] for session in network.sessions_of("target")} == {"192.168.60"}
    status = network.online.status()
    assert status["sessions"]["outcomes"]["mirrored"] == status["sessions"]["seen"] == 200
    assert status["bytes"]["delivered"] == report["bytes"]
    assert status["imbalance"] == []


def test_ipv4_and_ipv6_in_one_process(network: Network) -> None:
    """Both families are mirrored by one copy, each from its own client network."""
    mapping = "[fd50::10]:1025-[fd50::101]:1025,192.168.50.10:1025-192.168.50.101:1025"
    network.start_mirror(f"copy -x {mapping} -s 192.168.50.102 -c 192.168.60.x,fd60::/64")
    for address in ("fd50::10", "192.168.50.10"):
        assert network.drive("--sessions", 50, address=address)["errors"] == []
    network.wait_for_sessions("target", 100)
    assert network.multiset("target") == network.multiset("online")
    assert {session["peer"][:5] for session in network.sessions_of("target")} == {"fd60:", "192.1"}


def test_large_uploads(network: Network) -> None:
    """Uploads much larger than every window and ring block arrive whole, several at once."""
    network.start_mirror()
    report = network.drive("--sessions", 4, "--concurrency", 4, "--turns", 1, "--max-bytes", 20_000_000, "--seed", 1)
    assert report["errors"] == []
    wait_until(lambda: len(network.sessions_of("target")) == 4, "four uploads arrived", 60)
    assert network.multiset("target") == network.multiset("online")


def test_copies(network: Network) -> None:
    """-n 3 delivers each session three times, from three addresses."""
    network.start_mirror(f"{COPY} -n 3")
    assert network.drive("--sessions", 40)["errors"] == []
    network.wait_for_sessions("target", 120)
    assert network.multiset("target") == network.multiset("online") + network.multiset("online") + network.multiset(
        "online"
    )
    assert len({session["peer"] for session in network.sessions_of("target")}) == 3


def test_nothing_reaches_a_third_host(network: Network) -> None:
    """No packet to or from the client network arrives at online or the client, not even when the mirror ends."""
    program = Path(__file__).with_name("sniffer.py")
    sniffers = {name: host.start(sys.executable, program) for name, host in network.hosts.items()}
    for sniffer in sniffers.values():
        wait_until(lambda sniffer=sniffer: "sniffing" in output(sniffer), "the sniffer captures")
    network.start_mirror()
    assert network.drive("--sessions", 100)["errors"] == []
    network.wait_for_sessions("target", 100)
    counts = {}
    for name, sniffer in sniffers.items():
        sniffer.terminate()
        sniffer.wait(10)
        counts[name] = int(output(sniffer).rsplit("count ", 1)[1])
    assert counts["online"] == counts["client"] == 0
    assert counts["target"] > 300
    assert counts["assistant"] > 300, "the observer itself sees nothing"


def test_sessions_open_before_copy_are_counted_and_left_alone(network: Network) -> None:
    """A session in progress when copy starts is midstream_skipped, and nothing of it arrives."""
    network.assistant.start(*network.assistant.copytool("intercept -i ens18 -F|tcp and src port 1025"))
    network.wait_listening("assistant", 36524)
    client = network.client.start(
        *("python3", "-c"),
        "import socket,sys,time\n"
        "s = socket.create_connection(('192.168.50.10', 1025)); s.sendall(b'a'); s.recv(1)\n"
        "print('open', flush=True); time.sleep(4); s.sendall(b'b'); s.recv(1)\n",
    )
    wait_until(lambda: "open" in output(client), "the client is connected")
    network.online.start(*network.online.copytool(COPY))
    network.wait_for_link()
    assert client.wait(15) == 0
    wait_until(
        lambda: network.online.status()["sessions"]["outcomes"]["midstream_skipped"] == 1, "counted as midstream"
    )
    status = network.online.status()
    assert status["sessions"]["seen"] == 1
    assert network.sessions_of("target") == []
    assert status["imbalance"] == []


def test_without_intercept_nothing_is_sent(network: Network) -> None:
    """With no link every session is no_feedback, and the target never hears of it."""
    network.online.start(*network.online.copytool(COPY))
    wait_until(network.online.status, "copy answers")
    assert network.drive("--sessions", 20)["errors"] == []
    wait_until(lambda: network.online.status()["sessions"]["outcomes"]["no_feedback"] == 20, "counted")
    assert network.online.status()["mirror"]["packets_sent"] == 0
    assert network.sessions_of("target") == []
