"""A copy that is not on the online host: what it is fed with, and that sessions are as exact as ever."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest
from support.authority import TestAuthority

from .checks import check
from .exactness import assert_exact
from .feeds import (
    FED_COPY,
    FORWARD,
    complaints,
    copy_on_assistant,
    gre,
    mirror_port,
    slow_down,
    speed_up,
    start_fed_mirror,
    start_forward,
    vxlan,
    wait_for_forward,
    with_tls,
)
from .hosts import INTERCEPT, Network, output, wait_until
from .test_tcp import Pair

SESSIONS = ("--sessions", 500, "--concurrency", 20)


def test_a_mirror_port(network: Network) -> None:
    """All of the online host's traffic, both ways, comes to an interface without an address: 500 sessions are exact."""
    copy_on_assistant(network)
    interface = mirror_port(network)
    start_fed_mirror(network, f"--feed span -i {interface}")
    assert_exact(network, network.drive(*SESSIONS))
    assert "promiscuity 1" in network.assistant.run("ip", "-details", "link", "show", interface).stdout
    network.copy_host.latest.send_signal(signal.SIGTERM)
    assert network.copy_host.latest.wait(10) == 0
    assert "promiscuity 0" in network.assistant.run("ip", "-details", "link", "show", interface).stdout


def test_a_mirror_port_shared_by_workers(network: Network) -> None:
    """The kernel shows each worker its part, as it does for the host's own traffic."""
    copy_on_assistant(network)
    start_fed_mirror(network, f"--feed span -i {mirror_port(network)} --workers 2")
    assert_exact(network, network.drive("--sessions", 200, "--concurrency", 20))
    assert all(worker["sessions"] for worker in network.copy_host.status()["workers"])


@pytest.mark.parametrize("mtu_bytes", [1400, 1500], ids=["with room", "in fragments"])
def test_vxlan(network: Network, mtu_bytes: int) -> None:
    """500 sessions are exact, also where packets do not fit, and nobody is told that there is no such port."""
    copy_on_assistant(network)
    vxlan(network, mtu_bytes)
    start_fed_mirror(network, "--feed tunnel")
    before = complaints(network)
    status = assert_exact(network, network.drive(*SESSIONS))
    assert status["feed"]["kind"] == "tunnel"
    assert complaints(network) == before


@pytest.mark.parametrize("kind", ["gre", "gre-ip", "erspan1", "erspan2", "erspan3"])
def test_gre(network: Network, kind: str) -> None:
    """500 sessions are exact, and nobody is told that there is no such protocol."""
    copy_on_assistant(network)
    gre(network, kind)
    start_fed_mirror(network, "--feed tunnel")
    before = complaints(network)
    assert_exact(network, network.drive(*SESSIONS))
    assert complaints(network) == before


def test_forward(network: Network) -> None:
    """500 sessions are exact; the online host sends no packet but its service's and the link's."""
    copy_on_assistant(network)
    start_fed_mirror(network, "--feed forward")
    start_forward(network)
    status = assert_exact(network, network.drive(*SESSIONS))
    (link,) = status["feed"]["links"]
    assert (link["state"], link["services"]) == ("established", ["1025"])
    forwarded = network.online.status()
    assert forwarded["role"] == "forward"
    assert forwarded["forwarded"]["packets"] == forwarded["capture"]["packets"] > 1500
    assert set(forwarded["forwarded"]["dropped"].values()) == {0}
    assert forwarded["capabilities"] == []


def test_forward_large_uploads(network: Network) -> None:
    """Super-segments go through the link whole."""
    copy_on_assistant(network)
    start_fed_mirror(network, "--feed forward")
    start_forward(network)
    report = network.drive("--sessions", 4, "--concurrency", 4, "--turns", 1, "--max-bytes", 20_000_000, "--seed", 1)
    assert_exact(network, report, timeout_s=60)


def test_forward_ipv6(network: Network) -> None:
    """Link and sessions over IPv6."""
    copy_on_assistant(network)
    mapping = "[fd50::10]:1025-[fd50::101]:1025"
    copy = f"copy -x {mapping} -s 127.0.0.1 -c fd60::/64 --feed forward --feed-listen [fd50::102]:36525"
    network.start_mirror(copy)
    start_forward(network, "forward -x [fd50::10]:1025 -s [fd50::102]")
    assert_exact(network, network.drive("--sessions", 100, address="fd50::10"))


