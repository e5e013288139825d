"""A fresh network of four hosts for one measurement, with the services and clients that it needs.

Hosts, bridge and packaged servers are those of tests/netns. Nothing is left of a measurement for the next one: no
connection in TIME-WAIT, no neighbour entry, no session of a mirror that lags behind.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.netns.hosts import ECHO_SERVER, Host, Network, output
from tests.netns.servers import APPS, Rooted, rooted, server_root
from tests.netns.taps import in_namespace
from tests.netns.topologies import set_offloads

from .counters import Counter, NginxCounter, RedisCounter
from .errors import BenchError
from .procstat import Cpu, cpu_of

__all__ = ["ASSISTANT", "ONLINE", "PORT", "TARGET", "Client", "World", "fresh_world", "wait_for"]

PORT = 1025
COUNTER_PORT = 1026
ONLINE, TARGET, ASSISTANT = "192.168.50.10", "192.168.50.101", "192.168.50.102"
BOTH = ("online", "target")
PROGRAMS = Path(__file__).with_name("programs")
MANY_FILES = ("prlimit", "--nofile=20000:20000")

NGINX = f"""
daemon off; user root; worker_processes 1; worker_rlimit_nofile 20000; pid /data/nginx.pid; error_log /data/error.log;
events {{ worker_connections 19000; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600;
  server {{ listen {PORT} backlog=8192; location / {{ return 200 "eighteen octets..\\n"; }} }}
  server {{ listen 127.0.0.1:{COUNTER_PORT}; location / {{ stub_status; }} }}
}}
"""
REDIS = [*f"--port {PORT} --bind 0.0.0.0 --protected-mode no --appendonly no --dir /data --save".split(), ""]


def wait_for(condition: Callable[[], Any], timeout_s: float, interval_s: float = 0.02) -> Any:
    """Poll until `condition` returns something true, or the time is over; return what it returned last."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()) and time.monotonic() < deadline:
        time.sleep(interval_s)
    return value


