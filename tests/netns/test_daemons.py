"""The daemons as processes: background, signals, crashes, mistakes of the host."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

from .hosts import COPY, COPYTOOL, INTERCEPT, Network, output, wait_until

ESTABLISHED = ["ss", "-Htn", "state", "established", "sport = 1025"]


def _sessions_on_target(network: Network) -> int:
    return len(network.target.run(*ESTABLISHED).stdout.splitlines())


def test_sigterm_closes_the_mirrored_sessions_on_the_target(network: Network) -> None:
    """SIGTERM ends copy with status 0, leaves no session open on the target, and the clients unharmed."""
    network.start_mirror()
    copy = network.online._children[-1]
    clients = network.client.start(
        "python3", "roles/mirror_check/files/sessions.py", "192.168.50.10",
        "--sessions", 30, "--concurrency", 30, "--hold", 3,
    )  # fmt: skip
    wait_until(lambda: _sessions_on_target(network) == 30, "30 sessions are open on the target")
    copy.terminate()
    assert copy.wait(10) == 0
    wait_until(lambda: _sessions_on_target(network) == 0, "none is open any more")
    assert clients.wait(30) == 0
    assert not network.online.control_socket.exists()


def test_kill_minus_9_of_copy(network: Network) -> None:
    """A killed copy harms no client; its successor cleans up on the target, and its own sessions are exact."""
    network.start_mirror()
    clients = network.client.start(
        "python3", "roles/mirror_check/files/sessions.py", "192.168.50.10",
        "--sessions", 60, "--concurrency", 20, "--turn-pause", 0.05,
    )  # fmt: skip
    wait_until(lambda: network.sessions_of("target"), "the first session arrived")
    copy = network.online._children[-1]
    copy.kill()
    copy.wait(10)
    assert clients.wait(60) == 0, output(clients)
    assert _sessions_on_target(network) > 0, "the killed copy left sessions open"
    network.online.start(*network.online.copytool(COPY))
    network.wait_for_link()
    wait_until(lambda: _sessions_on_target(network) == 0, "its successor ended what it left")
    before = {name: network.multiset(name) for name in ("online", "target")}
    assert network.drive("--sessions", 100)["errors"] == []
    wait_until(
        lambda: (
            network.multiset("target") - before["target"] == network.multiset("online") - before["online"]
            and network.multiset("online") != before["online"]
        ),
        "the sessions after the restart are exact",
    )


def test_kill_minus_9_of_intercept(network: Network) -> None:
    """Sessions open while intercept is killed and restarted still arrive whole: the link comes back by itself."""
    network.start_mirror()
    clients = network.client.start(
        "python3", "roles/mirror_check/files/sessions.py", "192.168.50.10",
        "--sessions", 20, "--concurrency", 20, "--turns", 30, "--turn-pause", 0.2, "--seed", 7,
    )  # fmt: skip
    wait_until(lambda: network.online.status()["sessions"]["seen"] == 20, "20 sessions are mirrored")
    intercept = network.assistant._children[-1]
    intercept.kill()
    intercept.wait(10)
    wait_until(lambda: network.online.status()["link"][0]["state"] != "established", "copy noticed")
    network.assistant.start(*network.assistant.copytool(INTERCEPT))
    assert clients.wait(60) == 0, output(clients)
    wait_until(lambda: len(network.sessions_of("target")) == 20, "all 20 arrived", 30)
    assert network.multiset("target") == network.multiset("online")


def test_background(network: Network, tmp_path: Path) -> None:
    """-d returns when the daemon is ready, writes pid and log, refuses a second one, and ends on SIGTERM."""
    pid_file, log_file = tmp_path / "pid", tmp_path / "log"
    words = [*network.assistant.copytool(INTERCEPT), "-d", "-P", pid_file, "-l", log_file]
    assert network.assistant.run(*words).stderr == ""
    pid = int(pid_file.read_text())
    try:
        assert network.assistant.status()["role"] == "intercept"
        second = network.assistant.run(*words, check=False)
        assert second.returncode == 3
        assert second.stderr == f"copytool: -P (--pid-file) {str(pid_file)!r}: held by the running process {pid}\n"
        os.kill(pid, signal.SIGUSR1)
        wait_until(lambda: "responses" in log_file.read_text(), "SIGUSR1 logs the counters")
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not pid_file.exists(), "the pid file is gone")
    assert "intercept stopped" in log_file.read_text()


def test_background_keeps_no_file_of_its_starter_open(network: Network, tmp_path: Path) -> None:
    """A descriptor that a shell or a service leaks is closed: it would hold a lock, a pipe or a mount for ever."""
    pid_file = tmp_path / "pid"
    words = [*network.assistant.copytool(INTERCEPT), "-d", "-P", pid_file, "-l", tmp_path / "log"]
    network.assistant.run("bash", "-c", 'exec 99<"$0"; exec "$@"', "/etc/passwd", *words)
    pid = int(pid_file.read_text())
    try:
        assert network.assistant.status()["role"] == "intercept"
        assert not Path(f"/proc/{pid}/fd/99").exists()
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not pid_file.exists(), "the pid file is gone")


def test_host_mistakes_get_one_line_and_status_3(network: Network, tmp_path: Path) -> None:
    """A missing interface, a taken port and missing capabilities are named before the daemon runs."""
    cases = (
        ([*network.assistant.copytool("intercept -i eth9 -F tcp")], "cannot capture on eth9: No such device"),
        ([*network.online.copytool("intercept -i ens18 -F tcp -p 1025")], "cannot listen on 0.0.0.0:1025 (-b, -p)"),
        (
            [
                *network.assistant.copytool("intercept -i eth9 -F tcp -d"),
                "-P",
                tmp_path / "pid",
                "-l",
                tmp_path / "log",
            ],
            "cannot capture on eth9: No such device",
        ),
        (
            ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", *network.assistant.copytool(INTERCEPT)],
            "capturing needs CAP_NET_RAW",
        ),
    )
    for words, reason in cases:
        done = network.online.run(*words, check=False)
        assert (done.returncode, len(done.stderr.splitlines())) == (3, 1), done.stderr
        assert reason in done.stderr


def test_bad_filter(network: Network) -> None:
    """libpcap's own reason is shown for a filter that does not compile."""
    done = network.assistant.run(*network.assistant.copytool("intercept -i ens18 -F|tcp and prot 1025"), check=False)
    assert done.returncode == 2
    assert "filter 'tcp and prot 1025' does not compile: " in done.stderr


