"""The encrypted link between real daemons: sessions are as exact, and a copy gets what is its own."""

from __future__ import annotations

import signal
import socket
from pathlib import Path
from typing import Any

import pytest
from support.authority import TestAuthority

from copytool.io.settings import TlsFiles

from .hosts import COPY, INTERCEPT, Network, output, wait_until
from .taps import in_namespace

LINK_PORT = (36524).to_bytes(2, "big")
PEERS = "online=192.168.60.0/25,online=192.168.60.128/25,client=192.168.61.0/24"


class Certificates:
    """Those of online, of a second copy that runs on the client host, and of the assistant."""

    def __init__(self, directory: Path) -> None:
        self._authority = TestAuthority(directory)
        self.renew()
        self.copy = COPY + _options(self.online)
        self.second = _options(self._authority.issue("client", "client"))
        self.stranger = _options(self._authority.issue("stranger", "client"))
        self.intercept = f"{INTERCEPT}|{'|'.join(_options(self.assistant).split())}|--peers|{PEERS}"

    def renew(self) -> None:
        """Replace the files of online and the assistant."""
        self.online = self._authority.issue("online", "client")
        self.assistant = self._authority.issue("assistant", "server", ["192.168.50.102"])


def _options(files: TlsFiles) -> str:
    return f" --tls-cert {files.certificate} --tls-ca {files.authority}"


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path / "ca")


@pytest.mark.parametrize("options", ["", " --workers 2"])
def test_sessions_are_exact(network: Network, certificates: Certificates, options: str) -> None:
    """As many as without TLS, byte for byte; status says so, and nothing of the link can be read on the wire."""
    with _packets_of(network.assistant.namespace) as wire:
        network.start_mirror(certificates.copy + options, certificates.intercept)
        assert network.drive("--sessions", 200, "--concurrency", 20)["errors"] == []
        network.wait_for_sessions("target", 200)
        assert network.multiset("target") == network.multiset("online")
        status = network.online.status()
        assert (status["link"][0]["encrypted"], status["certificate"]["subject"]) == (True, "online")
        assert status["certificate"]["days_left"] == 29
        peers = network.assistant.status()["link"]
        assert {(peer["certificate"], peer["encrypted"]) for peer in peers} == {("online", True)}
        shown = _of_the_link(wire)
    assert len(shown) > 5_000
    assert b"client_networks" not in shown and b"192.168.60" not in shown


def _packets_of(namespace: str) -> socket.socket:
    """Return a packet socket that sees all IPv4 packets of a host from now on."""

    def listen() -> socket.socket:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        sock.setblocking(False)
        return sock

    return in_namespace(namespace, listen)


def _of_the_link(sock: socket.socket) -> bytes:
    """Return the packets to and from the link's port, one after the other."""
    packets = bytearray()
    while True:
        try:
            packet = sock.recv(1 << 16)
        except BlockingIOError:
            return bytes(packets)
        if LINK_PORT in (packet[20:22], packet[22:24]):
            packets += packet


def test_another_copys_client_network(network: Network, certificates: Certificates) -> None:
    """A copy with a certificate may have its own network, nobody else's, and without a name in --peers none at all."""
    network.assistant.start(*network.assistant.copytool(certificates.intercept))
    network.wait_listening("assistant", 36524)
    attempts = (
        (COPY + certificates.second, "client"),
        (COPY.replace("192.168.60.x", "192.168.62.x") + certificates.stranger, "stranger"),
    )
    for number, (words, name) in enumerate(attempts, 1):
        network.client.start(*network.client.copytool(words))
        reason = wait_until(lambda: _reason(network), "it is refused")
        assert reason.startswith(f"refused: the certificate of '{name}' does not allow it client network 192.168.6")
        assert network.assistant.status()["refused_links"] >= number
        network.client.latest.send_signal(signal.SIGTERM)
        network.client.latest.wait(10)
    network.online.start(*network.online.copytool(certificates.copy))
    network.wait_for_link()
    own = COPY.replace("192.168.60.x", "192.168.61.x") + certificates.second
    network.client.start(*network.client.copytool(own))
    wait_until(lambda: _link(network).get("state") == "established", "its own network")
    logged = output(network.assistant.latest)
    assert logged.count("does not allow it client network 192.168.60.0/24") == 1


def _link(network: Network) -> dict[str, Any]:
    status = network.client.status()
    link: dict[str, Any] = status["link"][0] if status else {}
    return link


def _reason(network: Network) -> str:
    reason: str = _link(network).get("reason", "")
    return reason if reason.startswith("refused") else ""


def test_certificates_are_renewed_while_sessions_are_open(network: Network, certificates: Certificates) -> None:
    """The files are replaced, intercept is killed and started again: the sessions go on, with the new certificate."""
    network.start_mirror(certificates.copy, certificates.intercept)
    clients = network.client.start(
        "python3", "roles/mirror_check/files/sessions.py", "192.168.50.10",
        "--sessions", 20, "--concurrency", 20, "--turns", 30, "--turn-pause", 0.2, "--seed", 7,
    )  # fmt: skip
    wait_until(lambda: network.online.status()["sessions"]["seen"] == 20, "20 sessions are mirrored")
    certificates.renew()
    network.assistant.latest.kill()
    network.assistant.latest.wait(10)
    network.assistant.start(*network.assistant.copytool(certificates.intercept))
    assert clients.wait(60) == 0, output(clients)
    wait_until(lambda: len(network.sessions_of("target")) == 20, "all 20 arrived", 30)
    assert network.multiset("target") == network.multiset("online")
    assert "new certificate, valid until" in output(network.online.latest)


def test_mistakes_in_files_end_the_daemon_at_once(network: Network, certificates: Certificates) -> None:
    """One line that names the file, and the status of a wrong value."""
    key = certificates.assistant.certificate
    key.chmod(0o644)
    done = network.assistant.run(*network.assistant.copytool(certificates.intercept), check=False)
    assert done.returncode == 2
    assert f"{key}: everybody on this host may read the private key in it" in done.stderr.splitlines()[-1]
