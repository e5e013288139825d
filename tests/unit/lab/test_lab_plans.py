"""The planners against recorded cases: wanted and current state in, plan or refusal out. A case is a file."""

from __future__ import annotations

import json
from pathlib import Path

import lab_hosts_plan
import lab_network_plan
import pytest

HERE = Path(__file__).parent


def cases(folder: str) -> list[object]:
    """The recorded cases in a folder."""
    return [pytest.param(json.loads(path.read_text()), id=path.stem) for path in sorted((HERE / folder).glob("*.json"))]


@pytest.mark.parametrize("case", cases("network"))
def test_network_plan(case: dict) -> None:
    """The network's plan is the recorded one."""
    if "error" in case:
        with pytest.raises(lab_network_plan.PlanError) as refusal:
            lab_network_plan.plan_present(case["wanted"], case["current"])
        assert str(refusal.value) == case["error"]
    elif case["wanted"] is None:
        assert lab_network_plan.plan_absent(case["current"]) == case["plan"]
    else:
        assert lab_network_plan.plan_present(case["wanted"], case["current"]) == case["plan"]


@pytest.mark.parametrize("case", cases("hosts"))
def test_hosts_plan(case: dict) -> None:
    """The hosts' plan is the recorded one."""
    if case["wanted"] is None:
        assert lab_hosts_plan.plan_absent(case["current"]) == case["plan"]
    else:
        assert lab_hosts_plan.plan_present(case["wanted"], case["current"]) == case["plan"]


def test_every_operation_can_be_described() -> None:
    """People read one line for each operation, without file contents."""
    operation = {"op": "write", "host": "one", "path": "/etc/hostname", "content": "one\n", "mode": "0644"}
    assert lab_hosts_plan.describe(operation) == "one: write /etc/hostname"
    assert (
        lab_network_plan.describe({"op": "set_up", "netns": "lab-one", "link": "lo"}) == "set up netns=lab-one link=lo"
    )


def test_host_files_name_every_host() -> None:
    """Each host finds the others in /etc/hosts and carries its own name and keys."""
    files = lab_hosts_plan.host_files(
        "one",
        addresses={"one": "10.0.0.1", "two": "10.0.0.2"},
        sysctl={"net.ipv4.tcp_tw_reuse": 1},
        machine_id="0" * 32,
        keys={"authorized": "user key\n", "host": "private\n", "host_public": "public\n"},
    )
    assert "10.0.0.2 two\n" in files["/etc/hosts"]["content"]
    assert files["/etc/hostname"]["content"] == "one\n"
    assert files["/etc/sysctl.d/60-lab.conf"]["content"] == "net.ipv4.tcp_tw_reuse = 1\n"
    assert files["/etc/ssh/ssh_host_ed25519_key"] == {"content": "private\n", "mode": "0600"}
