"""`copytool copy --workers`: sessions arrive as exactly as with one process, and what happens when one is gone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from copytool.mirror.mapping import flow_hash

from .exactness import assert_exact
from .faults import Fault, Mirror, check_accounts, check_arrivals, mirror_of, whole_sessions
from .hosts import COPY, COPYTOOL, SESSION_DRIVER, Network, output, wait_until

ESTABLISHED = ["ss", "-Htn", "state", "established", "sport = 1025"]
CLIENT = ip_address("192.168.50.200").packed


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    """The four hosts; nothing runs yet."""
    with mirror_of(tmp_path) as made:
        yield made


def _workers(network: Network) -> list[dict[str, Any]]:
    workers: list[dict[str, Any]] = network.online.status()["workers"]
    return workers


def _pids(network: Network) -> list[int]:
    return [worker["pid"] for worker in _workers(network)]


def _is_alive(pid: int) -> bool:
    """Whether there is such a process that has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _hold_sessions(network: Network, count: int) -> subprocess.Popen[str]:
    """Start clients whose sessions stay open for some seconds, and wait until they are open at the target."""
    options = ["--sessions", count, "--concurrency", count, "--hold", 4]
    clients = network.client.start(sys.executable, SESSION_DRIVER, "192.168.50.10", *options)
    wait_until(lambda: _open_at_target(network) == count, f"{count} sessions are open on the target")
    return clients


def _open_at_target(network: Network) -> int:
    return len(network.target.run(*ESTABLISHED).stdout.splitlines())


@pytest.mark.parametrize("count", [2, 3])
def test_sessions_arrive_exactly(network: Network, count: int) -> None:
    """Every session of both families arrives, each worker has its part of them, and the sums are those of the parts."""
    mapping = "[fd50::10]:1025-[fd50::101]:1025,192.168.50.10:1025-192.168.50.101:1025"
    network.start_mirror(f"copy -x {mapping} -s 192.168.50.102 -c 192.168.60.x,fd60::/64 --workers {count}")
    options = ("--sessions", 150, "--concurrency", 20)
    reports = [network.drive(*options, address=address) for address in ("192.168.50.10", "fd50::10")]
    status = assert_exact(network, *reports)
    workers = status["workers"]
    assert [worker["worker"] for worker in workers] == list(range(1, count + 1))
    assert len(set(_pids(network))) == count
    seen = [worker["sessions"] for worker in workers]
    assert sum(seen) == 300 and min(seen) > 300 / count / 2, seen
    for key in ("packets", "drops"):
        assert sum(worker[key] for worker in workers) == status["capture"][key]
    assert 0 < sum(worker["cpu_s"] for worker in workers) < status["cpu_s"]
    assert status["link"] == [{**workers[0]["link"][0], "connects": count}]
    networks = [[ip_network(text) for text in worker["client_networks"]] for worker in workers]
    peers = [ip_address(session["peer"]) for session in network.sessions_of("target")]
    found = [sum(any(peer in network for network in own) for peer in peers) for own in networks]
    assert found == seen, "a worker's sessions come from its part of the client network"
    links = network.assistant.status()["link"]
    assert sorted(link["client_networks"] for link in links) == sorted(worker["client_networks"] for worker in workers)


def test_workers_share_nothing(network: Network) -> None:
    """No socket, pipe or writable mapping is in two of the processes, apart from the output that they log to, and the
    socket on which they all ask the process that may have next hops looked for."""
    network.start_mirror(f"{COPY} --workers 2")
    pids = [network.online.latest.pid, *_pids(network)]
    opened = [{str(path.readlink()) for path in Path(f"/proc/{pid}/fd").glob("*")} for pid in pids]
    sockets = [{name for name in names if name.startswith(("socket:", "pipe:"))} for names in opened]
    assert min(map(len, sockets)) >= 4
    asking = set.intersection(*sockets)
    assert len(asking) == 1
    assert all(one & other == asking for n, one in enumerate(sockets) for other in sockets[:n])
    for pid in pids[1:]:
        maps = [line.split() for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
        shared = [fields[-1] for fields in maps if fields[1].startswith("rw") and fields[1].endswith("s")]
        assert [name.split(":")[0] for name in shared] == ["socket"], "its ring, and nothing else, is shared memory"


def test_sessions_are_listed_together(network: Network) -> None:
    """`status --sessions` merges the workers' lists by the time at which sessions ended; the text has all workers."""
    network.start_mirror(f"{COPY} --workers 2")
    assert_exact(network, network.drive("--sessions", 60, "--concurrency", 4))
    ask = [*COPYTOOL, "status", "--control-socket", network.online.control_socket]
    answer = json.loads(network.online.run(*ask, "--json", "--sessions").stdout)
    assert answer["ended"] == len(answer["sessions"]) == 60
    ends = [session["ended_at"] for session in answer["sessions"]]
    assert ends == sorted(ends)
    assert {session["outcome"] for session in answer["sessions"]} == {"mirrored"}
    part = json.loads(network.online.run(*ask, "--json", "--sessions", 7).stdout)
    assert part == {**answer, "sessions": answer["sessions"][-7:]}
    assert network.online.run(*ask).stdout.count(" s of CPU") == 2


def test_kill_minus_9_of_a_worker(mirror: Mirror) -> None:
    """Its sessions end and it is started again; the other worker's sessions are whole, and no client notices."""
    mirror.start("--workers 2")
    network = mirror.network
    fault = Fault(mirror, "a worker is killed", "--long", 20)
    killed = _pids(network)[0]
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: _workers(network)[0]["state"] != "running", "its end is noticed")
    wait_until(lambda: _workers(network)[0]["state"] == "running", "it is started again")
    network.wait_for_link()
    fault.cause_is_gone(was_outage=False)
    fault.finish()
    fault.check_clients()
    workers = fault.status["workers"]
    assert [worker["restarts"] for worker in workers] == [1, 0]
    assert workers[0]["pid"] != killed and min(worker["sessions"] for worker in workers) > 10
    assert "worker 1" in mirror.copy_log.read_text() and "was killed by SIGKILL" in mirror.copy_log.read_text()
    check_accounts(fault.status)
    check_arrivals(mirror, fault.load.sessions())
    whole = whole_sessions(mirror)
    for session in fault.load.sessions():
        of_killed = flow_hash(CLIENT, session["port"]) % 2 == 0
        in_time = session["opened"] <= fault.recovered_at and session["ended"] >= fault.began_at - 0.5
        assert session["id"] in whole or (of_killed and in_time), session


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_end_of_the_supervisor(network: Network, number: signal.Signals) -> None:
    """However it ends, its workers close their sessions on the target and end with it; clients go on unharmed."""
    network.start_mirror(f"{COPY} --workers 2")
    pids = _pids(network)
    copy = network.online.latest
    clients = _hold_sessions(network, 30)
    copy.send_signal(number)
    assert copy.wait(10) == (0 if number == signal.SIGTERM else -signal.SIGKILL)
    wait_until(lambda: not any(map(_is_alive, pids)), "no worker is left", 5)
    wait_until(lambda: _open_at_target(network) == 0, "none is open any more")
    assert clients.wait(30) == 0
    left = {path.name for path in network.online.scratch.glob("control.sock*")}
    assert left == (set() if number == signal.SIGTERM else {"control.sock"})
    network.online.start(*network.online.copytool(f"{COPY} --workers 2"))
    network.wait_for_link()


