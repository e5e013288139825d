"""How the tasks reach hosts and what they make of those that fail: other inventories over the hosts of the lab."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.mirror import Mirror
from support.topology import REPOSITORY, Topology
from testinfra.host import Host

from .test_fab import fab

PATIENCE_S = 60
OPERATOR = "ct-operator"
PASSWORD = "just-for-a-test"
DOWN = {"ansible_ssh_common_args": "-o ProxyCommand=false"}
SILENT = {"ansible_ssh_common_args": "-o 'ProxyCommand=sleep 1000'"}

Variables = dict[str, dict[str, Any]]


@pytest.fixture
def inventory_of(tmp_path: Path, topology: Topology) -> Callable[..., str]:
    """Writes an inventory with some of the lab's hosts, or others, and their variables."""

    def write(**groups: Variables) -> str:
        common = {"ansible_user": "root", "ansible_ssh_common_args": f'-F "{topology.ssh_config}"'}
        children = {group: {"hosts": hosts} for group, hosts in groups.items()}
        path = tmp_path / "hosts.json"
        path.write_text(json.dumps({"all": {"vars": common, "children": children}}))
        return str(path)

    return write


@pytest.fixture
def operator(hosts: dict[str, Host], topology: Topology) -> Iterator[str]:
    """A host with a user who may log in as root may, and become root with a password."""
    name = topology.names["target"][0]
    host = hosts[name]
    home = f"/home/{OPERATOR}"
    try:
        host.check_output(f"useradd --create-home --shell /bin/sh {OPERATOR}")
        host.check_output(f"echo {OPERATOR}:{PASSWORD} | chpasswd")
        host.check_output(f"install -d -m 700 -o {OPERATOR} {home}/.ssh")
        host.check_output(f"install -m 600 -o {OPERATOR} /root/.ssh/authorized_keys {home}/.ssh/authorized_keys")
        host.check_output(f"echo '{OPERATOR} ALL=(ALL) ALL' > /etc/sudoers.d/{OPERATOR}")
        yield name
    finally:
        host.run(f"rm -f /etc/sudoers.d/{OPERATOR}; userdel --remove {OPERATOR}")


