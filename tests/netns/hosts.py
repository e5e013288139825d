"""Four hosts as bare network namespaces with a real kernel, for what needs no systemd and no Ansible.

Names carry this process's id, and every child is killed by its own pid, so nothing of anybody else is touched.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from copytool.flavour import flavour

ROOT = Path(__file__).parents[2]
COPYTOOL = [sys.executable, "-P", "-m", "copytool"]  # -P: the flavour that PYTHONPATH gives, not the sources
ECHO_SERVER = ROOT / "roles/echo_server/files/echo_server.py"
SESSION_DRIVER = ROOT / "roles/mirror_check/files/sessions.py"

# The tests' own programs import what stands beside them.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}

ADDRESSES = {"online": 10, "target": 101, "assistant": 102, "client": 200}
COPY = "copy -x 1025-192.168.50.101:1025 -s 192.168.50.102 -c 192.168.60.x"
INTERCEPT = "intercept -i ens18 -F|tcp and src port 1025"


def wait_until(predicate: Callable[[], Any], what: str, timeout_s: float = 15.0) -> Any:
    """Poll until `predicate` returns something true, and return it; fail with its last value."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"not within {timeout_s:g} s: {what}; last: {value!r}")
        time.sleep(0.02)


def libfaketime() -> Path:
    """Return the library that gives a program another time of day."""
    found = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    assert found is not None, "libfaketime is missing; scripts/setup installs it"
    return found


class Host:
    """One namespace: runs commands in it and remembers what it started."""

    def __init__(self, namespace: str, scratch: Path) -> None:
        self.namespace = namespace
        self.scratch = scratch
        self._children: list[subprocess.Popen[str]] = []

    def command(self, *words: object) -> list[str]:
        """Return the argument list that runs `words` in this host."""
        return ["ip", "netns", "exec", self.namespace, *map(str, words)]

    def run(self, *words: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            self.command(*words), check=check, capture_output=True, text=True, timeout=120, cwd=ROOT, env=ENVIRONMENT
        )

    def start(self, *words: object, stdin: bool = False) -> subprocess.Popen[str]:
        """Start a command; its output goes to a file that `output` reads. stdin: have a pipe to it."""
        log = (self.scratch / f"{len(self._children)}.log").open("w+")
        child = subprocess.Popen(
            self.command(*words),
            stdin=subprocess.PIPE if stdin else None,
            stdout=log,
            stderr=log,
            text=True,
            cwd=ROOT,
            env=ENVIRONMENT,
        )
        child.log = log  # type: ignore[attr-defined]
        self._children.append(child)
        return child

    def copytool(self, line: str) -> list[str]:
        """Return the words of a copytool command, with this host's own control socket; `|` protects spaces."""
        words = line.split("|")
        words = [*words[0].split(), *words[1:]]
        commands = ("copy", "intercept", "forward", "check")
        if (
            words[0] in commands
            and words[:2] != ["check", "target"]
            and not any(word.startswith(("--tls", "--config")) for word in words)
        ):
            words.append("--plain")
        return [*COPYTOOL, *words, "--control-socket", str(self.control_socket)]

    @property
    def latest(self) -> subprocess.Popen[str]:
        """What was started last."""
        return self._children[-1]

    @property
    def control_socket(self) -> Path:
        """Where this host's daemon answers."""
        return self.scratch / "control.sock"

    def status(self) -> dict[str, Any]:
        """Return the daemon's status document; empty while it does not answer."""
        words = [*COPYTOOL, "status", "--json", "--control-socket", self.control_socket]
        answer = self.run(*words, check=False)
        return json.loads(answer.stdout) if answer.returncode == 0 else {}

    def stop_all(self) -> None:
        """Kill what is left of what was started here."""
        for child in self._children:
            if child.poll() is None:
                child.kill()
            child.wait(10)
            child.log.close()  # type: ignore[attr-defined]
        self._children.clear()


def output(child: subprocess.Popen[str]) -> str:
    """Return what a started command has printed so far."""
    return Path(child.log.name).read_text()  # type: ignore[attr-defined]