def test_signals_to_all_processes(network: Network) -> None:
    """A terminal and a service manager signal all of them at once: they end in order, nobody is started again."""
    network.start_mirror(f"{COPY} --workers 2")
    copy, pids = network.online.latest, _pids(network)
    clients = _hold_sessions(network, 10)
    for number in (signal.SIGUSR1, signal.SIGINT):
        for pid in (*pids, copy.pid):
            os.kill(pid, number)
    assert copy.wait(10) == 0
    wait_until(lambda: _open_at_target(network) == 0, "none is open any more")
    assert not any(map(_is_alive, pids))
    text = output(copy)
    assert text.count(" s of CPU") == 4 and "NO FIGURES" not in text and "starting it again" not in text, text
    assert clients.wait(30) == 0


def test_a_worker_that_does_not_answer(network: Network) -> None:
    """`status` says which one after a second, with the others' figures; SIGTERM ends it all the same."""
    network.start_mirror(f"{COPY} --workers 2")
    assert_exact(network, network.drive("--sessions", 60))
    before = network.online.status()
    stopped = before["workers"][1]
    os.kill(stopped["pid"], signal.SIGSTOP)
    began = time.monotonic()
    status = network.online.status()
    assert time.monotonic() - began < 4
    silent = {"worker": 2, "pid": stopped["pid"], "restarts": 0, "state": "no answer within 1 s"}
    assert status["workers"][1] == silent
    assert status["sessions"]["seen"] == before["workers"][0]["sessions"] == 60 - stopped["sessions"]
    ask = [*COPYTOOL, "status", "--control-socket", network.online.control_socket]
    assert f"NO FIGURES   of worker 2 (pid {stopped['pid']})" in network.online.run(*ask).stdout
    assert "NO ANSWER from worker 2" in network.online.run(*ask, "--sessions").stdout
    os.kill(stopped["pid"], signal.SIGCONT)
    assert network.online.status()["sessions"]["seen"] == 60
    os.kill(stopped["pid"], signal.SIGSTOP)
    copy = network.online.latest
    copy.terminate()
    assert copy.wait(12) == 0
    assert not any(_is_alive(worker["pid"]) for worker in before["workers"])
    assert "worker 2" in output(copy) and "was killed" in output(copy)


def test_background(network: Network, tmp_path: Path) -> None:
    """-d returns when all workers are ready; SIGTERM to the pid in the pid file ends all."""
    pid_file = tmp_path / "pid"
    words = [*network.online.copytool(f"{COPY} --workers 2"), "-d", "-P", pid_file, "-l", tmp_path / "log"]
    assert network.online.run(*words).stderr == ""
    pid = int(pid_file.read_text())
    try:
        pids = _pids(network)
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not pid_file.exists(), "the pid file is gone")
    assert not any(map(_is_alive, pids))


def test_mistakes_get_one_line(network: Network) -> None:
    """What keeps a worker from starting is said once, with the status that one process would have."""
    cases = (
        (f"{COPY} -i eth9 --workers 2", 3, "copytool: cannot capture on eth9: No such device; see `ip link`\n"),
        (f"{COPY},192.168.50.8/29 --workers 2", 2, "which is in use here; take a network that exists nowhere\n"),
        (f"{COPY.replace('60.x', '60.1')} --workers 2", 2, "1 IPv4 addresses are not enough for 2 workers"),
    )
    for line, code, message in cases:
        done = network.online.run(*network.online.copytool(line), check=False)
        assert (done.returncode, done.stderr.count("\n")) == (code, 1), done.stderr
        assert message in done.stderr