def test_forward_encrypted(network: Network, tmp_path: Path) -> None:
    """With certificates of one authority; who is not among --forwarders is refused, and says why."""
    copy_on_assistant(network)
    authority = TestAuthority(tmp_path / "ca")
    intercept = with_tls(authority.issue("assistant", "server", ["127.0.0.1"]))
    copy = with_tls(authority.issue("assistant", "both", ["192.168.50.102"]))
    network.start_mirror(
        f"{FED_COPY} --feed forward --forwarders online {copy}", f"{INTERCEPT}|{'|'.join(intercept.split())}"
    )
    start_forward(network, f"{FORWARD} {with_tls(authority.issue('online', 'client'))}")
    status = assert_exact(network, network.drive("--sessions", 100))
    (link,) = status["feed"]["links"]
    assert (link["certificate"], link["encrypted"]) == ("online", True)
    stranger = with_tls(authority.issue("stranger", "client"))
    child = network.client.start(*network.client.copytool(f"{FORWARD} {stranger}"))
    wait_until(lambda: "the certificate of 'stranger' is none of --forwarders" in output(child), "it says why")


@pytest.mark.watch(services=(1025, 1026))
def test_a_service_that_resets_its_client(bare_network: Network) -> None:
    """copy asks forward's kernel: a mirror session ends like its connection, though the client says nothing more."""
    network = bare_network
    copy_on_assistant(network)
    copy = f"{FED_COPY} --feed forward --check-after 1".replace(":1025", ":1026")
    pair = Pair(network, "--close-after 1000 --reset", "", copy).mirrored()
    start_forward(network, FORWARD.replace("1025", "1026"))
    pair.play("keep_alive")  # is open long enough to show that the kernel knows this service's connections
    pair.start("closing")

    def ended() -> bool:
        outcomes = network.copy_host.status()["sessions"]["outcomes"]
        return bool(outcomes["mirrored"] == 2 and not outcomes["active"])

    wait_until(ended, "the mirror has ended")
    assert [session["end"] for session in pair.sessions("target")] == ["eof", "reset"]


def test_a_copy_that_is_started_again(network: Network) -> None:
    """forward goes on by itself; what was captured meanwhile is counted, and later sessions are exact."""
    copy_on_assistant(network)
    start_fed_mirror(network, "--feed forward")
    start_forward(network)
    network.drive("--sessions", 20)
    network.wait_for_sessions("target", 20)
    network.copy_host.latest.kill()
    wait_until(lambda: network.online.status()["link"][0]["state"] != "established", "the link is lost")
    assert network.drive("--sessions", 20)["errors"] == []
    wait_until(lambda: network.online.status()["forwarded"]["dropped"]["no_link"] > 60, "packets are counted")
    assert len(network.sessions_of("target")) == 20
    network.copy_host.start(*network.copy_host.copytool(f"{FED_COPY} --feed forward"))
    network.wait_for_link()
    wait_for_forward(network)
    assert network.drive("--sessions", 50)["errors"] == []
    wait_until(lambda: network.copy_host.status()["sessions"]["outcomes"]["mirrored"] == 50, "all are mirrored")
    assert network.copy_host.status()["imbalance"] == []


def test_a_forward_that_dies(network: Network) -> None:
    """Its open sessions end as capture_gap once bytes are missing, and the service has noticed nothing."""
    copy_on_assistant(network)
    start_fed_mirror(network, "--feed forward --gap-timeout 1")
    start_forward(network)
    client = network.client.start(
        *("python3", "-c"),
        "import socket,sys\n"
        "s = socket.create_connection(('192.168.50.10', 1025)); s.sendall(b'a'); s.recv(1)\n"
        "print('open', flush=True); sys.stdin.readline(); s.sendall(b'b'); s.recv(1); print('again', flush=True)\n"
        "sys.stdin.readline(); s.sendall(b'c'); s.recv(1); s.close()\n",
        stdin=True,
    )
    wait_until(lambda: "open" in output(client), "the client is connected")
    wait_until(lambda: network.copy_host.status()["sessions"]["outcomes"]["active"] == 1, "it is mirrored")
    network.online.latest.kill()
    wait_until(lambda: not network.copy_host.status()["feed"]["links"], "copy has noticed")
    go_on(client)
    wait_until(lambda: "again" in output(client), "the service answers")
    start_forward(network)
    go_on(client)
    assert client.wait(15) == 0
    wait_until(lambda: network.copy_host.status()["sessions"]["outcomes"]["capture_gap"] == 1, "the gap is found")
    assert network.copy_host.status()["imbalance"] == []