class Network:
    """The four hosts and what tests do with them."""

    def __init__(self, scratch: Path) -> None:
        self._prefix = f"ctt{os.getpid()}-"
        self._scratch = scratch
        self.hosts: dict[str, Host] = {}
        self._numbers: dict[str, int] = {}
        self.switch = Host(f"{self._prefix}switch", scratch / "switch")
        self.watch: Any = None
        self._copy_host: Host | None = None
        self.on_new_interface: Callable[[str], None] = lambda name: None

    def __getattr__(self, name: str) -> Host:
        try:
            return self.__dict__["hosts"][name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def copy_host(self) -> Host:
        """Where copy runs: online, unless copy_on_assistant() was called."""
        return self._copy_host or self.hosts["online"]

    def copy_on_assistant(self) -> Host:
        """Have copy run on the assistant; return that host, with a control socket beside intercept's."""
        scratch = self._scratch / "copy"
        scratch.mkdir()
        self._copy_host = Host(self.hosts["assistant"].namespace, scratch)
        return self._copy_host

    def create(self) -> None:
        """Make namespaces, a bridge, addresses, and the target's route for the client network."""
        switch = self.switch.namespace
        self.switch.scratch.mkdir()
        ip("netns", "add", switch)
        ip("-n", switch, "link", "add", "br0", "type", "bridge")
        ip("-n", switch, "link", "set", "br0", "up")
        for name, number in ADDRESSES.items():
            self.add_host(name, number)
        target = self.hosts["target"].namespace
        ip("-n", target, "route", "add", "192.168.60.0/24", "via", "192.168.50.102", "src", "192.168.50.101")
        ip("-n", target, "-6", "route", "add", "fd60::/64", "via", "fd50::102", "src", "fd50::101")

    def add_host(self, name: str, number: int) -> Host:
        """Make a host whose addresses end in `number`."""
        namespace, scratch = self._prefix + name, self._scratch / name
        scratch.mkdir()
        ip("netns", "add", namespace)
        host = self.hosts[name] = Host(namespace, scratch)
        self._numbers[name] = number
        ip("-n", namespace, "link", "set", "lo", "up")
        self.add_interface(name)
        return host

    def add_interface(self, name: str) -> None:
        """Give a host its interface ens18, with addresses, on the bridge."""
        switch, namespace, number = self.switch.namespace, self._prefix + name, self._numbers[name]
        ip("-n", switch, "link", "add", name, "type", "veth", "peer", "name", "ens18", "netns", namespace)
        self.on_new_interface(name)
        ip("-n", switch, "link", "set", name, "master", "br0", "up")
        ip("-n", namespace, "address", "add", f"192.168.50.{number}/24", "dev", "ens18")
        ip("-n", namespace, "address", "add", f"fd50::{number}/64", "dev", "ens18", "nodad")
        ip("-n", namespace, "link", "set", "ens18", "up")

    def remove_interface(self, name: str) -> None:
        """Take a host's interface away."""
        ip("-n", self._prefix + name, "link", "delete", "ens18")

    def delete(self) -> None:
        """Stop everything and remove the namespaces; also after a failure half-way through create()."""
        self.stop()
        for name in {*ADDRESSES, *self.hosts, "switch"}:
            subprocess.run(["ip", "netns", "delete", self._prefix + name], check=False, capture_output=True)

    def stop(self) -> None:
        """Kill everything that was started on a host."""
        for host in (*self.hosts.values(), self.switch, self.copy_host):
            host.stop_all()

    def start_services(self) -> None:
        """Start the echo service on online and target."""
        for name in ("online", "target"):
            self.hosts[name].start(sys.executable, ECHO_SERVER, "--port", 1025, "--log", self.session_log(name))
        for name in ("online", "target"):
            self.wait_listening(name, 1025)

    def wait_listening(self, name: str, port: int) -> None:
        """Wait until something listens on a TCP port of a host."""
        listening = ["ss", "-Hltn", f"sport = {port}"]
        wait_until(lambda: self.hosts[name].run(*listening).stdout, f"{name} listens on {port}")

    def session_log(self, name: str) -> Path:
        """Return the echo service's log on a host."""
        return self._scratch / f"{name}.jsonl"

    def sessions_of(self, name: str) -> list[dict[str, Any]]:
        """Return the sessions that a host's echo service has logged."""
        with contextlib.suppress(FileNotFoundError):
            return [json.loads(line) for line in self.session_log(name).read_text().splitlines()]
        return []

    def multiset(self, name: str) -> Counter[tuple[int, str]]:
        """Return the sessions at a host as a multiset of (bytes, SHA-256)."""
        return Counter((session["bytes"], session["sha256"]) for session in self.sessions_of(name))

    def start_mirror(self, copy: str = COPY, intercept: str = INTERCEPT) -> None:
        """Start intercept, then copy, and wait for the link."""
        self.assistant.start(*self.assistant.copytool(intercept))
        self.wait_listening("assistant", 36524)
        self.copy_host.start(*self.copy_host.copytool(copy))
        self.wait_for_link()

    def wait_for_link(self) -> None:
        """Wait until copy says that the link is established and its target can be reached."""

        def ready() -> bool:
            status = self.copy_host.status()
            assert not status or status["flavour"] == flavour(), "copy is not the flavour that is tested"
            return bool(status) and status["link"][0]["state"] == "established" and not status["send"]["unreachable"]

        wait_until(ready, "the link is established")

    def drive(self, *options: object, address: str = "192.168.50.10") -> dict[str, Any]:
        """Run client sessions to their end and return the driver's report."""
        done = self.client.run(sys.executable, SESSION_DRIVER, address, *options, check=False)
        return json.loads(done.stdout)

    def wait_for_sessions(self, name: str, count: int) -> None:
        """Wait until a host's echo service has logged `count` sessions."""
        wait_until(lambda: len(self.sessions_of(name)) >= count, f"{name} logged {count} sessions")


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
