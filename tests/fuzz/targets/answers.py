"""What a daemon answers, read by commands for people and by the exporter."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any
from unittest import mock

from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest

from copytool.cli import control as commands
from copytool.cli import watch
from copytool.cli.status import as_lines, format_sessions, format_status
from copytool.errors import HostError
from copytool.io import control
from copytool.io.metrics import StatusCollector
from copytool.io.session_log import SessionLog
from copytool.mirror.counters import EngineCounters

from ..documents import mutate_document
from ..target import Target
from .control import ended_session

__all__ = ["TARGETS"]

_PATH = Path("control.sock")


def _ask(answer: bytes, command: str) -> dict[str, Any]:
    """Have ask_daemon() read an answer from a socket."""
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.setblocking(False)
        theirs.send(answer)
    made = mock.MagicMock()
    made.__enter__.return_value = mock.Mock(wraps=ours, connect=lambda _path: None, sendall=lambda _octets: None)
    with ours, mock.patch.object(control.socket, "socket", return_value=made):
        return control.ask_daemon(_PATH, command)


class _Answer:
    """ask_daemon(), and everything that is made of a status."""

    def __init__(self) -> None:
        self._before = _copy_status(), _intercept_status()
        self._figures = watch.Figures(_PATH)
        self._now = time.monotonic()

    def __call__(self, data: bytes) -> Hashable:
        if len(data) > 100_000:
            return None
        try:
            document = _ask(data, "status")
        except HostError as error:
            assert str(error).isprintable()
            return str(error)[:40]
        made = [self._lines(format_status, document), self._lines(format_sessions, document)]
        made.append(self._lines(commands._steering_lines, document))
        made.append(self._lines(commands._what_is_open, document))
        for before in self._before:
            made.append(self._lines(watch.format_view, document, before, 1.0))
        self._watch(document)
        return (*made, self._metrics(document))

    @staticmethod
    def _lines(form: Callable[..., list[str]], *documents: Any) -> str:
        """Lines that steer no terminal, and no more of them than the document has room for; or HostError."""
        try:
            lines = as_lines(form, *documents)
        except HostError as error:
            assert str(error).isprintable() and len(str(error)) < 400
            return str(error)[:50]
        assert all(line.isprintable() and len(line) <= 2000 for line in lines)
        return "lines"

    def _watch(self, document: dict[str, Any]) -> None:
        self._now += 1.0
        with mock.patch.object(watch, "ask_daemon", return_value=document):
            assert all(line.isprintable() for line in self._figures.lines(self._now))

    @staticmethod
    def _metrics(document: dict[str, Any]) -> tuple[bool, ...]:
        """All that is not a copytool's status counts as down, and spoils no other daemon's figures."""
        asked = {"copy": document, "intercept": document}
        registry = CollectorRegistry(auto_describe=False)
        registry.register(StatusCollector(lambda: asked))
        text = generate_latest(registry).decode()
        up = tuple(f'copytool_up{{role="{role}"}} 1.0' in text for role in asked)
        assert all(f'copytool_up{{role="{role}"}}' in text for role in asked)
        return up

    def finish(self) -> None:
        """Nothing is left of it."""


def _copy_status() -> dict[str, Any]:
    counters = EngineCounters()
    counters.open_session()
    counters.decline_sessions("sampled_out", 4)
    counters.delivered = 60
    counters.undelivered["target_reset"] = 5
    counters.lag.note(0.001)
    worker = {
        "worker": 1,
        "pid": 7,
        "restarts": 0,
        "state": "running",
        "sessions": 1,
        "packets": 3,
        "drops": 0,
        "cpu_s": 1.5,
    }
    return {
        "role": "copy", "version": "0.1.0", "flavour": "compiled", "dry_run": False,
        "steering": {"paused": False, "ratio_percent": 25.0, "ratio_goal_percent": 50.0, "copies": 2},
        **counters.to_json(0, 7),
        "capture": {"packets": 70, "drops": 3, "problems": {"eth0": "Network is down"}},
        "send": {"errors": {"ENOBUFS": 2}, "unreachable": {"192.168.50.101": "no route"}},
        "link": [{"peer": "192.168.50.102:36524", "state": "established", "reason": "", "connects": 1,
        "version": "0.1.0"}],
        "internal_errors": 1, "cpu_s": 1.5, "imbalance": ["1 != 2"], "workers": [worker, {**worker,
        "state": "no answer"}],
    }  # fmt: skip


def _intercept_status() -> dict[str, Any]:
    link = {
        "peer": "192.168.50.10:1",
        "state": "established",
        "version": "0.1.0",
        "client_networks": ["192.168.60.0/24"],
    }
    return {
        "role": "intercept", "version": "0.1.0", "flavour": "pure", "capture": {"packets": 70, "drops": 3,
        "problems": {}},
        "responses": {"packets": 50, "records": 40, "no_owner": 2}, "link": [link], "refused_links": 1,
        "no_descriptor_left": 1, "internal_errors": 0,
    }  # fmt: skip


def _seeds() -> list[bytes]:
    log = SessionLog()
    log.add(ended_session())
    workers_apart = {key: value for key, value in _copy_status().items() if key != "workers"}
    steering = {"paused": False, "ratio_percent": 5.0, "ratio_goal_percent": 5.0, "copies": 1}
    documents = [
        _copy_status(),
        workers_apart,
        _intercept_status(),
        {**log.answer({}), "silent_workers": [2]},
        steering,
    ]
    return [json.dumps(document).encode() + b"\n" for document in [*documents, {"error": "no"}]]


TARGETS = (
    Target(
        "answer",
        "lines that steer no terminal and metrics that can be scraped, or HostError",
        _Answer,
        _seeds,
        mutate_document,
    ),
)