def test_a_second_copy_may_not_claim_the_same_client_network(network: Network) -> None:
    """Another host's overlapping share is refused with the reason; the first copy goes on."""
    network.start_mirror()
    network.client.start(*network.client.copytool(COPY.replace("192.168.60.x", "192.168.60.128/25")))
    wait_until(lambda: network.client.status(), "the second copy answers")
    refused = wait_until(lambda: network.client.status()["link"][0]["reason"], "the second copy is refused")
    assert refused.startswith("refused: client network 192.168.60.128/25 belongs to the copy at 192.168.50.10:")
    assert network.online.status()["link"][0]["state"] == "established"


def test_two_copies_of_one_host_do_not_fight_over_a_client_network(network: Network, tmp_path: Path) -> None:
    """The second one waits while the first one lives, and takes over when that hangs."""
    network.start_mirror()
    first = network.online._children[-1]
    socket = tmp_path / "second.sock"
    network.online.start(*COPYTOOL, *COPY.split(), "--plain", "--control-socket", socket)
    ask = [*COPYTOOL, "status", "--json", "--control-socket", socket]
    wait_until(socket.exists, "the second copy listens")

    def second() -> dict[str, Any]:
        link: dict[str, Any] = json.loads(network.online.run(*ask).stdout)["link"][0]
        return link

    wait_until(lambda: "two copies need different -c" in second()["reason"], "the second copy is refused")
    wait_until(lambda: network.assistant.status()["refused_links"] >= 2, "and again")
    assert network.online.status()["link"][0]["connects"] == 1
    first.send_signal(signal.SIGSTOP)
    wait_until(lambda: second()["state"] == "established", "the second copy takes over", 10)
