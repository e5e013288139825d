"""How little the units and their processes may do, as the hosts' systemd and kernel see it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from support.mirror import KIND_OF, Mirror
from support.waiting import Unmet, wait_until
from testinfra.host import Host

from .test_services import process_facts

NET_ADMIN, NET_RAW = 1 << 12, 1 << 13
DAEMONS = pytest.mark.parametrize("daemon", ["copy", "intercept"])
MAX_EXPOSURE = 2.0
OWN_DIRECTORY = "/run/copytool/{daemon}"

# Runs as root in the daemon's mount namespace, so what is refused is refused by that and not by owners and modes.
INTRUDE = """
import json, os, shutil, subprocess, sys

def outcome(action):
    try:
        return action() or "done"
    except OSError as error:
        return error.strerror

def write(directory):
    path = directory + "/intruder"
    open(path, "w").close()
    os.unlink(path)

def run_copy(directory):
    path = directory + "/intruder"
    shutil.copyfile(os.path.realpath(sys.executable), path)
    os.chmod(path, 0o700)
    try:
        subprocess.run([path, "-V"])
    finally:
        os.unlink(path)

tries = {"write": write, "list": lambda path: " ".join(os.listdir(path)) or "empty", "run_copy": run_copy,
         "run": lambda path: subprocess.run([path]) and None}
print(json.dumps({path: outcome(lambda: tries[sys.argv[1]](path)) for path in sys.argv[2:]}))
"""
READ_ONLY = [
    "/",
    "/etc",
    "/etc/copytool",
    "/opt/copytool",
    "/run",
    "/run/lock",
    "/usr/lib",
    "/usr/local/bin",
    "/var",
    "/sys",
]
HIDDEN = ["/root", "/home", "/boot", "/var/lib", "/var/log", "/srv"]


def of_daemon(mirror: Mirror, daemon: str) -> dict[str, Host]:
    return mirror.of_kind(KIND_OF[daemon])


def processes(host: Host, daemon: str) -> dict[int, dict[str, str]]:
    """The facts of all processes of a unit, by pid."""
    found = host.check_output("grep -ls %s /proc/[0-9]*/cgroup", f"copytool@{daemon}.service")
    return {int(path.split("/")[2]): process_facts(host, int(path.split("/")[2])) for path in found.split()}


def intrude(host: Host, daemon: str, what: str, *paths: str) -> dict[str, Any]:
    """What comes of doing that to each path, where the daemon is."""
    pid = host.check_output("systemctl show -P MainPID copytool@%s", daemon)
    python = host.check_output("readlink -f /proc/%s/exe", pid)
    words = " ".join(paths)
    answer: dict[str, Any] = json.loads(
        host.check_output(f"nsenter --target %s --mount %s -I -c %s {what} {words}", pid, python, INTRUDE)
    )
    return answer


@DAEMONS
def test_exposure_is_low(mirror: Mirror, daemon: str) -> None:
    for name, host in of_daemon(mirror, daemon).items():
        report = host.check_output("systemd-analyze security --no-pager copytool@%s.service", daemon)
        level = re.search(r"Overall exposure level for copytool@\w+\.service: ([\d.]+)", report)
        assert level, report
        assert float(level[1]) < MAX_EXPOSURE, f"{name}:\n{report}"


def check_processes(host: Host, daemon: str, count: int) -> None:
    """All are unprivileged; one asks for next hops, and only that one may."""
    found = processes(host, daemon)
    main = int(host.check_output("systemctl show -P MainPID copytool@%s", daemon))
    assert len(found) == count
    bounds = {"copy": NET_RAW | NET_ADMIN, "intercept": NET_RAW}[daemon]
    for facts in found.values():
        assert "0" not in facts["Uid"].split() + facts["Gid"].split() + facts["Groups"].split()
        assert facts["NoNewPrivs"] == "1"
        assert facts["Seccomp"] == "2"
        assert facts["Threads"] == "1"  # capabilities are per thread
        assert int(facts["CapEff"], 16) == int(facts["CapPrm"], 16)
        assert int(facts["CapAmb"], 16) == int(facts["CapInh"], 16) == 0
        assert int(facts["CapBnd"], 16) == bounds
    held = {pid: int(facts["CapPrm"], 16) for pid, facts in found.items()}
    if daemon == "intercept":
        assert held == {main: 0}
        return
    assert held.pop(main) == NET_RAW
    assert sorted(held.values()) == [NET_ADMIN, *[NET_RAW] * (count - 2)]


@DAEMONS
def test_processes_have_what_they_need_only(mirror: Mirror, daemon: str) -> None:
    for host in of_daemon(mirror, daemon).values():
        check_processes(host, daemon, {"copy": 2, "intercept": 1}[daemon])


def test_workers_have_what_they_need_only(mirror: Mirror, copy_with: Callable[[str], None]) -> None:
    copy_with("--workers 2")
    for name, host in of_daemon(mirror, "copy").items():
        check_processes(host, "copy", 4)
        assert mirror.statuses("copy")[name]["capabilities"] == ["CAP_NET_RAW"]
    passage = mirror.pass_sessions(sessions=50)
    assert passage.driven.errors == []
    assert passage.at_target == passage.driven.sent


@DAEMONS
def test_status_says_what_it_may(mirror: Mirror, daemon: str) -> None:
    wanted = {"copy": ["CAP_NET_RAW"], "intercept": []}[daemon]
    assert {tuple(status["capabilities"]) for status in mirror.statuses(daemon).values()} == {tuple(wanted)}


@DAEMONS
def test_nothing_can_be_written_but_the_control_sockets_directory(mirror: Mirror, daemon: str) -> None:
    for host in of_daemon(mirror, daemon).values():
        answers = intrude(host, daemon, "write", *READ_ONLY)
        assert set(answers.values()) <= {"Read-only file system", "Permission denied"}, answers
        own = OWN_DIRECTORY.format(daemon=daemon)
        assert intrude(host, daemon, "write", own) == {own: "done"}


@DAEMONS
def test_no_program_can_be_started(mirror: Mirror, daemon: str) -> None:
    """Neither one of the host's, nor one that was written where the daemon may write."""
    for host in of_daemon(mirror, daemon).values():
        own = OWN_DIRECTORY.format(daemon=daemon)
        writable = intrude(host, daemon, "run_copy", "/tmp", "/var/tmp", "/dev/shm", own)
        assert set(writable.values()) <= {"Permission denied", "Read-only file system"}, writable
        answers = intrude(host, daemon, "run", "/bin/sh", "/usr/bin/nc", "/sbin/ip", "/usr/sbin/nft")
        assert set(answers.values()) == {"Permission denied"}, answers