class Client:
    """A load generator that runs in the client's namespace."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self._child = child
        self.started = time.monotonic()
        self._cpu: Cpu | None = None

    def running(self) -> bool:
        """Whether it still runs; once it does not, its processor time is known."""
        if self._cpu is None:
            pid, status, usage = os.wait4(self._child.pid, os.WNOHANG)
            if pid:
                self._child.returncode = os.waitstatus_to_exitcode(status)
                self._cpu = Cpu(usage.ru_utime, usage.ru_stime)
        return self._cpu is None

    def finish(self, timeout_s: float) -> str:
        """Wait for its end and return what it printed; BenchError if it fails or does not end."""
        if not wait_for(lambda: not self.running(), timeout_s, 0.005):
            self._child.kill()
            raise BenchError(f"the load has not ended after {timeout_s:g} s: {self.output()[-500:]}")
        if self._child.returncode:
            raise BenchError(f"the load failed with status {self._child.returncode}: {self.output()[-500:]}")
        return self.output()

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        self._child.send_signal(number)

    def output(self) -> str:
        """Return what it has printed so far."""
        return output(self._child)

    @property
    def cpu(self) -> Cpu:
        """The processor time that it and its children took; nothing while it runs."""
        return self._cpu or Cpu()


class World:
    """Four hosts, and what runs on them during a measurement."""

    def __init__(self, network: Network, scratch: Path) -> None:
        self.network = network
        self.scratch = scratch
        self._rooted: dict[str, Rooted] = rooted(network, server_root())
        self._services: dict[str, int] = {}
        self._counters: list[Counter] = []

    @property
    def online(self) -> Host:
        """The host with the real service."""
        return self.network.hosts["online"]

    @property
    def assistant(self) -> Host:
        """The host that swallows the target's answers."""
        return self.network.hosts["assistant"]

    @property
    def target(self) -> Host:
        """The host with the test copy of the service."""
        return self.network.hosts["target"]

    @property
    def client_data(self) -> Path:
        """What packaged load generators have as /data."""
        return self._rooted["client"].data

    def prepare(self) -> None:
        """Switch offloads off, let the client open many connections, and have the hosts know each other."""
        for host in self.network.hosts.values():
            set_offloads(host, "ens18", "off")
        for name in self.network.hosts:
            set_offloads(self.network.switch, name, "off")
        self.network.hosts["client"].run("sysctl", "-qw", "net.ipv4.ip_local_port_range=1030 65500")
        for host in self.network.hosts.values():
            host.run("sysctl", "-qw", "net.core.somaxconn=8192", "net.ipv4.tcp_max_syn_backlog=8192")
        self.assistant.run("sysctl", "-qw", "net.ipv4.ip_forward=0")
        greet(self.online, TARGET, ASSISTANT, "192.168.50.200")
        greet(self.target, ASSISTANT)

    def receive_in_threads(self) -> None:
        """Have whatever a host sends received by a kernel thread, as if it arrived at another machine.

        A veth pair otherwise hands a packet over in the sender's context: what switch and receiver do with it is
        charged to whoever sends it. Threads take NAPI, which veth has where GRO is on.
        """
        for name in self.network.hosts:
            set_offloads(self.network.switch, name, "on", ("gro",))
            self.network.switch.run("sh", "-c", f"echo 1 > /sys/class/net/{name}/threaded")

    def close(self) -> None:
        """Close what observes services."""
        for counter in self._counters:
            counter.close()

    # -- services -------------------------------------------------------------------------------------------

    def start_nginx(self) -> dict[str, Counter]:
        """Start nginx on both hosts; return what counts the requests that each has served."""
        for name in BOTH:
            (self._rooted[name].data / "nginx.conf").write_text(NGINX)
            self._serve(name, *self._rooted[name].words("nginx", "-c", "/data/nginx.conf"), port=COUNTER_PORT)
        return self._count(lambda name: NginxCounter(self.network.hosts[name].namespace, COUNTER_PORT))

    def start_redis(self) -> dict[str, Counter]:
        """Start Redis on both hosts; return what counts the SET commands that each has carried out."""
        for name in BOTH:
            self._serve(name, *self._rooted[name].words("redis-server", *REDIS))
        return self._count(lambda name: RedisCounter(self.network.hosts[name].namespace, PORT))

    def start_echo(self) -> None:
        """Start the echo service, which logs bytes and hash of each session, on both hosts."""
        for name in BOTH:
            self._serve(name, sys.executable, ECHO_SERVER, "--port", PORT, "--log", self.log(name))

    def start_sink(self) -> None:
        """Start a service on both hosts that reads to the end and logs bytes and hash."""
        for name in BOTH:
            self._serve(name, sys.executable, APPS / "stream_server.py", "sink", "--log", self.log(name))

    def log(self, name: str) -> Path:
        """Return where a host's echo service or sink logs."""
        return self.network.session_log(name)

    def service_cpu(self, name: str) -> Cpu:
        """Return the processor time that a host's service has used so far."""
        return cpu_of(descendants(self._services[name]))

    def _serve(self, name: str, *words: object, port: int = PORT) -> None:
        child = self.network.hosts[name].start(*MANY_FILES, *words)
        listening = ["ss", "-Hltn", f"sport = {port}"]
        if not wait_for(lambda: self.network.hosts[name].run(*listening).stdout or child.poll() is not None, 20):
            raise BenchError(f"no service on {name} after 20 s: {output(child)}")
        if child.poll() is not None:
            raise BenchError(f"the service on {name} ended: {output(child)}")
        self._services[name] = child.pid

    def _count(self, make: Callable[[str], Counter]) -> dict[str, Counter]:
        counters = {name: make(name) for name in BOTH}
        self._counters += counters.values()
        return counters

    # -- load -----------------------------------------------------------------------------------------------

    def start_packaged(self, *words: object) -> Client:
        """Start a packaged load generator at the client."""
        return self._start(*self._rooted["client"].words(*words))

    def start_program(self, program: str | Path, *options: object) -> Client:
        """Start one of the benchmark's own programs, or another Python program, at the client."""
        return self._start(sys.executable, PROGRAMS / program, *options)

    def _start(self, *words: object) -> Client:
        return Client(self.network.hosts["client"].start(*MANY_FILES, *words))

    def packets_sent_by_client(self) -> int:
        """Return how many packets the client has sent, which is what a mirror at online has to look at."""
        statistics = "/sys/class/net/ens18/statistics/tx_packets"
        return int(self.network.hosts["client"].run("cat", statistics).stdout)


def greet(host: Host, *addresses: str) -> None:
    """Send a datagram to each of the addresses, so that the host knows its neighbours."""

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for address in addresses:
                sock.sendto(b"", (address, 9))

    in_namespace(host.namespace, send)


def descendants(pid: int) -> list[int]:
    """Return the process and all that it and its children have started and that still run."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            found += map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())
    return found


@contextlib.contextmanager
def fresh_world() -> Iterator[World]:
    """Make the four hosts, and remove them whatever happens."""
    with tempfile.TemporaryDirectory(prefix="copytool-bench-") as directory:
        scratch = Path(directory)
        network = Network(scratch)
        world: World | None = None
        try:
            network.create()
            world = World(network, scratch)
            world.prepare()
            yield world
        finally:
            with undisturbed():
                if world:
                    world.close()
                network.delete()


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Have signals that end the benchmark wait: a second Ctrl-C would leave half of a network behind."""
    waiting = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, waiting)
