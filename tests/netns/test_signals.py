"""Signals that a daemon's surroundings send."""

from __future__ import annotations

import os
import signal

from .hosts import INTERCEPT, Network, output, wait_until


def test_sighup_of_a_closed_terminal_ends_cleanly(network: Network) -> None:
    """In the foreground SIGHUP is like SIGTERM: status 0, no socket left."""
    child = network.assistant.start("env", "--default-signal=HUP", *network.assistant.copytool(INTERCEPT))
    wait_until(network.assistant.status, "intercept answers")
    child.send_signal(signal.SIGHUP)
    assert child.wait(10) == 0, output(child)
    assert not network.assistant.control_socket.exists()


def test_sighup_under_systemd_and_nohup_is_ignored(network: Network) -> None:
    """A service manager's reload by habit, and a terminal that nohup(1) shields from, end nothing."""
    for words in (["env", "NOTIFY_SOCKET=@copytool-test"], ["env", "--ignore-signal=HUP"]):
        child = network.assistant.start(*words, *network.assistant.copytool(INTERCEPT))
        wait_until(network.assistant.status, "intercept answers")
        os.kill(child.pid, signal.SIGHUP)
        os.kill(child.pid, signal.SIGUSR1)
        wait_until(lambda child=child: "responses" in output(child), "SIGUSR1, sent later, is answered")
        child.terminate()
        assert child.wait(10) == 0
