"""Metrics of real daemons, scraped over the network as Prometheus does."""

from __future__ import annotations

import sys

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse

from .hosts import Network, output, wait_until

SCRAPE = """
import sys, urllib.request
request = urllib.request.Request(sys.argv[1], headers={"Accept": "application/openmetrics-text; version=1.0.0"})
print(urllib.request.urlopen(request, timeout=10).read().decode(), end="")
"""


def _start(network: Network, name: str, role: str, address: str) -> None:
    host = network.hosts[name]
    words = host.copytool("exporter")[:-2]  # it has no control socket
    child = host.start(*words, "--listen", f"{address}:9524", f"--{role}-socket", host.control_socket)
    wait_until(lambda: "serves metrics" in output(child), "the exporter listens")


def _scrape(network: Network, address: str) -> dict[tuple[str, ...], float]:
    """Return the values by (name, label values…), as seen from the client."""
    done = network.client.run(sys.executable, "-c", SCRAPE, f"http://{address}:9524/metrics")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in parse(done.stdout)
        for sample in family.samples
    }


@pytest.mark.watch(services=(1025, 9524))
def test_metrics_of_a_mirror(network: Network) -> None:
    """They are what the daemons' status says; a daemon that was killed is down, and up when it is back."""
    network.start_mirror()
    copy = network.online.latest
    _start(network, "online", "copy", "192.168.50.10")
    _start(network, "assistant", "intercept", "192.168.50.102")
    assert network.drive("--sessions", 60)["errors"] == []
    network.wait_for_sessions("target", 60)
    wait_until(lambda: network.online.status()["sessions"]["outcomes"]["mirrored"] == 60, "all are mirrored")
    status, samples = network.online.status(), _scrape(network, "192.168.50.10")
    assert samples["copytool_up", "copy"] == 1
    assert samples["copytool_sessions_total", "mirrored"] == 60
    assert samples["copytool_delivered_bytes_total",] == status["bytes"]["delivered"] > 0
    assert samples["copytool_lag_seconds_count",] == status["lag"]["count"] >= 60
    assert samples["copytool_lag_seconds_bucket", "+Inf"] == status["lag"]["count"]
    assert samples["copytool_link_up", "192.168.50.102:36524"] == 1
    answers = _scrape(network, "192.168.50.102")
    assert answers["copytool_up", "intercept"] == answers["copytool_links",] == 1
    assert answers["copytool_response_records_total",] > 60
    copy.kill()
    copy.wait(10)
    assert _scrape(network, "192.168.50.10") == {("copytool_up", "copy"): 0}
    wait_until(lambda: _scrape(network, "192.168.50.102")["copytool_links",] == 0, "intercept has lost the link")
