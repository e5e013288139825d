"""The everyday tasks, as people type them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support.mirror import Mirror
from support.playbooks import play
from support.topology import REPOSITORY, Topology


def fab(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run fab in the repository."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("fab")), *arguments],
        cwd=REPOSITORY,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=120,
        check=False,
    )


def succeed(*arguments: str) -> str:
    """What a task printed; it must succeed."""
    result = fab(*arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_status_shows_daemons_link_and_services(mirror: Mirror, topology: Topology) -> None:
    shown = succeed("status")
    for name in topology.names["online"]:
        assert f"{name}: copytool copy" in shown
    for name in topology.names["assistant"]:
        assert f"{name}: copytool intercept" in shown
    for name in topology.services:
        assert f"{name}: echo service active" in shown
    assert shown.count(" established") == len(topology.names["online"] + topology.names["assistant"])


def test_ended_lists_the_last_sessions(mirror: Mirror, topology: Topology) -> None:
    succeed("sessions", "--count", "20")
    shown = succeed("ended", "--count", "3").splitlines()
    assert sum("mirrored" in line for line in shown) == 3 * len(topology.names["online"])


def test_logs_are_those_of_the_daemon(mirror: Mirror, topology: Topology) -> None:
    shown = succeed("logs", "--daemon", "intercept", "--lines", "20")
    for name in topology.names["assistant"]:
        assert f"{name}: copytool intercept" in shown
    assert "copytool copy" not in shown


def test_route_shows_the_way_of_the_answers(mirror: Mirror, topology: Topology) -> None:
    shown = succeed("route")
    for online, network in topology.client_networks.items():
        way = f"{network} via {topology.addresses[topology.assistants[online]]} "
        assert sum(line.startswith(way) for line in shown.splitlines()) == len(topology.names["target"])
    assert shown.count("net.ipv4.ip_forward = 0") == len(topology.names["assistant"])


def test_restart_brings_new_processes(mirror: Mirror) -> None:
    old = {daemon: mirror.main_pids(daemon) for daemon in ("copy", "intercept")}
    succeed("restart")
    for daemon, pids in old.items():
        for name, pid in mirror.main_pids(daemon).items():
            assert pid not in (0, pids[name])
    mirror.wait_for_link()


def test_stop_and_start(mirror: Mirror) -> None:
    try:
        assert "copytool copy inactive" in succeed("stop", "--daemon", "copy")
        assert set(mirror.main_pids("copy").values()) == {0}
        assert 0 not in mirror.main_pids("intercept").values()
    finally:
        started = succeed("start")
    assert "copytool copy active" in started
    mirror.wait_for_link()


def test_steering(mirror: Mirror, topology: Topology) -> None:
    """All copies of the lab do it, whether fab or a playbook asks, and put it into their log."""
    count = len(topology.names["online"])
    try:
        assert succeed("ratio", "50%", "--ramp", "1h").count("on the way to 50 %") == count
        assert succeed("copies", "2").count("2 times each") == count
        assert succeed("drain", "--timeout", "1m").count("no session is open") == count
        for status in mirror.statuses("copy").values():
            words = status["steering"]
            assert (words["paused"], words["ratio_goal_percent"], words["copies"]) == (True, 50, 2)
        assert fab("ratio", "200").returncode == 1
    finally:
        for words in (("ratio", "100"), ("copies", "1"), ("resume",)):
            succeed(*words)
    for command, said in (("ratio 99%", "99 % of new connections"), ("ratio 100%", "on the way to 100 %")):
        assert play("playbooks/steer.yml", "-e", f"command='{command}'").count(said) == count
    mirror.wait_for_link()
    assert succeed("logs", "--daemon", "copy", "--lines", "30").count("asked for copies count=2: done") == count


def test_sessions_are_driven_and_compared(mirror: Mirror) -> None:
    shown = succeed("sessions", "--count", "30")
    assert "All 30 sessions with" in shown
    assert "target: read by the service" in shown


def test_capture_makes_a_local_pcap(mirror: Mirror, topology: Topology, tmp_path: Path) -> None:
    pcap = tmp_path / "online.pcap"
    name = topology.names["online"][0]
    driving = mirror.drive(sessions=100, concurrency=2, turns=10, turn_pause=0.05)
    try:
        succeed("capture", name, "--seconds", "5", "--packets", "20", "--output", str(pcap))
    finally:
        driving.abandon()
    assert pcap.read_bytes()[:4] in (b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4")


def test_lab_that_is_down_is_told_in_one_line(tmp_path: Path, topology: Topology) -> None:
    config = tmp_path / "ssh_config"
    config.write_text("Host *\n    ProxyCommand false\n")
    result = fab("status", environment={"COPYTOOL_SSH_CONFIG": str(config)})
    assert result.returncode == 1
    for name in topology.addresses:
        assert (f"{name} does not answer" in result.stdout) == (name not in topology.names["client"])
    assert "make lab" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("status failed on ")
    assert "Traceback" not in result.stderr
