"""Real servers and their clients in the hosts' namespaces, and what says that a mirror of them was exact.

Packaged servers run from a root file system of their own (scripts/servers-rootfs): each in private mount and process
namespaces, on an overlay that is gone when it ends. What it leaves for the test lies below `/data`, which is a
directory of the test. Its first process dies with the test's child, and all its others with that one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .hosts import COPY, ROOT, Host, Network, output, wait_until

APPS = Path(__file__).with_name("apps")
BOTH = ("online", "target")

_ENTER = """
set -e
image=$1 data=$2 user=$3; shift 3
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay overlay -o "lowerdir=$image,upperdir=/mnt/upper,workdir=/mnt/work" /mnt/root
cd /mnt/root
mount -t proc proc proc
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom; do : > dev/$device; mount --bind /dev/$device dev/$device; done
mkdir dev/shm data
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t tmpfs -o mode=1777 tmpfs tmp
mount --bind "$data" data
exec chroot --userspec="$user" . "$@"
"""


class Rooted:
    """Runs the packaged servers and clients in a host, with `data` as their /data."""

    def __init__(self, host: Host, image: Path) -> None:
        self._host = host
        self._image = image
        self.data = host.scratch / "data"
        self.data.mkdir(exist_ok=True)
        self.data.chmod(0o777)

    def words(self, *words: object, user: str = "root") -> list[object]:
        """Return the words that run a command in the root file system."""
        isolate = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", _ENTER, "sh"]
        return [*isolate, self._image, self.data, user, *words]

    def start(self, *words: object, user: str = "root") -> subprocess.Popen[str]:
        """Start a server."""
        return self._host.start(*self.words(*words, user=user))

    def run(self, *words: object, user: str = "root") -> str:
        """Run a client to its end and return what it printed; it has to succeed."""
        done = self._host.run(*self.words(*words, user=user), check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def rooted(network: Network, image: Path) -> dict[str, Rooted]:
    """Return what runs packaged servers and clients, by host."""
    return {name: Rooted(network.hosts[name], image) for name in (*BOTH, "client")}


def start_app(network: Network, name: str, app: str, *options: object) -> subprocess.Popen[str]:
    """Start one of the test's own servers on a host's port 1025; it logs JSON lines for `logged`."""
    child = network.hosts[name].start(sys.executable, APPS / app, "--log", app_log(network, name), *options)
    network.wait_listening(name, 1025)
    return child


def run_client(network: Network, app: str, *options: object, timeout_s: float = 60) -> dict[str, Any]:
    """Run one of the test's own clients to its end and return the JSON object that it printed last."""
    child = network.client.start(sys.executable, APPS / app, *options)
    wait_until(lambda: child.poll() is not None, f"{app} {options} ended", timeout_s)
    assert child.returncode == 0, output(child)
    return json.loads(output(child).splitlines()[-1])


def app_log(network: Network, name: str) -> Path:
    """Return where a host's own server logs."""
    return network.hosts[name].scratch / "app.jsonl"


def logged(network: Network, name: str) -> list[dict[str, Any]]:
    """Return the JSON lines that a host's own server has logged."""
    path = app_log(network, name)
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]


def multiset(records: Iterable[dict[str, Any]], *keys: str) -> Counter[tuple[Any, ...]]:
    """Return the records as a multiset of these keys' values."""
    return Counter(tuple(record[key] for key in keys) for record in records)


def settled(network: Network, sessions: int, timeout_s: float = 30.0) -> dict[str, Any]:
    """Wait until copy has seen `sessions` sessions and mirrors none any more; return its status."""

    def done() -> dict[str, Any]:
        status = network.online.status()
        counts = status.get("sessions", {"seen": -1, "outcomes": {"active": 1}})
        return status if counts["seen"] >= sessions and not counts["outcomes"]["active"] else {}

    try:
        return wait_until(done, f"{sessions} sessions ended", timeout_s)
    except BaseException:
        print(json.dumps(network.online.status(), indent=1))
        raise


def exact(network: Network, sessions: int, timeout_s: float = 30.0) -> dict[str, Any]:
    """Wait for the sessions' end, check that each was mirrored and that all adds up, and return copy's status."""
    status = settled(network, sessions, timeout_s)
    outcomes = {word: count for word, count in status["sessions"]["outcomes"].items() if count}
    mirror = status["mirror"]
    print(
        f"figures: {outcomes} {status['bytes']['delivered']} bytes, turns {mirror['turns_answered']} answered"
        f" {mirror['turns_quiet']} quiet {mirror['turns_held']} held, {mirror['retransmissions']} retransmissions"
    )
    assert outcomes == {"mirrored": sessions}
    assert status["bytes"]["delivered"] == status["bytes"]["accepted"]
    assert status["imbalance"] == []
    assert status["capture"]["drops"] == 0
    assert status["internal_errors"] == 0
    return status


def start_mirror(network: Network, copy: str = COPY) -> None:
    """Start the mirror with what these tests need on a machine whose processors others use as well.

    The daemons run before all else, and the ring is large enough for the seconds in which they do not run all the same.
    """
    network.start_mirror(f"{copy} --ring-size 512")
    for host in (network.online, network.assistant):
        os.setpriority(os.PRIO_PROCESS, host.latest.pid, -15)


def resident_bytes(pid: int) -> int:
    """Return how much memory a process has resident."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def server_root() -> Path:
    """Return where the servers' root file system has to be."""
    where = subprocess.run([ROOT / "scripts/servers-rootfs", "--where"], check=True, capture_output=True, text=True)
    return Path(where.stdout.strip())
