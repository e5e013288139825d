"""Large uploads and very many connections: what is mirrored, and at what price."""

from __future__ import annotations

import json
import signal
import sys
import time
from typing import Any

import pytest

from .hosts import ECHO_SERVER, SESSION_DRIVER, Network, ip, output, wait_until
from .servers import APPS, BOTH, cpu_seconds, exact, logged, multiset, resident_bytes, settled, start_app, start_mirror

pytestmark = pytest.mark.alone

MANY_FILES = ("prlimit", "--nofile=20000:20000")


@pytest.mark.parametrize(("connections", "each_bytes"), [(1, 1 << 30), (20, 50_000_000)])
def test_upload_at_one_gigabit(bare_network: Network, connections: int, each_bytes: int) -> None:
    """A gigabyte uploaded at 1 Gbit/s arrives whole."""
    limit = ["root", "tbf", "rate", "1gbit", "burst", "256k", "latency", "50ms"]
    bare_network.client.run("tc", "qdisc", "add", "dev", "ens18", *limit)
    upload(bare_network, connections, each_bytes)
    exact(bare_network, connections, 120)
    same(bare_network, connections)


def upload(network: Network, connections: int, each_bytes: int) -> None:
    """Upload to a sink on both hosts; print the rate, and what it cost copy."""
    for name in BOTH:
        start_app(network, name, "stream_server.py", "sink")
    start_mirror(network)
    copy = network.online.latest.pid
    options = ["upload", "--connections", connections, "--bytes", each_bytes]
    client = network.client.start(sys.executable, APPS / "stream_client.py", *options)
    started = time.monotonic()
    buffered = 0
    while client.poll() is None:
        assert time.monotonic() < started + 180, "the client does not end"
        time.sleep(0.5)  # each question takes time from copy, which shares two processors with all the others
        now = network.online.status()["bytes"]
        buffered = max(buffered, now["buffered"] + now["held"])
    settled(network, connections, 60)
    seconds, megabytes = json.loads(output(client))["seconds"], connections * each_bytes / 1e6
    print(
        f"figures: {megabytes / seconds:.0f} MB/s by the client, {megabytes / (time.monotonic() - started):.0f} MB/s"
        f" mirrored, {1000 * cpu_seconds(copy) / megabytes:.1f} ms of copy's CPU a MB, at most {buffered} bytes"
        f" buffered, {resident_bytes(copy)} resident at the end; capture {network.online.status()['capture']}"
    )


def same(network: Network, count: int) -> None:
    """Check that both sinks have read the same."""
    wait_until(lambda: len(logged(network, "target")) >= count, f"the target logged {count} uploads")
    online = multiset(logged(network, "online"), "bytes", "sha256", "end")
    assert online.total() == count
    assert multiset(logged(network, "target"), "bytes", "sha256", "end") == online


def test_ten_thousand_idle_connections(bare_network: Network) -> None:
    """Ten thousand connections that are open at the same time and then each ask once are all mirrored."""
    sources = [f"192.168.50.{number}" for number in range(210, 214)]
    for address in sources:
        ip("-n", bare_network.client.namespace, "address", "add", f"{address}/24", "dev", "ens18")
    for name in BOTH:
        echo: list[Any] = [sys.executable, ECHO_SERVER, "--port", 1025, "--log", bare_network.session_log(name)]
        bare_network.hosts[name].start(*MANY_FILES, *echo)
        bare_network.wait_listening(name, 1025)
    start_mirror(bare_network)
    copy = bare_network.online.latest
    before = resident_bytes(copy.pid)
    driver = [sys.executable, APPS / "idle_client.py", "--connections", 10_000, "--sources", ",".join(sources)]
    client = bare_network.client.start(*MANY_FILES, *driver)
    wait_until(lambda: "open" in output(client), "the client has opened its connections", 60)
    wait_until(lambda: bare_network.online.status()["sessions"]["seen"] == 10_000, "copy has seen them", 60)
    each_bytes = (resident_bytes(copy.pid) - before) / 10_000
    print(f"figures: {each_bytes:.0f} bytes of copy's memory for each idle connection")
    assert each_bytes < 16_000
    client.send_signal(signal.SIGUSR1)
    assert client.wait(60) == 0, output(client)
    exact(bare_network, 10_000, 60)
    bare_network.wait_for_sessions("target", 10_000)
    assert bare_network.multiset("target") == bare_network.multiset("online")


def test_a_pause_of_copy_costs_nothing(network: Network) -> None:
    """While copy does not get the processor for a while, the ring keeps what small packets come meanwhile."""
    network.start_mirror()
    copy = network.online.latest
    load = ["--sessions", 600, "--concurrency", 4, "--max-bytes", 500]
    driver = network.client.start(sys.executable, SESSION_DRIVER, "192.168.50.10", *load)
    network.wait_for_sessions("online", 20)
    copy.send_signal(signal.SIGSTOP)
    try:
        network.wait_for_sessions("online", 100)
    finally:
        copy.send_signal(signal.SIGCONT)
    assert driver.wait(60) == 0, output(driver)
    exact(network, 600, 8)
    network.wait_for_sessions("target", 600)
    assert network.multiset("target") == network.multiset("online")
