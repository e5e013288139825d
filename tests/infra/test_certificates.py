"""The certificates of the link: who may read them, that the link uses them, and how the role renews them."""

from __future__ import annotations

import pytest
from support.mirror import KIND_OF, Mirror
from support.playbooks import changed_tasks, play
from support.topology import Topology
from support.waiting import Unmet, wait_until
from testinfra.host import Host

DIRECTORY = "/etc/copytool/tls"


@pytest.mark.parametrize("daemon", ["copy", "intercept"])
def test_only_the_daemon_reads_its_key(mirror: Mirror, daemon: str) -> None:
    for host in mirror.of_kind(KIND_OF[daemon]).values():
        key = host.file(f"{DIRECTORY}/{daemon}.pem")
        assert (key.user, key.group, oct(key.mode)) == ("copytool", "copytool", "0o600")
        assert key.contains("PRIVATE KEY")
        assert not host.file(f"{DIRECTORY}/ca.pem").contains("PRIVATE KEY")


@pytest.mark.parametrize("daemon", ["copy", "intercept"])
def test_keys_are_neither_in_the_log_nor_in_the_process_list(mirror: Mirror, daemon: str) -> None:
    for host in mirror.of_kind(KIND_OF[daemon]).values():
        lines = host.file(f"{DIRECTORY}/{daemon}.pem").content_string.splitlines()
        secret = lines[lines.index("-----BEGIN PRIVATE KEY-----") + 1]
        assert len(secret) > 40
        shown = host.check_output("journalctl --no-pager -o cat; ps -ewwo args; cat /etc/copytool/*.toml")
        assert secret not in shown


def test_links_are_encrypted_and_named(mirror: Mirror, topology: Topology) -> None:
    for status in mirror.statuses("copy").values():
        assert [link["encrypted"] for link in status["link"]] == [True]
    for name, status in mirror.statuses("intercept").items():
        copies = {online for online, assistant in topology.assistants.items() if assistant == name}
        assert {(link["certificate"], link["encrypted"]) for link in status["link"]} == {
            (copy, True) for copy in copies
        }
    for daemon, kind in KIND_OF.items():
        for name, status in mirror.statuses(daemon).items():
            assert (status["certificate"]["subject"], status["certificate"]["days_left"]) == (name, 396), kind


def test_a_renewed_certificate_needs_no_restart(mirror: Mirror, hosts: dict[str, Host]) -> None:
    """The role issues another one in time; the daemons read it, and the open links stay."""
    pids = {daemon: mirror.main_pids(daemon) for daemon in KIND_OF}
    old = {name: status["certificate"]["not_after"] for name, status in mirror.statuses("copy").items()}
    output = play("playbooks/copy.yml", "--tags", "copytool_configure", "-e", "copytool_tls_renew_days=398")
    assert changed_tasks(output) == {"Issue another one if it will not do", "Write the certificate and its private key"}

    def read() -> object:
        now = {name: status["certificate"]["not_after"] for name, status in mirror.statuses("copy").items()}
        return all(now[name] > old[name] for name in old) or Unmet(now)

    wait_until(read, 10, "the new certificate is known to the daemon")
    assert {daemon: mirror.main_pids(daemon) for daemon in KIND_OF} == pids
    for name in mirror.topology.names["online"]:
        assert hosts[name].service("copytool@copy").is_running
    mirror.wait_for_link()
