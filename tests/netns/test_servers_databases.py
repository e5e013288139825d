"""Redis, memcached and PostgreSQL at both hosts: equal data afterwards."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from .hosts import COPY, Network, wait_until
from .servers import APPS, BOTH, Rooted, exact, run_client, start_mirror

ONLY_CLIENTS = f"{COPY} -i ens18"
"""The tests ask the servers on loopback, and what they ask is not to be mirrored."""


def equal_in_the_end(network: Network, measure: Any) -> Any:
    """Wait until both hosts show the same measurement, which a target that has yet to work off its input may not."""
    online = measure("online")
    wait_until(lambda: measure("target") == online, f"the target has the online host's data: {str(online)[:400]}")
    return online


@pytest.mark.parametrize("pipeline", [1, 16])
def test_redis(bare_network: Network, packaged: dict[str, Rooted], pipeline: int) -> None:
    """After redis-benchmark's SET and INCR both Redis have the same data set and have run the same commands."""
    for name in BOTH:
        options = ["--bind", "0.0.0.0", "--protected-mode", "no", "--save", "", "--enable-debug-command", "yes"]
        packaged[name].start("redis-server", "--port", 1025, *options, "--unixsocket", "/data/redis.sock")
        bare_network.wait_listening(name, 1025)
    start_mirror(bare_network)
    load = ["-t", "set,incr", "-n", 20000, "-r", 1000, "-c", 20, "-P", pipeline, "-d", 100, "-q"]
    packaged["client"].run("redis-benchmark", "-h", "192.168.50.10", "-p", 1025, *load)
    seen = bare_network.online.status()["sessions"]["seen"]
    assert seen >= 40
    status = exact(bare_network, seen)
    assert status["mirror"]["turns_held"] == 0

    def measure(name: str) -> list[str]:
        def ask(*words: str) -> str:
            return packaged[name].run("redis-cli", "-s", "/data/redis.sock", *words)

        statistics = ask("INFO", "commandstats").splitlines()
        calls = [line.split(",")[0] for line in statistics if line.startswith(("cmdstat_set", "cmdstat_incr"))]
        return [ask("DEBUG", "DIGEST"), ask("DBSIZE"), *sorted(calls)]

    digest, size, *calls = equal_in_the_end(bare_network, measure)
    assert int(digest, 16) != 0
    assert int(size) > 1000
    assert calls == ["cmdstat_incr:calls=20000", "cmdstat_set:calls=20000"]


@pytest.mark.parametrize("depth", [1, 20])
def test_memcached(bare_network: Network, packaged: dict[str, Rooted], depth: int) -> None:
    """After sets, appends, increments and deletes both memcached have the same values and the same counters."""
    for name in BOTH:
        packaged[name].start("memcached", "-u", "root", "-p", 1025, "-l", "0.0.0.0", "-t", 2)
        bare_network.wait_listening(name, 1025)
    start_mirror(bare_network, ONLY_CLIENTS)
    assert run_client(bare_network, "memcached_client.py", "load", "--depth", depth) == {"commands": 4000}
    exact(bare_network, 10)

    def measure(name: str) -> Any:
        words = [sys.executable, APPS / "memcached_client.py", "dump", "--host", "127.0.0.1"]
        return json.loads(bare_network.hosts[name].run(*words).stdout)

    online, target = measure("online"), measure("target")
    assert online["counters"] == target["counters"]
    assert online["values"] == target["values"]
    assert int(online["counters"]["cmd_set"]) > 1000


@pytest.mark.parametrize("protocol", ["simple", "prepared"])
def test_postgresql(bare_network: Network, packaged: dict[str, Rooted], protocol: str) -> None:
    """After concurrent pgbench transactions both databases hold the same history and the same balances."""
    server = ["sh", "-c", "exec /usr/lib/postgresql/*/bin/postgres -D /srv/postgres -p 1025 -h 0.0.0.0 -k /data -F"]
    for name in BOTH:
        trust = "echo host all all 192.168.0.0/16 trust >> /srv/postgres/pg_hba.conf"
        packaged[name].start(*server[:2], f"{trust}; {server[2]}", user="postgres")
        bare_network.wait_listening(name, 1025)
    start_mirror(bare_network)
    load = ["-n", "-c 8", "-j 2", "-t 200", f"-M {protocol}", "-h 192.168.50.10", "-p 1025", "-U postgres", "postgres"]
    done = packaged["client"].run("sh", "-c", f"/usr/lib/postgresql/*/bin/pgbench {' '.join(load)}")
    assert "1600/1600" in done
    exact(bare_network, bare_network.online.status()["sessions"]["seen"], 60)
    question = (
        "select count(*), sum(delta), sum(aid::bigint * delta), sum(tid * delta),"
        " (select sum(aid::bigint * abalance) from pgbench_accounts),"
        " (select sum(tid * tbalance) from pgbench_tellers),"
        " (select sum(bbalance) from pgbench_branches) from pgbench_history"
    )

    def measure(name: str) -> str:
        words = ["psql", "-h", "/data", "-p", 1025, "-U", "postgres", "-Atc", question]
        return packaged[name].run(*words, user="postgres")

    assert equal_in_the_end(bare_network, measure).startswith("1600|")
