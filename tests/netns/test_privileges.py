"""What the daemons may still do when root has started them by hand, and what happens without the process that asks for
next hops."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from .hosts import COPY, INTERCEPT, Host, Network, output, wait_until

NET_ADMIN, NET_RAW = 1 << 12, 1 << 13
SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


def _facts(task: Path) -> dict[str, str]:
    lines = (task / "status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _capabilities(pid: int) -> set[tuple[int, ...]]:
    """Return the capability sets (SETS) of each thread, which must not get new ones either."""
    found = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        facts = _facts(task)
        assert facts["NoNewPrivs"] == "1"
        found.add(tuple(int(facts[name], 16) for name in SETS))
    return found


def _children(pid: int) -> list[int]:
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _just(mask: int) -> set[tuple[int, ...]]:
    """Return what _capabilities() finds where `mask` is all that a process has, and all that it could ever have."""
    return {(0, mask, mask, mask, 0)}


def _keeper(host: Host) -> int:
    """Return the child of copy that has another capability than copy itself."""
    (pid,) = [pid for pid in _children(host.latest.pid) if _capabilities(pid) == _just(NET_ADMIN)]
    return pid


def test_root_is_left_with_what_the_daemons_need(network: Network) -> None:
    """copy keeps CAP_NET_RAW, a child of it CAP_NET_ADMIN, intercept nothing; what they start gets no more."""
    network.start_mirror()
    assert _capabilities(network.assistant.latest.pid) == _just(0)
    assert _capabilities(network.online.latest.pid) == _just(NET_RAW)
    assert _children(network.online.latest.pid) == [_keeper(network.online)]
    assert network.assistant.status()["capabilities"] == []
    assert network.online.status()["capabilities"] == ["CAP_NET_RAW"]


def test_all_workers_are_left_with_it(network: Network) -> None:
    """Supervisor and workers, also one that was started again, share one process with CAP_NET_ADMIN."""
    network.start_mirror(f"{COPY} --workers 2")
    workers = [worker["pid"] for worker in network.online.status()["workers"]]
    os.kill(workers[0], signal.SIGKILL)
    wait_until(
        lambda: (
            [w["state"] for w in network.online.status()["workers"]] == ["running"] * 2
            and network.online.status()["workers"][0]["restarts"] == 1
        ),
        "the killed worker runs again",
    )
    workers = [worker["pid"] for worker in network.online.status()["workers"]]
    for pid in (network.online.latest.pid, *workers):
        assert _capabilities(pid) == _just(NET_RAW)
    assert sorted(_children(network.online.latest.pid)) == sorted([*workers, _keeper(network.online)])
    assert network.online.status()["capabilities"] == ["CAP_NET_RAW"]


def test_background_daemon_is_left_with_it(network: Network, tmp_path: Path) -> None:
    """-d is no way around it."""
    pid_file = tmp_path / "pid"
    network.assistant.run(*network.assistant.copytool(INTERCEPT), "-d", "-P", pid_file, "-l", tmp_path / "log")
    pid = int(pid_file.read_text())
    try:
        assert _capabilities(pid) == _just(0)
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not pid_file.exists(), "the daemon has removed its pid file")


def _gone(pid: int) -> bool:
    try:
        return _facts(Path(f"/proc/{pid}"))["State"].startswith("Z")
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_stays_behind(network: Network, number: signal.Signals) -> None:
    """The process that asks for next hops ends with copy, however that ends, and does not mind signals to all."""
    network.start_mirror()
    keeper = _keeper(network.online)
    os.kill(keeper, signal.SIGTERM)
    os.kill(keeper, signal.SIGHUP)
    assert network.online.status()["send"]["unreachable"] == {}
    assert not _gone(keeper)
    network.online.latest.send_signal(number)
    network.online.latest.wait(10)
    wait_until(lambda: _gone(keeper), "it has ended as well")


def test_mirroring_goes_on_without_it(network: Network) -> None:
    """When it is killed, copy says so once, and what it knows of next hops goes on to serve."""
    network.start_mirror()
    os.kill(_keeper(network.online), signal.SIGKILL)
    network.online.run("ip", "neighbour", "change", "192.168.50.101", "dev", "ens18", "nud", "stale")
    log = "next hops are not looked for any more, start copy again"
    wait_until(lambda: log in output(network.online.latest), "copy notices")
    assert network.drive("--sessions", 50)["errors"] == []
    network.wait_for_sessions("target", 50)
    assert network.multiset("target") == network.multiset("online")
    assert output(network.online.latest).count(log) == 1


def test_copy_without_net_admin(network: Network) -> None:
    """Then it says what is missing, and takes next hops that somebody else has told the kernel."""
    network.online.start(
        "setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-all", *network.online.copytool(COPY)
    )
    warning = "cannot have the kernel look for them: copy needs CAP_NET_ADMIN for that"
    wait_until(lambda: warning in output(network.online.latest), "it says so")
    wait_until(lambda: network.online.status()["send"]["unreachable"], "the target cannot be reached")
    address = network.target.run("cat", "/sys/class/net/ens18/address").stdout.strip()
    network.online.run("ip", "neighbour", "replace", "192.168.50.101", "dev", "ens18", "lladdr", address)
    wait_until(lambda: not network.online.status()["send"]["unreachable"], "the target can be reached")
    assert network.online.status()["capabilities"] == ["CAP_NET_RAW"]
