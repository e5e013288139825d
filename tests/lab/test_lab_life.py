"""The life of a lab: made, made again, looked at, killed in parts, removed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fabric import Config, Connection

from .conftest import ADDRESSES, Lab, as_root, send_signal, wait_until

pytestmark = pytest.mark.lab

CRASH_POINTS = {
    "the keys are made": lambda lab: (lab.user_dir / "id_ed25519").exists(),
    "a namespace is made": lambda lab: lab.namespaces(),
    "a file system is mounted": lambda lab: [point for point in lab.mounts() if point.endswith("/root")],
    "a host boots": lambda lab: list(lab.state_dir.glob("hosts/*/console.log")) and lab.processes(),
}


def test_a_lab_is_made_once_and_removed_wholly(lab: Lab) -> None:
    """Made, the hosts see each other; made again or in check mode, nothing changes; removed, nothing is left."""
    namespaces, mounts = machine_state(lab)
    lab.make()
    assert lab.ssh("one", "hostname; cat /etc/hostname").split() == ["one", "one"]
    assert "1 received" in lab.ssh("one", "ping -c 1 -W 5 two")
    assert f"{ADDRESSES['two']}/24" in lab.ssh("two", "ip -4 address show ens18")
    assert lab.ssh("two", "systemctl is-system-running").strip() == "running"
    assert fabric_hostname(lab, "two") == "two"

    for options in ([], ["--check", "--diff"]):
        result = lab.up(*options)
        assert (result.status, result.changed) == (0, 0), result.output

    result = lab.down("--check", "--diff")
    assert result.status == 0, result.output
    assert f"remove netns netns={lab.prefix}-one" in result.output
    assert "1 received" in lab.ssh("one", "ping -c 1 -W 5 two")

    result = lab.down()
    assert result.status == 0, result.output
    assert lab.traces() == []
    assert machine_state(lab) == (namespaces, mounts)
    result = lab.down()
    assert (result.status, result.changed) == (0, 0), result.output


def test_check_mode_shows_the_plan_and_makes_nothing(lab: Lab) -> None:
    """Without a lab, --check --diff names what would be made."""
    result = lab.up("--check", "--diff")
    assert result.status == 0, result.output
    assert f"add netns netns={lab.prefix}-one" in result.output
    assert "two: boot" in result.output
    assert lab.traces() == []


def test_crashes_in_mid_setup_are_healed(lab: Lab) -> None:
    """After kill -9 of Ansible at one point after the other the next run makes the lab whole."""
    for what, predicate in CRASH_POINTS.items():
        lab.up_until(lambda predicate=predicate: predicate(lab), what)
    lab.make()
    assert "1 received" in lab.ssh("one", "ping -c 1 -W 5 two")


@pytest.mark.parametrize("what", list(CRASH_POINTS)[1:])
def test_a_crash_in_mid_setup_is_removed(lab: Lab, what: str) -> None:
    """After kill -9 of Ansible at any point the lab can be removed, and nothing is left."""
    lab.up_until(lambda: CRASH_POINTS[what](lab), what)
    assert lab.traces() != []
    result = lab.down()
    assert result.status == 0, result.output
    assert lab.traces() == []


def test_an_orphaned_setup_does_not_meet_the_teardown(lab: Lab) -> None:
    """When only Ansible was killed and its module still makes hosts, teardown waits for it and leaves nothing."""
    what = "a file system is mounted"
    lab.up_until(lambda: CRASH_POINTS[what](lab), what, whole_tree=False)
    result = lab.down()
    assert result.status == 0, result.output
    assert lab.traces() == []


def test_a_host_that_died_is_booted_again(lab: Lab) -> None:
    """kill -9 of one host's nspawn, which leaves its processes behind, is healed; the other host is not touched."""
    lab.make()
    other = lab.nspawn("two")
    lab.ssh("one", "touch /root/kept")
    send_signal("KILL", lab.nspawn("one"))
    lab.make()
    assert lab.ssh("one", "systemctl is-system-running; ls /root/kept").split() == ["running", "/root/kept"]
    assert lab.nspawn("two") == other