def go_on(client: subprocess.Popen[str]) -> None:
    assert client.stdin is not None
    client.stdin.write("go on\n")
    client.stdin.flush()


def test_a_link_that_does_not_keep_up(network: Network) -> None:
    """forward drops, counts, tells copy, and holds no more than it may; the service goes on, and so does copy."""
    copy_on_assistant(network)
    start_fed_mirror(network, "--feed forward --gap-timeout 1")
    start_forward(network, f"{FORWARD} --buffer 1 --ring-size 1")
    slow_down(network, "2mbit")
    report = network.drive("--sessions", 8, "--concurrency", 4, "--turns", 1, "--max-bytes", 4_000_000, "--seed", 2)
    assert report["errors"] == []
    status = network.online.status()["forwarded"]
    assert status["dropped"]["slow_link"] > 0
    assert status["waiting_bytes"] < (1 << 20) + (1 << 18)
    speed_up(network)

    def told() -> bool:
        copy = network.copy_host.status()
        return copy["feed"]["lost_packets"] > 0 and not copy["sessions"]["outcomes"]["active"]

    wait_until(told, "copy is told, and has ended what it could not have", 60)
    assert network.copy_host.status()["imbalance"] == []
    seen = network.copy_host.status()["sessions"]["seen"]
    assert network.drive("--sessions", 20)["errors"] == []
    wait_until(lambda: network.copy_host.status()["sessions"]["seen"] == seen + 20, "new sessions are seen")
    outcomes = network.copy_host.status()["sessions"]["outcomes"]
    assert outcomes["mirrored"] >= 20


@pytest.mark.parametrize("noise", [b"GET / HTTP/1.0\r\n\r\n", b"\0\0\0\x05\x07abcd", bytes(5), b"\xff" * 64])
def test_garbage_on_the_feed_port(network: Network, noise: bytes) -> None:
    """Whoever sends it is cut off; forward and the sessions are not affected."""
    copy_on_assistant(network)
    start_fed_mirror(network, "--feed forward")
    start_forward(network)
    script = (
        "import socket,sys\n"
        "s = socket.create_connection(('192.168.50.102', 36525)); s.sendall(bytes.fromhex(sys.argv[1]))\n"
        "s.settimeout(10)\n"
        "while s.recv(4096): pass\n"
    )
    network.client.run("python3", "-c", script, noise.hex())
    assert_exact(network, network.drive("--sessions", 50))
    assert network.copy_host.status()["feed"]["refused_links"] == 1


def test_a_port_that_is_taken(network: Network) -> None:
    """copy says which port, and which option chooses another."""
    copy_on_assistant(network)
    with_port = network.assistant.start("python3", "-c", "import socket,time\n"
        "s = socket.create_server(('0.0.0.0', 36525)); print('here', flush=True); time.sleep(60)")  # fmt: skip
    wait_until(lambda: "here" in output(with_port), "the port is taken")
    done = network.copy_host.run(*network.copy_host.copytool(f"{FED_COPY} --feed forward"), check=False)
    assert done.returncode == 3
    assert "cannot listen on 0.0.0.0:36525 (--feed-listen)" in done.stderr


def test_check_before_forward_runs(network: Network) -> None:
    """It connects to copy for a moment by itself, and says why that does not work, or that it does."""
    copy_on_assistant(network)
    network.watch.expect(checks=True)
    without = check(network.online, FORWARD)
    without.names("link", "copy does not run on that host", "--feed-listen")
    start_fed_mirror(network, "--feed forward")
    with_copy = check(network.online, FORWARD)
    assert with_copy.one("link")["state"] == "ok"
    assert with_copy.failed() == ["daemon"]
