"""`copytool status --sessions`: the table, its JSON, and what is said when there is no list."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from copytool.cli.main import main
from copytool.cli.status import format_sessions
from copytool.io.control import ControlServer
from copytool.io.loop import EventLoop
from copytool.io.session_log import SessionLog
from copytool.mirror.events import SessionEnded
from copytool.wire.flow import flow_key

Serve = Callable[[dict[str, Any]], Path]


def _log(*sessions: tuple[str, str, str, int, str, str]) -> SessionLog:
    log = SessionLog()
    for client, mirror, target, size, outcome, reason in sessions:
        packed = [ip_address(text).packed for text in (client, mirror, target)]
        log.add(
            SessionEnded(
                flow=flow_key(packed[0], 50123, packed[2], 1025),
                mirror_flow=flow_key(packed[1], 50123, packed[2], 1025),
                outcome=outcome,
                reason=reason,
                turns=4,
                client_bytes=size,
                delivered_bytes=size,
                undelivered_bytes=0,
                response_bytes=size,
                duration_s=0.0521,
            )
        )
    return log


LOG = _log(
    ("192.168.50.200", "192.168.60.1", "192.168.50.101", 1_234_567, "mirrored", ""),
    (
        "2001:db8:1111:2222:3333:4444:5555:6666",
        "fd60::1",
        "fd50::101",
        5,
        "target_reset",
        "RST after 7 response octets",
    ),
)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start a daemon's control socket with these commands; returns where it listens."""
    loop = EventLoop()
    stop, stopped = socket.socketpair()
    loop.watch(stopped, 1, lambda _events: loop.stop())
    thread = threading.Thread(target=loop.run)
    servers = []

    def start(commands: dict[str, Any]) -> Path:
        servers.append(ControlServer(loop, tmp_path / "control.sock", commands))
        thread.start()
        return tmp_path / "control.sock"

    yield start
    stop.send(b"x")
    thread.join(10)
    for server in servers:
        server.close()
    loop.close()
    stop.close()
    stopped.close()


def test_table() -> None:
    """Columns stand under their headers whatever the addresses' length, newest last, and no line ends in spaces."""
    header, first, second, summary = format_sessions(LOG.answer({}))
    titles = "ended seconds client mirror target turns delivered undelivered response outcome reason"
    assert " ".join(header.split()) == titles
    cells = "0.052 192.168.50.200:50123 192.168.60.1:50123 192.168.50.101:1025 4 1,234,567 0 1,234,567 mirrored"
    assert " ".join(first.split()[2:]) == cells
    assert second.endswith("target_reset  RST after 7 response octets")
    assert "[2001:db8:1111:2222:3333:4444:5555:6666]:50123" in second
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  ", first)
    for title in ("client", "mirror", "target ", "outcome"):
        at = header.index(title)
        assert all(line[at - 1] == " " != line[at] for line in (first, second))
    for title in ("seconds", "turns", "delivered", "undelivered", "response"):
        end = header.index(f" {title} ") + len(title) + 1
        assert all(line[end] == " " != line[end - 1] for line in (first, second))
    assert summary == "2 of 2 sessions that ended; local time, sizes in bytes"
    assert first == first.rstrip()


def test_empty_table() -> None:
    """Before the first session ends there are the headers, and the sum."""
    lines = format_sessions(_log().answer({}))
    assert len(lines) == 2
    assert lines[1].startswith("0 of 0 sessions")


def test_sessions_of_a_daemon(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    """The list comes as a table, in part if a number is given, and as the daemon's own document with --json."""
    ask = ["status", "--control-socket", str(serve({"sessions": LOG.answer}))]
    assert main([*ask, "--sessions"]) == 0
    assert capsys.readouterr().out.splitlines() == format_sessions(LOG.answer({}))
    assert main([*ask, "copy", "--sessions", "1"]) == 0
    assert capsys.readouterr().out.splitlines() == format_sessions(LOG.answer({"count": 1}))
    assert main([*ask, "--json", "--sessions"]) == 0
    assert json.loads(capsys.readouterr().out) == LOG.answer({})


def test_the_status_document_stays(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    """--json prints what the daemon's status function returns, and nothing else."""
    document = {"role": "copy", "sessions": {"seen": 3}}
    path = serve({"status": lambda _request: document})
    assert main(["status", "--json", "--control-socket", str(path)]) == 0
    assert json.loads(capsys.readouterr().out) == document


def test_daemon_without_sessions(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    """What a daemon does not know is one line on stderr, with the host status."""
    path = serve({"status": lambda _request: {}})
    assert main(["status", "--sessions", "--control-socket", str(path)]) == 3
    error = f"copytool: sessions refused by {path}: unknown command 'sessions'; known here: status\n"
    assert capsys.readouterr().err == error


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--sessions", "0"], "--sessions: '0' is not a whole number in 1..1000"),
        (["--sessions", "many"], "--sessions: 'many' is not a whole number in 1..1000"),
        (["--sessions", "copy"], "put it first: copytool status copy --sessions"),
    ],
)
def test_wrong_counts(arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A count that cannot be is named; a daemon's name in its place is understood."""
    assert main(["status", *arguments]) == 2
    assert reason in capsys.readouterr().err
