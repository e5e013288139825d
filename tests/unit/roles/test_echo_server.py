"""The echo service and the session driver, run for real against each other on loopback."""

from __future__ import annotations

import hashlib
import json
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.loading import ROLES

SERVER = ROLES / "echo_server" / "files" / "echo_server.py"
DRIVER = ROLES / "mirror_check" / "files" / "sessions.py"


def wait_until(predicate: Callable[[], object], what: str) -> None:
    """Poll until something holds."""
    deadline = time.monotonic() + 10
    while not predicate():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


class Echo:
    """A running echo service."""

    def __init__(self, directory: Path, *options: str, address: str = "127.0.0.1", ports: Sequence[int] = ()) -> None:
        self.log = directory / "sessions.jsonl"
        ports = ports or [free_port()]
        self.port = ports[0]
        notify = directory / "notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            ready.bind(str(notify))
            ready.settimeout(10)
            command = [sys.executable, str(SERVER), f"--bind={address}", f"--log={self.log}"]
            command += [f"--port={port}" for port in ports]
            self.process = subprocess.Popen([*command, *options], env={"NOTIFY_SOCKET": str(notify)})
            assert ready.recv(100) == b"READY=1"

    def entries(self) -> list[dict[str, Any]]:
        """The logged sessions."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def wait_for(self, count: int) -> list[dict[str, Any]]:
        """The logged sessions, when there are as many."""
        wait_until(lambda: len(self.entries()) >= count, f"{count} sessions are logged")
        return self.entries()

    def connect(self) -> socket.socket:
        """A connection to it."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def stop(self) -> int:
        """Ask it to end; returns its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)


@pytest.fixture
def echo(tmp_path: Path) -> Iterator[Echo]:
    service = Echo(tmp_path)
    yield service
    assert service.stop() == 0


def free_port() -> int:
    """A port that nobody uses on any loopback address."""
    with socket.create_server(("", 0)) as probe:
        return int(probe.getsockname()[1])


def drive(
    echo: Echo, *options: str, hosts: Sequence[str] = ("127.0.0.1",), ports: Sequence[int] = ()
) -> dict[str, Any]:
    """What the session driver said."""
    command = [sys.executable, str(DRIVER), *hosts, *options]
    command += [f"--port={port}" for port in ports or [echo.port]]
    result: dict[str, Any] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=False).stdout)
    return result


def test_log_has_what_the_driver_sent(echo: Echo) -> None:
    result = drive(echo, "--sessions=1000", "--concurrency=1000", "--turns=3", "--max-bytes=2000")
    assert result["errors"] == []
    logged = sorted([entry["bytes"], entry["sha256"]] for entry in echo.wait_for(1000))
    assert logged == result["multiset"]
    assert {(entry["peer"], entry["local_port"], entry["end"]) for entry in echo.entries()} == {
        ("127.0.0.1", echo.port, "eof")
    }


def test_sessions_go_to_all_services_in_turn(tmp_path: Path) -> None:
    """Two hosts with two ports are four services; the one process on each host serves both."""
    ports = [free_port(), free_port()]
    services = []
    for address in ("127.0.0.1", "127.0.0.2"):
        (tmp_path / address).mkdir()
        services.append(Echo(tmp_path / address, address=address, ports=ports))
    result = drive(services[0], "--sessions=22", "--turns=2", hosts=["127.0.0.1", "127.0.0.2"], ports=ports)
    entries = [service.wait_for(count) for service, count in zip(services, (12, 10), strict=True)]
    assert [service.stop() for service in services] == [0, 0]
    assert result["errors"] == []
    assert [Counter(entry["local_port"] for entry in own) for own in entries] == [
        {ports[0]: 6, ports[1]: 6},
        {ports[0]: 5, ports[1]: 5},
    ]
    assert sorted([entry["bytes"], entry["sha256"]] for own in entries for entry in own) == result["multiset"]


def test_turns_larger_than_any_buffer(echo: Echo) -> None:
    result = drive(echo, "--sessions=2", "--turns=2", "--max-bytes=8000000")
    assert result["errors"] == []
    assert result["bytes"] == sum(entry["bytes"] for entry in echo.wait_for(2))


def test_same_seed_sends_the_same_from_the_same_ports(tmp_path: Path, echo: Echo) -> None:
    options = ("--sessions=20", "--seed=x", "--turns=3")
    first = drive(echo, *options)
    assert drive(echo, *options)["multiset"] == first["multiset"]
    assert drive(echo, "--sessions=20", "--seed=y", "--turns=3")["multiset"] != first["multiset"]
    base = first_of_free_ports(10)
    drive(echo, "--sessions=10", f"--source-port-base={base}")
    ports = sorted(entry["peer_port"] for entry in echo.wait_for(70)[60:])
    assert ports == list(range(base, base + 10))


def first_of_free_ports(count: int) -> int:
    """The first of some consecutive ports below the ephemeral ones that nobody uses."""
    for base in range(21000, 30000, count):
        try:
            for port in range(base, base + count):
                socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return base
    raise AssertionError("no free ports")


def test_reset_session_is_logged_as_reset(echo: Echo) -> None:
    connection = echo.connect()
    connection.sendall(b"hello")
    assert connection.recv(100) == b"hello"
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    (entry,) = echo.wait_for(1)
    assert (entry["bytes"], entry["end"]) == (5, "reset")
    assert entry["sha256"] == hashlib.sha256(b"hello").hexdigest()


def test_open_sessions_are_logged_at_shutdown(tmp_path: Path) -> None:
    echo = Echo(tmp_path)
    with echo.connect() as connection:
        connection.sendall(b"hello")
        assert connection.recv(100) == b"hello"
        assert echo.stop() == 0
        (entry,) = echo.entries()
    assert (entry["bytes"], entry["end"]) == (5, "shutdown")


def test_large_log_is_set_aside_once(tmp_path: Path) -> None:
    echo = Echo(tmp_path, "--log-max-bytes=1000")
    try:
        drive(echo, "--sessions=5", "--concurrency=1")
        wait_until(lambda: (tmp_path / "sessions.jsonl.1").exists(), "the log is set aside")
        wait_until(lambda: len(echo.entries()) + 4 >= 5, "the last line is written")
    finally:
        echo.stop()
    old = (tmp_path / "sessions.jsonl.1").read_text().splitlines()
    assert len(old) + len(echo.entries()) == 5
    assert echo.log.stat().st_size <= 1000


def test_driver_names_sessions_that_fail(tmp_path: Path) -> None:
    echo = Echo(tmp_path)
    echo.stop()
    result = drive(echo, "--sessions=2")
    assert result["completed"] == 0
    assert sorted(error.split(":")[0] for error in result["errors"]) == ["session 0", "session 1"]


def test_driver_finds_an_echo_that_differs(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as liar:
        port = liar.getsockname()[1]
        command = [sys.executable, str(DRIVER), "127.0.0.1", f"--port={port}", "--sessions=1", "--turns=1"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        connection, _ = liar.accept()
        with connection:
            data = connection.recv(100_000)
            connection.sendall(bytes(255 - byte for byte in data))
            out, _ = process.communicate(timeout=10)
    assert process.returncode == 1
    assert "echo differs" in json.loads(out)["errors"][0]