def test_what_a_dead_host_left_is_removed(lab: Lab) -> None:
    """After kill -9 of all that runs a host, teardown finds what systemd-nspawn could not clean up."""
    lab.make()
    lock = as_root("stat", "--format=inode-%d:%i", f"{lab.state_dir}/hosts/one/root").strip()
    find_lock = ["find", "/run/systemd/nspawn/locks", "-name", lock]
    assert as_root(*find_lock) != ""
    send_signal("KILL", *lab.processes("one"))
    wait_until(lambda: not lab.processes("one"), "the host's processes end")
    result = lab.down()
    assert result.status == 0, result.output
    assert as_root(*find_lock, check=False) == ""


def test_a_root_file_system_in_use_is_kept(lab: Lab) -> None:
    """Teardown of another lab does not take the root file system from under hosts that lie on it."""
    lab.make()
    other = Lab(lab.directory / "other")
    other.extra["lab_keep_rootfs"] = False
    result = other.down()
    assert result.status == 0, result.output
    assert "other hosts lie on it" in result.output
    assert lab.ssh("one", "ls /usr/bin/tcpdump").strip() == "/usr/bin/tcpdump"


def test_a_lab_of_another_directory_is_refused(lab: Lab) -> None:
    """Who has other keys can neither take over nor remove a lab that runs, unless its own directory is gone."""
    lab.make()
    other = Lab(lab.directory / "other")
    other.extra |= {"lab_prefix": lab.prefix, "lab_state_dir": str(lab.state_dir)}
    for result in (other.up(), other.down(), other.down("--check")):
        assert result.status != 0
        assert f"belongs to {lab.directory}" in " ".join(result.output.split())
    assert not other.user_dir.exists()
    assert lab.ssh("one", "hostname").strip() == "one"

    for name in ADDRESSES:
        send_signal("KILL", *lab.processes(name))
    wait_until(lambda: not any(lab.processes(name) for name in ADDRESSES), "the hosts' processes end")
    other.make()
    assert other.ssh("one", "hostname").strip() == "one"
    lab.user_dir.mkdir(exist_ok=True)
    assert lab.down().status != 0, "it belongs to the other directory now"

    (other.user_dir / "ssh_config").unlink()
    result = lab.down()
    assert result.status == 0, result.output


def test_a_host_reboots(lab: Lab) -> None:
    """A reboot inside starts the host again, with its address, without the routes that only memory held."""
    lab.make()
    lab.ssh("one", f"ip route add 192.168.71.0/24 via {ADDRESSES['two']}")
    before = lab.nspawn("one")
    lab.ssh("one", "systemctl reboot || true")
    wait_until(lambda: before not in lab.processes("one"), "the host goes down")
    result = lab.make()
    assert result.changed == 0, result.output
    assert lab.ssh("one", "ip route").split()[0] == "192.168.70.0/24"
    assert "192.168.71.0" not in lab.ssh("one", "ip route")


def test_a_foreign_namespace_is_left_alone(lab: Lab) -> None:
    """A namespace of the same name that somebody else made is an error that names it, and survives teardown."""
    name = f"{lab.prefix}-one"
    as_root("ip", "netns", "add", name)
    try:
        result = lab.up()
        assert result.status != 0
        assert f"{name} exists but this lab did not make it" in result.output
        lab.down()
        assert lab.namespaces() == [name]
    finally:
        as_root("ip", "netns", "del", name)


def fabric_hostname(lab: Lab, host: str) -> str:
    """Name of a host as Fabric, which reads ssh_config its own way, gets it."""
    config = Config(runtime_ssh_path=str(lab.user_dir / "ssh_config"))
    with Connection(host, config=config) as connection:
        return connection.run("hostname", hide=True, in_stream=False).stdout.strip()


def machine_state(lab: Lab) -> tuple[set[str], set[str]]:
    """Network namespaces and mount points of the whole machine, without those of labs that other tests have now."""
    directory = Path("/run/netns")
    names = {path.name for path in directory.iterdir()} if directory.exists() else set()
    mounts = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}

    def counts(what: str) -> bool:
        own = lab.prefix in what or what.startswith(str(lab.directory))
        return own or not re.match(r"(/run/netns/)?ctt\d+n\d+-|/.*/pytest-\d+/", what)

    return set(filter(counts, names)), set(filter(counts, mounts))
