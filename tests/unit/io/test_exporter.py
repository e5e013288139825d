"""Metrics over HTTP: what the daemons count, under names and types that Prometheus takes."""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse

from copytool.errors import HostError
from copytool.io import control
from copytool.io import exporter as module
from copytool.io.budgets import budgets_status
from copytool.io.exporter import Exporter
from copytool.io.metrics import StatusCollector
from copytool.io.settings import BudgetLimits
from copytool.mirror.counters import EngineCounters

from .answering import Answering

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
CAPTURE = {"packets": 70, "drops": 3, "problems": {}}
LINK = {"peer": "192.168.50.102:36524", "state": "established"}


def copy_status() -> dict[str, Any]:
    """Return a status document of copy, as its counters make it."""
    counters = EngineCounters()
    counters.open_session()
    counters.decline_sessions("sampled_out", 4)
    counters.ignore("sampled_out", 100)
    counters.delivered = 60
    counters.sender.octets = 4400
    counters.undelivered["target_reset"] = 5
    for lag_s in (0.0001, 0.0008, 0.0009, 0.5, 100.0):
        counters.lag.note(lag_s)
    return {
        **counters.to_json(0, 7),
        "role": "copy",
        "feed": {"kind": "own"},
        "steering": {
            "paused": True,
            "ratio_percent": 25.0,
            "ratio_goal_percent": 50.0,
            "admitted_percent": 40.0,
            "copies": 1,
        },
        "budgets": budgets_status(
            BudgetLimits(cpu_percent=50, bandwidth_bits=8_000_000),
            1000,
            {"sessions": 1, "cpu": 12.5, "memory": 1 << 20, "bandwidth": 4_000_000},
            counters.outcomes,
        ),
        "capture": CAPTURE,
        "send": {"errors": {"ENOBUFS": 2}, "unreachable": {"192.168.50.101": "no route"}},
        "link": [LINK, {**LINK, "peer": "192.168.50.103:36524", "state": "closed"}],
        "internal_errors": 1,
        "cpu_s": 1.5,
        "imbalance": [],
    }


INTERCEPT_STATUS = {
    "role": "intercept",
    "responses": {"packets": 50, "records": 40, "no_owner": 2},
    "capture": CAPTURE,
    "link": [LINK],
    "refused_links": 1,
    "certificate": {"subject": "assistant", "not_after": "2030-01-01T00:00:00+00:00", "days_left": 5},
    "internal_errors": 0,
}


FORWARD_STATUS = {
    "role": "forward",
    "forwarded": {"packets": 30, "dropped": {"no_link": 2, "slow_link": 1}, "waiting_bytes": 5, "buffer_bytes": 100},
    "capture": CAPTURE,
    "link": [{"peer": "192.168.50.102:36525", "state": "established"}],
    "cpu_s": 0.5,
    "certificate": None,
    "internal_errors": 0,
}


