"""Runs `copytool check` on the hosts of a test network and takes its table apart."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from support.loading import load

from .hosts import COPY, INTERCEPT, ROOT, Host, Network, wait_until

COPY_OPTIONS = COPY.removeprefix("copy ")
INTERCEPT_OPTIONS = INTERCEPT.removeprefix("intercept ")
ORDER = {"failed": 0, "warning": 1, "ok": 2, "skipped": 3}


class Found:
    """What one run of the command said."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        self.document: dict[str, Any] = json.loads(text)
        self.results: list[dict[str, Any]] = self.document["checks"]

    def __repr__(self) -> str:
        return "\n".join(f"{one['state']} {one['check']} {one['subject']}: {one['seen']}" for one in self.results)

    def one(self, check: str) -> dict[str, Any]:
        """Return the worst result of a check."""
        own = [one for one in self.results if one["check"] == check]
        assert own, f"no {check} in {self!r}"
        return min(own, key=lambda one: ORDER[one["state"]])

    def failed(self) -> list[str]:
        """Return which checks failed."""
        return list(dict.fromkeys(one["check"] for one in self.results if one["state"] == "failed"))

    def names(self, check: str, *words: str, state: str = "failed") -> None:
        """Assert that the check says so: its state, and in its cause or fix each of the words, a line each."""
        one = self.one(check)
        assert one["state"] == state, f"{check}: {self!r}"
        for part in ("cause", "fix"):
            assert one[part] and "\n" not in one[part]
        text = f"{one['seen']}\n{one['cause']}\n{one['fix']}"
        for word in words:
            assert word in text, text
        assert self.status == (4 if self.failed() else 0)


def check(host: Host, line: str, *before: object, wait_s: float = 0.3) -> Found:
    """Run `copytool check LINE` on a host; `before` are words before the command."""
    done = host.run(*before, *_command(host, line, wait_s), check=False)
    assert done.returncode in (0, 4), done.stderr
    assert done.stderr == ""
    return Found(done.returncode, done.stdout)


def check_copy(network: Network, options: str = COPY_OPTIONS, *before: object, wait_s: float = 0.3) -> Found:
    """Check the online host."""
    return check(network.online, f"copy {options}", *before, wait_s=wait_s)


def check_intercept(network: Network, options: str = INTERCEPT_OPTIONS, wait_s: float = 0.3) -> Found:
    """Check the assistant."""
    return check(network.assistant, f"intercept {options}", wait_s=wait_s)


def check_target(network: Network, options: str = COPY_OPTIONS, wait_s: float = 0.3) -> Found:
    """Check the target."""
    return check(network.target, f"target {options}", wait_s=wait_s)


def _command(host: Host, line: str, wait_s: float) -> list[str]:
    role, _, options = line.partition(" ")
    return host.copytool(f"check {role} --json --wait {wait_s} {options}")


@contextmanager
def listening(host: Host, line: str, wait_s: float = 12.0) -> Iterator[list[Found]]:
    """Run a check beside what the block does, once it looks at packets; the list gets what it found."""
    before = _packet_sockets(host)
    child = subprocess.Popen(host.command(*_command(host, line, wait_s)), stdout=subprocess.PIPE, text=True, cwd=ROOT)
    found: list[Found] = []
    try:
        wait_until(lambda: _packet_sockets(host) > before, f"{line} looks at packets")
        yield found
        text = child.communicate(timeout=60)[0]
        found.append(Found(child.returncode, text))
    finally:
        if child.poll() is None:
            child.kill()
        child.wait(10)


def _packet_sockets(host: Host) -> int:
    return len(host.run("cat", "/proc/net/packet").stdout.splitlines())


def check_all(network: Network, intercept: str = INTERCEPT_OPTIONS) -> dict[str, Found]:
    """Check all three hosts, as playbooks/check.yml does: two look at what arrives while copy sends a probe."""
    with (
        listening(network.target, f"target {COPY_OPTIONS}") as target,
        listening(network.assistant, f"intercept {intercept}") as assistant,
    ):
        online = check_copy(network)
    return {"online": online, "target": target[0], "assistant": assistant[0]}


def verdict(found: dict[str, Found]) -> str:
    """Return the headline of playbooks/check.yml for what the hosts said."""
    report = load("self_check/action_plugins/self_check_report.py")
    documents = [{name: [found[name].document]} for name in ("online", "target", "assistant")]
    headline: str = report.headline(report.join(*documents))
    return headline
