"""nginx at both hosts: HTTP/1.1 and cleartext HTTP/2."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from typing import Any

import pytest

from .hosts import Network, wait_until
from .servers import BOTH, Rooted, exact, run_client, start_mirror

CONFIGURATION = """
daemon off; user root; worker_processes 1; pid /data/nginx.pid; error_log /data/error.log;
include /etc/nginx/modules-enabled/*.conf;
events { worker_connections 2048; }
http {
  log_format all '$request_method $uri $status $request_length $request_body_file';
  access_log /data/access.log all;
  client_max_body_size 0; keepalive_requests 100000; http2_max_requests 100000;
  server {
    listen 1025 HTTP2 backlog=1024;
    location /page { return 200 "the page $uri, which is not long\\n"; }
    location /body { client_body_in_file_only on; client_body_temp_path /data/bodies; echo_read_request_body; echo ok; }
    location /files { root /data; }
  }
}
"""


def start_nginx(network: Network, packaged: dict[str, Rooted], http2: str = "") -> None:
    """Start nginx on both hosts, then the mirror."""
    for name in BOTH:
        (packaged[name].data / "nginx.conf").write_text(CONFIGURATION.replace("HTTP2", http2))
        packaged[name].start("nginx", "-c", "/data/nginx.conf")
    for name in BOTH:
        network.wait_listening(name, 1025)
    start_mirror(network)


def requests_at(host: Rooted) -> Counter[tuple[str, ...]]:
    """Return what nginx has served: method, URI, status, length of the request, hash of its body."""
    served: Counter[tuple[str, ...]] = Counter()
    for line in (host.data / "access.log").read_text().splitlines():
        *fields, body = line.split(" ")
        digest = (
            hashlib.sha256((host.data / body.removeprefix("/data/")).read_bytes()).hexdigest() if body != "-" else ""
        )
        served[*fields, digest] += 1
    return served


def compare(packaged: dict[str, Rooted], count: int) -> Counter[tuple[str, ...]]:
    """Wait until the target has logged `count` requests; check that both hosts served the same."""
    log = packaged["target"].data / "access.log"
    wait_until(lambda: log.exists() and log.read_text().count("\n") >= count, f"the target served {count} requests")
    online = requests_at(packaged["online"])
    assert online.total() == count
    assert requests_at(packaged["target"]) == online
    return online


@pytest.mark.parametrize(
    ("mode", "depth", "turns"), [("get", 1, 100), ("post", 1, 50), ("chunked", 1, 50), ("pipelined", 20, 200)]
)
def test_http(bare_network: Network, packaged: dict[str, Rooted], mode: str, depth: int, turns: int) -> None:
    """Each request of ten keep-alive connections reaches the target's nginx with the same body."""
    start_nginx(bare_network, packaged)
    report = run_client(bare_network, "http_client.py", mode, "--requests", turns, "--depth", depth)
    assert report == {"answers": {"200": 10 * turns}}
    status = exact(bare_network, 10)
    online = compare(packaged, 10 * turns)
    assert mode == "get" or any(digest for *_, digest in online), "no body was compared"
    assert status["mirror"]["turns_held"] == 0


def test_downloads(bare_network: Network, packaged: dict[str, Rooted]) -> None:
    """Downloads of 100 MB are requested from the target, and acknowledged there to their end."""
    for name in BOTH:
        (packaged[name].data / "files").mkdir()
        with (packaged[name].data / "files/big").open("wb") as file:
            file.truncate(100_000_000)
    start_nginx(bare_network, packaged)
    report = run_client(bare_network, "http_client.py", "download", "--connections", 2, "--requests", 2)
    assert report == {"answers": {"200": 4}}
    exact(bare_network, 2, 60)
    compare(packaged, 4)


@pytest.mark.parametrize("body_bytes", [0, 2000])
def test_http2(bare_network: Network, packaged: dict[str, Rooted], body_bytes: int) -> None:
    """All requests of HTTP/2 connections with 100 concurrent streams each reach the target's nginx."""
    start_nginx(bare_network, packaged, "http2")
    (packaged["client"].data / "body").write_bytes(bytes(range(250)) * (body_bytes // 250))
    body: list[Any] = ["-d", "/data/body"] if body_bytes else []
    uri = f"http://192.168.50.10:1025/{'body' if body_bytes else 'page'}"
    report = packaged["client"].run("h2load", "-n", 3000, "-c", 5, "-m", 100, *body, uri)
    assert re.search(r"3000 succeeded, 0 failed, 0 errored", report), report
    exact(bare_network, 5, 180)  # while the target is not known, turns of requests in flight both ways wait for silence
    compare(packaged, 3000)