class Host:
    """Daemons that answer on control sockets, and an exporter that asks them."""

    def __init__(self, directory: Path) -> None:
        self.sockets = {role: directory / f"{role}.sock" for role in ("copy", "intercept")}
        statuses = {"copy": copy_status, "intercept": lambda: INTERCEPT_STATUS}
        self.daemons = Answering(
            {path: {"status": lambda _request, role=role: statuses[role]()} for role, path in self.sockets.items()}
        )
        self.exporter = Exporter("127.0.0.1", 0, self.sockets)
        self._thread = threading.Thread(target=self.exporter.serve)
        self._thread.start()

    def scrape(self, accept: str = OPENMETRICS, path: str = "/metrics") -> str:
        """Return what a scrape gets."""
        url = f"http://127.0.0.1:{self.exporter.port}{path}"
        request = urllib.request.Request(url, headers={"Accept": accept})
        with urllib.request.urlopen(request, timeout=10) as answer:
            text: str = answer.read().decode()
        return text

    def samples(self) -> dict[tuple[str, ...], float]:
        """Return the values by (name, label values…)."""
        families = list(parse(self.scrape()))
        return {
            (sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples
        }

    def close(self) -> None:
        """End everything."""
        self.exporter.stop()
        self._thread.join(10)
        self.exporter.close()
        self.daemons.close()


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    monkeypatch.setattr(module, "_POLL_S", 0.05)
    made = Host(tmp_path)
    yield made
    made.close()


def test_what_is_counted_is_served(host: Host) -> None:
    """Every figure has the value of the status document; OpenMetrics' own parser takes all of it."""
    samples = host.samples()
    for key, value in {
        ("copytool_up", "copy"): 1,
        ("copytool_up", "intercept"): 1,
        ("copytool_active_sessions",): 1,
        ("copytool_sessions_total", "sampled_out"): 4,
        ("copytool_sessions_total", "mirrored"): 0,
        ("copytool_captured_bytes_total", "ignored_sampled_out"): 100,
        ("copytool_delivered_bytes_total",): 60,
        ("copytool_undelivered_bytes_total", "target_reset"): 5,
        ("copytool_buffered_bytes",): 7,
        ("copytool_send_errors_total", "ENOBUFS"): 2,
        ("copytool_ratio",): 0.25,
        ("copytool_admitted_ratio",): 0.4,
        ("copytool_paused",): 1,
        ("copytool_sessions_limit",): 1000,
        ("copytool_cpu_limit_ratio",): 0.5,
        ("copytool_cpu_used_ratio",): 0.125,
        ("copytool_memory_used_bytes",): 1 << 20,
        ("copytool_bandwidth_limit_bytes_per_second",): 1_000_000,
        ("copytool_bandwidth_used_bytes_per_second",): 500_000,
        ("copytool_sent_bytes_total",): 4400,
        ("copytool_unreachable_targets",): 1,
        ("copytool_cpu_seconds_total",): 1.5,
        ("copytool_internal_errors_total", "copy"): 1,
        ("copytool_kernel_dropped_packets_total", "intercept"): 3,
        ("copytool_certificate_expiry_timestamp_seconds", "intercept"): 1893456000,
        ("copytool_link_up", "192.168.50.102:36524"): 1,
        ("copytool_link_up", "192.168.50.103:36524"): 0,
        ("copytool_links",): 1,
        ("copytool_response_records_total",): 40,
        ("copytool_responses_total",): 50,
        ("copytool_ignored_responses_total", "no_owner"): 2,
        ("copytool_refused_links_total",): 1,
    }.items():
        assert samples[key] == value, key
    assert ("copytool_sessions_total", "active") not in samples


def test_histograms_are_cumulative(host: Host) -> None:
    """As Prometheus wants them; what is beyond all bounds is in the last bucket only."""
    samples = host.samples()
    buckets = [samples["copytool_lag_seconds_bucket", bound] for bound in ("5e-05", "0.0002", "0.0016", "0.8192")]
    assert buckets == [0, 1, 3, 4]
    assert samples["copytool_lag_seconds_bucket", "26.2144"] == 4
    assert samples["copytool_lag_seconds_bucket", "+Inf"] == samples["copytool_lag_seconds_count",] == 5
    assert samples["copytool_lag_seconds_sum",] == pytest.approx(100.5018)
    assert samples["copytool_answer_seconds_count",] == 0


def test_older_scrapers_get_the_text_format(host: Host) -> None:
    """Whatever is asked for, there is an answer."""
    assert 'copytool_sessions_total{outcome="sampled_out"} 4.0' in host.scrape("text/plain")


def test_a_daemon_that_is_gone_is_down(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    """The others' figures are there; the reason is logged once, and again when it has changed."""
    caplog.set_level(logging.WARNING)
    host.daemons.servers.pop(host.sockets["copy"]).close()
    for _ in range(3):
        samples = host.samples()
        assert samples["copytool_up", "copy"] == 0
        assert samples["copytool_up", "intercept"] == 1
        assert ("copytool_active_sessions",) not in samples
    assert len(caplog.records) == 1
    host.sockets["copy"].write_text("no socket")
    host.samples()
    assert len(caplog.records) == 2


def test_whoever_does_not_finish_a_request_is_cut_off(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that goes on sending; the next one is answered then."""
    limit_s = module._REQUEST_S
    monkeypatch.setattr(module, "_REQUEST_S", 0.4)
    with socket.create_connection(("127.0.0.1", host.exporter.port)) as slow:
        slow.sendall(b"GET /metrics HTTP/1.0\r\nX-Slow: ")
        begun = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() < begun + 5:
                slow.sendall(b"x")
                time.sleep(0.05)
        assert time.monotonic() < begun + 3
    monkeypatch.setattr(module, "_REQUEST_S", limit_s)
    assert host.samples()["copytool_up", "copy"] == 1


def test_a_daemon_that_hangs_is_down(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others' figures come all the same, and before the scraper loses patience."""
    monkeypatch.setattr(module, "_ANSWER_S", 0.3)
    with socket.socket(socket.AF_UNIX) as hanging:
        path = host.sockets["copy"].with_name("hanging.sock")
        hanging.bind(str(path))
        hanging.listen()
        host.exporter._sockets["copy"] = path
        samples = host.samples()
    assert (samples["copytool_up", "copy"], samples["copytool_up", "intercept"]) == (0, 1)


def test_sums_that_lack_a_worker_are_not_served() -> None:
    """They would look like counters that begin anew; that one is missing is told."""
    status = copy_status()
    workers = [{"worker": 1, "state": "running"}, {"worker": 2, "state": "no answer within 1 s"}]
    names = {family.name for family in StatusCollector(lambda: {"copy": {**status, "workers": workers}}).collect()}
    assert "copytool_running_workers" in names
    assert "copytool_sessions" not in names
    workers[1]["state"] = "running"
    names = {family.name for family in StatusCollector(lambda: {"copy": {**status, "workers": workers}}).collect()}
    assert {"copytool_workers", "copytool_sessions"} <= names


@pytest.mark.parametrize(
    "change",
    [{"lag": 7}, {"bytes": {}}, {"workers": [1]}, {"link": [{"peer": {}, "state": "up"}]}, {"cpu_s": 10**400},
     {"send": None}, {"answer_time": {"count": 0, "sum_s": "", "buckets": {}}}],
)  # fmt: skip
def test_an_answer_that_makes_no_sense_counts_as_down(change: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    """It is said once, and costs the other daemon's figures nothing."""
    collector = StatusCollector(lambda: {"copy": {**copy_status(), **change}, "intercept": INTERCEPT_STATUS})
    for _ in range(2):
        samples = {(s.name, s.labels.get("role")): s.value for family in collector.collect() for s in family.samples}
        assert (samples["copytool_up", "copy"], samples["copytool_up", "intercept"]) == (0, 1)
        assert samples["copytool_captured_packets_total", "intercept"] == CAPTURE["packets"]
    assert caplog.text.count("copy answers what makes no sense here") == 1


def test_labels_are_plain() -> None:
    """What a link says of itself can be written in any encoding."""
    status = {**copy_status(), "link": [{**LINK, "peer": "\ud800\n"}]}
    families = {family.name: family for family in StatusCollector(lambda: {"copy": status}).collect()}
    assert [sample.labels for sample in families["copytool_link_up"].samples] == [{"intercept": "??"}]


def test_default_sockets_are_missed_when_they_are_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that ends in order takes its socket away: it is down all the same."""
    monkeypatch.setattr(control, "default_control_socket", lambda role: tmp_path / role)
    exporter = Exporter("127.0.0.1", 0)
    assert exporter._ask() == {}
    (tmp_path / "copy").write_text("")
    assert exporter._ask() == {"copy": None}
    (tmp_path / "copy").unlink()
    assert exporter._ask() == {"copy": None}
    exporter.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_by_a_signal(number: signal.Signals, tmp_path: Path) -> None:
    """With status 0, also in the middle of a scrape."""
    with socket.socket(socket.AF_UNIX) as hanging:
        hanging.bind(str(tmp_path / "hanging.sock"))
        hanging.listen()
        words = ["exporter", "--listen", "127.0.0.1:0", "--copy-socket", str(tmp_path / "hanging.sock")]
        with subprocess.Popen([sys.executable, "-m", "copytool", *words], stderr=subprocess.PIPE, text=True) as child:
            assert child.stderr is not None
            port = int(child.stderr.readline().split()[-1])
            with socket.create_connection(("127.0.0.1", port)) as scrape:
                scrape.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
                hanging.accept()[0].close()
                child.send_signal(number)
                _, said = child.communicate(timeout=20)
    assert child.returncode == 0
    assert "Traceback" not in said
    assert said.endswith("exporter stopped\n")


def test_garbage_costs_itself_only(host: Host) -> None:
    """Nor do clients that only look."""
    for garbage in (b"\0" * 1000, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"", b"A" * 70_000):
        with socket.create_connection(("127.0.0.1", host.exporter.port)) as sock:
            sock.sendall(garbage)
    assert host.samples()["copytool_up", "copy"] == 1


def test_an_address_that_cannot_be_listened_on() -> None:
    """It is named."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            HostError, match=rf"cannot listen on 127.0.0.1 port {port} \(--listen\): Address already in use"
        ):
            Exporter("127.0.0.1", port, {})


def test_ipv6() -> None:
    """An IPv6 address is one, too."""
    exporter = Exporter("::1", 0, {})
    exporter.close()


def test_daemons_do_not_load_it() -> None:
    """Prometheus' client stays out of the processes that carry packets."""
    code = "import sys, copytool.cli.main, copytool.io.copy_daemon, copytool.io.intercept_daemon; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "copytool.io.copy_daemon" in loaded
    assert not [name for name in loaded if name.startswith(("prometheus_client", "wsgiref", "http.server"))]
