"""Servers and clients that open, speak and close in unusual ways."""

from __future__ import annotations

import pytest

from .hosts import Network, wait_until
from .servers import exact, logged, multiset, run_client, start_app, start_mirror


def same_sessions(network: Network, count: int) -> None:
    """Wait until the target has logged `count` sessions; check that both hosts read the same and saw the same end."""
    wait_until(lambda: len(logged(network, "target")) >= count, f"the target logged {count} sessions")
    online = multiset(logged(network, "online"), "bytes", "sha256", "end")
    assert online.total() == count
    assert multiset(logged(network, "target"), "bytes", "sha256", "end") == online


def start_both(network: Network, mode: str, *at_target: object) -> None:
    """Start one of stream_server's modes on both hosts, then the mirror."""
    start_app(network, "online", "stream_server.py", mode)
    start_app(network, "target", "stream_server.py", mode, *at_target)
    start_mirror(network)


def test_server_that_greets_first(bare_network: Network) -> None:
    """SMTP dialogues arrive command by command: the target has answered each before the next one comes."""
    start_both(bare_network, "smtp", "--think-s", 0.004)
    assert run_client(bare_network, "stream_client.py", "smtp")["results"] == [3] * 20
    status = exact(bare_network, 20)
    same_sessions(bare_network, 20)
    assert sum(session["early"] for session in logged(bare_network, "target")) == 0
    assert status["mirror"]["turns_quiet"] == status["mirror"]["turns_held"] == 0


@pytest.mark.parametrize("think_s", [0.004, 0.04])
def test_greeting_of_another_length(bare_network: Network, think_s: float) -> None:
    """SMTP dialogues keep their order with a target that has a longer name and thinks."""
    start_both(bare_network, "smtp", "--think-s", think_s, "--greeting", "a-test-copy.of-the.mail.example.org")
    assert run_client(bare_network, "stream_client.py", "smtp")["results"] == [3] * 20
    exact(bare_network, 20)
    same_sessions(bare_network, 20)
    assert sum(session["early"] for session in logged(bare_network, "target")) == 0


def test_server_that_closes_its_direction_first(bare_network: Network) -> None:
    """What clients send into a connection that the server has half-closed arrives whole."""
    start_both(bare_network, "talker")
    assert run_client(bare_network, "stream_client.py", "listen")["results"] == [300_000] * 20
    exact(bare_network, 20)
    same_sessions(bare_network, 20)


def test_client_that_closes_its_direction_first(network: Network) -> None:
    """Clients that half-close before they read an answer are mirrored whole."""
    start_mirror(network)
    assert run_client(network, "stream_client.py", "half_close")["results"] == [150_000] * 20
    exact(network, 20)
    network.wait_for_sessions("target", 20)
    assert network.multiset("target") == network.multiset("online")


def test_one_byte_at_a_time(network: Network) -> None:
    """Clients that send each byte in a packet of its own are mirrored whole."""
    start_mirror(network)
    assert run_client(network, "stream_client.py", "bytewise")["results"] == [400] * 20
    exact(network, 20)
    network.wait_for_sessions("target", 20)
    assert network.multiset("target") == network.multiset("online")


def test_clients_that_reset(bare_network: Network) -> None:
    """A client's RST reaches the target after all that it said, and both servers see a reset."""
    start_both(bare_network, "resetter")
    assert run_client(bare_network, "stream_client.py", "reset")["results"] == [1] * 20
    exact(bare_network, 20)
    same_sessions(bare_network, 20)
    assert {session["end"] for session in logged(bare_network, "target")} == {"reset"}


def test_servers_that_reset(bare_network: Network) -> None:
    """Sessions that the servers reset at both hosts arrive whole, and online's kernel tells that they end alike."""
    start_both(bare_network, "resetter")
    assert run_client(bare_network, "stream_client.py", "be_reset")["results"] == [1] * 20
    exact(bare_network, 20, 10)
    same_sessions(bare_network, 20)


def test_server_sent_events(bare_network: Network) -> None:
    """Requests for event streams arrive, and the target's streams are acknowledged to their end."""
    start_both(bare_network, "events")
    assert run_client(bare_network, "stream_client.py", "events")["results"] == [50] * 20
    exact(bare_network, 20)
    same_sessions(bare_network, 20)