def last_line(result: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in result.stderr
    return result.stderr.splitlines()[-1]


def test_output_is_whole_and_in_order(mirror: Mirror, topology: Topology) -> None:
    result = fab("run", "for i in 1 2 3; do hostname; sleep 0.1; done; echo error >&2")
    assert result.returncode == 0, result.stdout + result.stderr
    blocks = result.stdout.strip().split("\n\n")
    names = [block.partition(":")[0] for block in blocks]
    assert sorted(names) == sorted(topology.addresses)
    assert [block.splitlines()[1:] for block in blocks] == [[name] * 3 + ["error"] for name in names]
    assert [block.partition(":")[0] for block in fab("run", "date").stdout.strip().split("\n\n")] == names


def test_a_failure_on_one_host_is_the_task_s(mirror: Mirror, topology: Topology) -> None:
    name = topology.names["target"][0]
    result = fab("run", f"[ $(hostname) != {name} ] || exit 7")
    assert (result.returncode, last_line(result)) == (1, f"run failed on {name} (status 7)")


def test_hosts_are_selected(mirror: Mirror, topology: Topology) -> None:
    online = topology.names["online"]
    shown = fab("status", "--hosts", "online_hosts").stdout
    assert [line for line in shown.splitlines() if line.endswith(": copytool copy")] == [
        f"{name}: copytool copy" for name in online
    ]
    assert "copytool intercept" not in shown
    shown = fab("logs", "-H", f"all:!{online[0]}").stdout
    assert f"{online[0]}: " not in shown and "copytool intercept" in shown


def test_status_fails_when_a_daemon_does_not_run(mirror: Mirror, topology: Topology) -> None:
    name = topology.names["online"][0]
    try:
        assert fab("stop", "--daemon", "copy", "--hosts", name).returncode == 0
        assert set(mirror.main_pids("copy").values()) != {0} or len(topology.names["online"]) == 1
        result = fab("status")
        assert (result.returncode, last_line(result)) == (1, f"status failed on {name} (copytool copy)")
        assert fab("ended", "-H", name).returncode == 1
        assert fab("logs").returncode == 0
    finally:
        assert fab("start", "--hosts", name).returncode == 0
    mirror.wait_for_link()


def test_hosts_that_are_down_do_not_hold_up_the_others(
    mirror: Mirror, topology: Topology, inventory_of: Callable[..., str]
) -> None:
    online = topology.names["online"][0]
    inventory = inventory_of(online_hosts={"down": DOWN, online: {}, "silent": SILENT})
    begun = time.monotonic()
    result = fab("-t", "2", "run", "hostname", "-i", inventory)
    assert time.monotonic() - begun < PATIENCE_S
    assert result.returncode == 1
    assert f"{online}: hostname\n{online}\n" in result.stdout
    assert last_line(result) == "run failed on down (does not answer), silent (does not answer)"
    for task in (["status"], ["logs"], ["ended"], ["resume"], ["capture", "down", "--output", f"{inventory}.pcap"]):
        result = fab("-t", "2", *task, "-i", inventory)
        assert result.returncode == 1, task
        assert last_line(result).startswith(f"{task[0]} failed on down (does not answer)")
    assert not Path(f"{inventory}.pcap").exists()


def test_an_unknown_host_key_is_told(topology: Topology, inventory_of: Callable[..., str], mirror: Mirror) -> None:
    arguments = f'-o UserKnownHostsFile=/dev/null -F "{topology.ssh_config}"'
    name = topology.names["target"][0]
    inventory = inventory_of(target_hosts={name: {"ansible_ssh_common_args": arguments}})
    result = fab("route", "-i", inventory)
    assert result.returncode == 1
    assert f"{name} cannot be reached: its host key is not known" in result.stdout


def test_who_is_not_root_uses_sudo(operator: str, hosts: dict[str, Host], inventory_of: Callable[..., str]) -> None:
    """With a password, without it, with a wrong one, and where none is asked for."""

    def run(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        inventory = inventory_of(target_hosts={operator: {"ansible_user": OPERATOR, **variables}})
        return fab("run", "id -un; cat /etc/shadow | wc -c", "-i", inventory, *words)

    refused = run()
    assert refused.returncode == 1
    assert f"{operator} refuses: sudo wants a password: set ansible_become_password" in refused.stdout
    assert run(ansible_become_password=PASSWORD).stdout.splitlines()[2] == "root"
    assert "does not take the password" in run(ansible_become_password="wrong").stdout
    assert run("--no-sudo").stdout.splitlines()[2] == OPERATOR
    hosts[operator].check_output(f"echo '{OPERATOR} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/{OPERATOR}")
    assert run().stdout.splitlines()[2] == "root"
    assert run(ansible_become_password="not needed").stdout.splitlines()[2] == "root"


@pytest.mark.parametrize("as_root", [True, False], ids=["root", "sudo"])
def test_ctrl_c_ends_what_runs_on_the_hosts(
    as_root: bool, operator: str, hosts: dict[str, Host], inventory_of: Callable[..., str]
) -> None:
    hosts[operator].check_output(f"echo '{OPERATOR} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/{OPERATOR}")
    user = "root" if as_root else OPERATOR
    inventory = inventory_of(target_hosts={operator: {"ansible_user": user}})
    command = [str(Path(sys.executable).with_name("fab")), "run", "exec sleep 86399", "-i", inventory]
    process = subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    wait_for_sleeper(hosts[operator], True)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == f"run failed on {operator} (interrupted)"
    wait_for_sleeper(hosts[operator], False)


def wait_for_sleeper(host: Host, there: bool) -> None:
    end = time.monotonic() + PATIENCE_S
    while host.run("pgrep -x -f 'sleep 86399'").succeeded != there:
        assert time.monotonic() < end, f"the command {'was not started' if there else 'goes on'}"


def test_logs_are_followed_until_ctrl_c(mirror: Mirror, topology: Topology) -> None:
    """Each line has its host's name; a line that comes meanwhile is shown."""
    names = topology.names["online"]
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("fab")), "follow", "--daemon", "copy"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline().split(" | ")[0].strip() in names
        assert fab("copies", "1").returncode == 0
        missing = set(names)
        while missing:
            host, _, line = process.stdout.readline().partition(" | ")
            if "asked for copies count=1" in line:
                missing.discard(host.strip())
    finally:
        process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
