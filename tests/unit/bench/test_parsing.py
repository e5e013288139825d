"""What the benchmark reads from kernels, services and load generators."""

from __future__ import annotations

import pytest

from bench.arrivals import lags_us, requests_in
from bench.budget import parse_log
from bench.counters import parse_nginx, parse_redis
from bench.errors import BenchError
from bench.latency import parse_wrk
from bench.logged import exact_sessions, received_bytes
from bench.procstat import TICK_S, Cpu, parse_machine_stat, parse_stat, parse_status

WRK = """Running 5s test @ http://192.168.50.10:1025/
  1 threads and 10 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   320.58us    0.99ms  16.53ms   94.06%
    Req/Sec    43.46k     3.02k   49.35k    70.00%
  Latency Distribution
     50%  146.00us
     75%  207.00us
     90%  382.00us
     99%    4.99ms
  216227 requests in 5.00s, 35.26MB read
Requests/sec:  43249.12
Transfer/sec:      7.05MB
"""


def test_process_time_with_a_name_that_has_spaces_and_brackets() -> None:
    text = "4711 (a) b (c) S 1 4711 4711 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0 99 1 1 1\n"
    assert parse_stat(text) == Cpu(250 * TICK_S, 50 * TICK_S)
    assert parse_stat(text).total_s == pytest.approx(300 * TICK_S)
    assert Cpu(3, 2) - Cpu(1, 1) + Cpu(0, 1) == Cpu(2, 2)


def test_memory_is_in_bytes() -> None:
    sizes = parse_status("Name:\tcopytool\nVmHWM:\t  102400 kB\nVmRSS:\t   51200 kB\nThreads:\t1\n")
    assert sizes == {"VmHWM": 104_857_600, "VmRSS": 52_428_800}


def test_a_machine_is_not_busy_while_idle_waiting_or_stolen_from() -> None:
    text = "cpu  100 20 30 5000 600 7 8 900 11 12\ncpu0 1 2 3 4 5 6 7 8 9 10\n"
    assert parse_machine_stat(text) == pytest.approx((100 + 20 + 30 + 7 + 8) * TICK_S)


def test_requests_that_nginx_has_served() -> None:
    page = (
        b"Active connections: 11 \nserver accepts handled requests\n 11 11 50123 \nReading: 0 Writing: 1 Waiting: 10 \n"
    )
    assert parse_nginx(page) == 50_123
    with pytest.raises(ValueError, match="stub_status"):
        parse_nginx(b"<html>404</html>")


def test_commands_that_redis_has_carried_out() -> None:
    answer = b"# Commandstats\r\ncmdstat_info:calls=3,usec=9\r\ncmdstat_set:calls=100000,usec=1,usec_per_call=0.1\r\n"
    assert parse_redis(answer) == 100_000
    assert parse_redis(b"# Commandstats\r\ncmdstat_info:calls=3,usec=9\r\n") == 0


def test_wrk_in_one_unit() -> None:
    assert parse_wrk(WRK) == {"throughput": 43249.12, "p50_ms": pytest.approx(0.146), "p99_ms": 4.99}
    assert parse_wrk(WRK.replace("4.99ms", "1.20s"))["p99_ms"] == pytest.approx(1200)


@pytest.mark.parametrize(
    "trouble", ["  Socket errors: connect 0, read 3, write 0, timeout 0\n", "  Non-2xx or 3xx responses: 7\n"]
)
def test_wrk_with_errors_is_no_measurement(trouble: str) -> None:
    with pytest.raises(BenchError, match=r"Socket errors|Non-2xx"):
        parse_wrk(WRK.replace("Requests/sec", f"{trouble}Requests/sec"))


def test_wrk_that_says_nothing_is_no_measurement() -> None:
    with pytest.raises(BenchError, match="unable to connect"):
        parse_wrk("unable to connect to 192.168.50.10:1025 Connection refused\n")


def test_bytes_of_open_connections() -> None:
    shown = "0 0 a b\n\t cubic bytes_acked:1 bytes_received:1000 segs_out:1\n0 0 c d\n\t bytes_received:24 rcv_rtt:1\n"
    assert received_bytes(shown) == 1024
    assert received_bytes("") == 0


def session(size: int, digest: str, end: str = "eof") -> dict[str, object]:
    return {"bytes": size, "sha256": digest, "end": end, "early": 0}


def test_sessions_are_compared_as_multisets() -> None:
    online = [session(1, "a"), session(1, "a"), session(2, "b"), session(3, "c")]
    target = [session(1, "a"), session(2, "x"), session(3, "c", "reset"), session(9, "new")]
    assert exact_sessions(online, target) == 1
    assert exact_sessions(online, reversed(online)) == 4
    assert exact_sessions(online, [*online, session(1, "a")]) == 4


def test_all_requests_in_a_packet_count() -> None:
    packet = b"\x00\x01GET /7 HTTP/1.1\r\nHost: online\r\n\r\nGET /18 HTTP/1.1\r\nHost: online\r\n\r\nGET /1"
    assert requests_in(packet) == [7, 18]
    assert requests_in(b"HTTP/1.1 200 OK\r\n") == []


def test_lags_are_of_what_arrived() -> None:
    assert lags_us({1: 1000, 2: 2000, 3: 3000}, {2: 9000, 1: 2500, 4: 1}) == [1.5, 7.0]


def test_requests_that_h2load_has_logged() -> None:
    sample = parse_log("".join(f"{1_000_000 + 1000 * number}\t200\t{100 + number}\n" for number in range(1000)))
    assert sample == {
        "seconds": pytest.approx(0.999 + 0.001099),
        "throughput": pytest.approx(1000 / (0.999 + 0.001099)),
        "p50_ms": pytest.approx(0.6, abs=0.002),
        "p99_ms": pytest.approx(1.09, abs=0.002),
    }
    with pytest.raises(BenchError, match="1 of 2 requests failed"):
        parse_log("1\t200\t5\n2\t503\t5\n")
    with pytest.raises(BenchError, match="0 of 0 requests failed"):
        parse_log("")