@DAEMONS
def test_what_others_keep_is_out_of_sight(mirror: Mirror, daemon: str) -> None:
    for host in of_daemon(mirror, daemon).values():
        answers = intrude(host, daemon, "list", *HIDDEN)
        assert set(answers.values()) <= {"empty", "Permission denied"}, answers


@DAEMONS
def test_nothing_secret_in_process_list_and_journal(mirror: Mirror, daemon: str) -> None:
    """A process shows where its configuration is and nothing of it; its log has no key and no password."""
    for host in of_daemon(mirror, daemon).values():
        for pid in processes(host, daemon):
            words = host.check_output("tr '\\0' ' ' < /proc/%s/cmdline", str(pid)).split()
            assert words[2:] == [daemon, "--config", f"/etc/copytool/{daemon}.toml"]
        log = host.check_output("journalctl --no-pager -o cat -u copytool@%s", daemon)
        assert not re.search(r"PRIVATE KEY|passw|secret|token", log, flags=re.IGNORECASE)


@DAEMONS
def test_control_socket_is_for_root_and_its_group(mirror: Mirror, daemon: str) -> None:
    ask = f"copytool status --json {daemon}"
    for host in of_daemon(mirror, daemon).values():
        member = host.check_output(f"setpriv --reuid nobody --regid copytool --clear-groups {ask}")
        assert json.loads(member)["role"] == daemon
        other = host.run(f"setpriv --reuid nobody --regid nogroup --clear-groups {ask}")
        assert other.rc == 3
        assert "be root or in its group" in other.stderr


def test_a_group_member_steers_copy(mirror: Mirror) -> None:
    for host in of_daemon(mirror, "copy").values():
        as_member = "setpriv --reuid nobody --regid copytool --clear-groups"
        host.check_output(f"{as_member} copytool pause")
        try:
            assert mirror.statuses("copy")
        finally:
            host.check_output(f"{as_member} copytool resume")


@DAEMONS
def test_interface_down_and_up(mirror: Mirror, daemon: str) -> None:
    """The daemon needs no right for that which it has given up."""

    hosts = of_daemon(mirror, daemon)

    def troubled() -> set[str]:
        """The hosts whose daemon misses its interface; copy, which captures on all, then cannot reach its targets."""
        statuses = mirror.statuses(daemon)
        problems = {name: [status["capture"]["problems"], status.get("send")] for name, status in statuses.items()}
        return {name for name, (lost, sending) in problems.items() if lost or (sending and sending["unreachable"])}

    interfaces = {name: mirror.interface(name) for name in hosts}
    try:
        for name, host in hosts.items():
            host.check_output("ip link set %s down", interfaces[name])
        wait_until(lambda: troubled() == set(hosts) or Unmet(troubled()), 20, "the daemons notice")
    finally:
        for name, host in hosts.items():
            host.check_output("ip link set %s up", interfaces[name])
    wait_until(lambda: not troubled() or Unmet(troubled()), 20, "the daemons go on")
    mirror.wait_for_link()
    passage = mirror.pass_sessions(sessions=50)
    assert passage.driven.errors == []
    assert passage.at_target == passage.driven.sent
