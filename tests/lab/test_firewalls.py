"""Real firewalls that are in the way: reported before anything is changed, opened when asked, and closed again."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from functools import partial

import pytest
from support.topology import REPOSITORY

from . import repository
from .conftest import Lab, removed_afterwards, wait_until
from .states import assert_unchanged, changes, states

pytestmark = pytest.mark.lab

INVENTORY = REPOSITORY / "inventory" / "lab"
ASSISTANT, TARGET, MIRRORED = "192.168.50.102", "192.168.50.101", "192.168.60.7"
GUARDED = ("assistant", "target")
OPEN = ("-e", "copytool_firewall_mode=open")
RULES = """\
#!/usr/sbin/nft -f
flush ruleset
table inet filter {
    chain input { type filter hook input priority filter; policy drop;
        ct state established,related accept
        tcp dport 22 accept
        iif lo accept
    }
}
table inet another {
    chain answers { type filter hook output priority 10;
        tcp sport { 36524, 1025 } reject
    }
}
"""
LISTEN = (
    "import socket; s = socket.create_server(('', {port})); s.listen(9); print(flush=True); s.settimeout(900); input()"
)
CONNECT = (
    "import socket; socket.create_connection(('{to}', {port}), 2, source_address=('{source}', 0)); print('through')"
)


class Way:
    """Listens on a host, and connects to it from online."""

    def __init__(self, lab: Lab, host: str, to: str, port: int, source: str) -> None:
        self._lab = lab
        program = LISTEN.format(port=port)
        command = ["ssh", "-F", str(lab.user_dir / "ssh_config"), host, f'python3 -c "{program}"']
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"\n"
        self._connect = CONNECT.format(to=to, port=port, source=source)

    def is_open(self) -> bool:
        """Whether a connection comes about."""
        return "through" in self._lab.ssh("online", f'python3 -c "{self._connect}" 2>/dev/null || true')

    def close(self) -> None:
        """End the listener."""
        self.process.communicate(b"\n")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab with nothing installed, whose target can answer the client network."""
    with removed_afterwards(Lab(tmp_path_factory.mktemp("firewalls"), INVENTORY)) as lab:
        lab.make()
        lab.ssh("online", f"ip address add {MIRRORED}/32 dev lo")
        lab.ssh("target", f"ip route add {MIRRORED} via 192.168.50.10")
        yield lab


@pytest.fixture
def ways(guarded: Lab) -> Iterator[list[Way]]:
    """The link, and a mirrored session."""
    ways = [
        Way(guarded, "assistant", ASSISTANT, 36524, "192.168.50.10"),
        Way(guarded, "target", TARGET, 1025, MIRRORED),
    ]
    try:
        yield ways
    finally:
        for way in ways:
            way.close()


def opened(ways: list[Way]) -> list[bool]:
    """Which ways are open."""
    return [way.is_open() for way in ways]


def play(lab: Lab, *options: str) -> str:
    """The firewall playbook, which must succeed."""
    result = lab.play("playbooks/firewall.yml", *options)
    assert result.status == 0, result.output
    return result.output


def open_and_close(lab: Lab, ways: list[Way]) -> None:
    """Both ways are shut, are opened, stay open, and are shut again; nothing is left."""
    before = states(lab, GUARDED)
    assert opened(ways) == [False, False]
    announced = play(lab, *OPEN, "--check", "--diff")
    assert opened(ways) == [False, False]
    assert announced.count("changed=1") == 2
    assert play(lab, *OPEN).count("changed=1") == 2
    assert opened(ways) == [True, True]
    assert play(lab, *OPEN).count("changed=0") == 2
    assert all(changes(lab, before).values())
    play(lab)
    assert opened(ways) == [False, False]
    assert_unchanged(lab, before)


def test_nothing_is_opened_where_nothing_is_in_the_way(guarded: Lab, ways: list[Way]) -> None:
    assert opened(ways) == [True, True]
    assert play(guarded, *OPEN).count("changed=0") == 2


def test_nftables(guarded: Lab, ways: list[Way]) -> None:
    """Two tables are in the way; the admin's file is loaded anew, and the host started anew."""
    for host in GUARDED:
        guarded.ssh(host, f"cat > /etc/nftables.conf <<'X'\n{RULES}X\nsystemctl enable --now nftables 2>/dev/null")
        guarded.ssh(host, "systemctl restart nftables")
    report = guarded.play("playbooks/preflight.yml")
    assert report.status != 0
    assert report.output.count("policy of inet filter input") >= 2
    assert "copytool_firewall_mode: open" in report.output
    open_and_close(guarded, ways)
    play(guarded, *OPEN)
    for command in ("systemctl restart nftables", "systemctl reload nftables"):
        for host in GUARDED:
            guarded.ssh(host, command)
        assert opened(ways) == [True, True], command
    guarded.ssh("target", "nft flush ruleset; nft -f /etc/nftables.conf")
    assert opened(ways) == [True, False]
    assert play(guarded, *OPEN).count("changed=1") == 1
    assert opened(ways) == [True, True]
    play(guarded)
    for host in GUARDED:
        guarded.ssh(host, "systemctl disable --now nftables 2>/dev/null; nft flush ruleset")


def test_ufw(guarded: Lab, ways: list[Way]) -> None:
    for host in GUARDED:
        repository.provide(guarded, host, "ufw", "iptables")
        guarded.ssh(host, "DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends ufw iptables")
        guarded.ssh(host, "ufw allow 22/tcp && ufw --force enable && ufw status")
    report = guarded.play("playbooks/preflight.yml")
    assert "(ufw)" in report.output, report.output
    open_and_close(guarded, ways)
    for host in GUARDED:
        guarded.ssh(host, "ufw --force disable && nft flush ruleset")


def test_firewalld(guarded: Lab, ways: list[Way]) -> None:
    for host in GUARDED:
        repository.provide(guarded, host, "firewalld")
        guarded.ssh(host, "DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends firewalld")
        guarded.ssh(host, "systemctl start firewalld")
        state = partial(guarded.ssh, host, "firewall-cmd --state 2>&1 || true")  # a moment later than systemd thinks
        wait_until(lambda state=state: state() == "running\n", f"firewalld runs on {host}")
    report = guarded.play("playbooks/preflight.yml")
    assert "(firewalld)" in report.output, report.output
    open_and_close(guarded, ways)
    for host in GUARDED:
        guarded.ssh(host, "systemctl disable --now firewalld 2>/dev/null; nft flush ruleset")
