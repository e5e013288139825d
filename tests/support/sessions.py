"""Drives test sessions from the client host, and reads what the services logged."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from testinfra.host import Host

from .topology import REPOSITORY, Topology
from .waiting import PATIENCE

__all__ = ["DRIVER", "Driven", "Driving", "Entries", "Multiset", "SessionLog", "multiset", "start_driver"]

DRIVER = REPOSITORY / "roles" / "mirror_check" / "files" / "sessions.py"
LOG = "/var/log/echo_server/sessions.jsonl"

Multiset = Counter[tuple[int, str]]
Entries = list[dict[str, Any]]
"""Lines of a service's session log."""


def multiset(entries: Iterable[dict[str, Any]]) -> Multiset:
    """The sessions as a multiset of (bytes, SHA-256)."""
    return Counter((entry["bytes"], entry["sha256"]) for entry in entries)


@dataclass(frozen=True, slots=True)
class Driven:
    """How a run of test sessions went, as the client saw it."""

    sessions: int
    errors: list[str]
    sent: Multiset
    seconds: float


class Driving:
    """A run of test sessions that is under way."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def running(self) -> bool:
        """Whether sessions are still being driven."""
        return self._process.poll() is None

    def result(self, timeout_s: float = 180) -> Driven:
        """Wait for the end of the run."""
        try:
            out, err = self._process.communicate(timeout=timeout_s * PATIENCE)
        except subprocess.TimeoutExpired:
            self.abandon()
            raise
        assert out.startswith("{"), f"the session driver said: {err or out}"
        values: dict[str, Any] = json.loads(out)
        sent = Counter((size, digest) for size, digest in values["multiset"])
        return Driven(values["sessions"], values["errors"], sent, values["seconds"])

    def abandon(self) -> None:
        """End the run at once."""
        self._process.kill()
        self._process.communicate()


def start_driver(topology: Topology, **options: object) -> Driving:
    """Start driving sessions at all online services in turn; options are the driver's, with underscores."""
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    flags += [f"--port={port}" for port in topology.service_ports]
    command = ["python3", "-", *(topology.addresses[name] for name in topology.names["online"]), *flags]
    # The client host needs nothing installed: the program goes in by standard input.
    with DRIVER.open() as program:
        process = subprocess.Popen(
            ["ssh", "-F", str(topology.ssh_config), topology.names["client"][0], shlex.join(command)],
            stdin=program,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    return Driving(process)


class SessionLog:
    """What echo services on these ports of a host logged since this object was made."""

    def __init__(self, host: Host, ports: list[int]) -> None:
        self._host = host
        self._ports = ports
        self._start = int(host.check_output("stat -c %%s %s", LOG))

    def entries(self) -> Entries:
        """The log's lines."""
        lines = self._host.check_output("tail -c +%s %s", str(self._start + 1), LOG).splitlines()
        return [entry for entry in map(json.loads, lines) if entry["local_port"] in self._ports]
