"""Certificates in files: what is said of those that will not do, and what happens when they are replaced."""

from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from copytool.errors import ConfigError
from copytool.io.certificate import read_certificate
from copytool.io.loop import EventLoop
from copytool.io.settings import TlsFiles
from copytool.io.tls import TlsIdentity

from .links import TlsLink, run_until


def test_a_new_certificate_counts_for_the_next_connection(
    link: TlsLink, loop: EventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    """No restart: the open link goes on, and whoever connects after the change meets the new one."""
    caplog.set_level("INFO")
    good = link.establish()
    link.authority.issue("assistant", "server", ["127.0.0.9"])
    late = link.connect(link.client_files)
    run_until(loop, lambda: "IP address mismatch" in late.reason)
    assert good.state == "established"
    assert any("new certificate, valid until" in record.message for record in caplog.records)


def test_a_damaged_new_certificate_is_not_taken(link: TlsLink, caplog: pytest.LogCaptureFixture) -> None:
    """The daemon says so once, and goes on with what it has."""
    link.server_files.certificate.write_text("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")
    link.establish()
    logged = [record.message for record in caplog.records if "going on with" in record.message]
    assert len(logged) == 1 and "damaged" in logged[0]


def test_a_mode_that_was_put_right_is_noticed(link: TlsLink, caplog: pytest.LogCaptureFixture) -> None:
    """A new file that everybody may read is not taken; after chmod it is, without a restart."""
    caplog.set_level("INFO")
    identity = TlsIdentity(link.server_files, is_server=True)
    link.authority.issue("assistant", "server")
    link.server_files.key.chmod(0o644)
    identity.status()
    link.server_files.key.chmod(0o600)
    identity.status()
    said = [record.message for record in caplog.records]
    assert len(said) == 2 and "chmod 600 it" in said[0] and said[1].startswith("new certificate")


def test_status_tells_how_long_it_is_valid(link: TlsLink) -> None:
    """Days are whole ones that are left; an end in the past is negative."""
    status = TlsIdentity(link.client_files, is_server=False).status()
    assert (status["subject"], status["days_left"]) == ("online", 29)
    late = TlsIdentity(link.expired(), is_server=False).status()
    assert late["days_left"] < 0


def test_files_that_will_not_do(link: TlsLink, tmp_path: Path) -> None:
    """Each mistake has a message that names the file and the matter."""
    good = link.client_files
    text = good.certificate.read_text()
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    key.touch(0o600)
    key.write_text(text[: text.index("-----BEGIN CERTIFICATE")])
    certificate.write_text(text[text.index("-----BEGIN CERTIFICATE") :])
    apart = TlsFiles(certificate, key, good.authority)
    assert TlsIdentity(apart, is_server=False).status()["subject"] == "online"
    nothing = tmp_path / "nothing.pem"
    for files, words in (
        (replace(apart, certificate=nothing), "nothing.pem: No such file"),
        (replace(apart, key=nothing), "nothing.pem: No such file"),
        (replace(apart, authority=nothing), "--tls-ca .*nothing.pem: no certificates: No such file"),
        (replace(apart, certificate=key), "it has no certificate in PEM form"),
        (replace(apart, key=link.server_files.key), "that belong together: TLS: key values mismatch"),
        (replace(apart, authority=key), "--tls-ca .*key.pem: no certificates"),
    ):
        with pytest.raises(ConfigError, match=words):
            TlsIdentity(files, is_server=False)
    key.chmod(0o604)
    with pytest.raises(ConfigError, match="everybody on this host may read the private key in it; chmod 600"):
        TlsIdentity(apart, is_server=False)


def test_an_encrypted_key_is_not_asked_about(link: TlsLink, tmp_path: Path) -> None:
    """A daemon has nobody to ask for a password."""
    key = serialization.load_pem_private_key(link.client_files.key.read_bytes(), None)
    secret = serialization.BestAvailableEncryption(b"secret")
    path = tmp_path / "encrypted.pem"
    path.touch(0o600)
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret))
    with pytest.raises(ConfigError, match="the private key is encrypted"):
        TlsIdentity(replace(link.client_files, key=path), is_server=False)


@pytest.mark.parametrize("cut", range(1, 400, 7))
def test_a_certificate_that_is_cut_off(link: TlsLink, tmp_path: Path, cut: int) -> None:
    """However much of it is there, the message is the same."""
    text = link.client_files.certificate.read_text()
    der = ssl.PEM_cert_to_DER_cert(text[text.index("-----BEGIN CERTIFICATE") :])
    path = tmp_path / "cut.pem"
    path.write_text(ssl.DER_cert_to_PEM_cert(der[:-cut]))
    with pytest.raises(ConfigError, match="its first certificate is damaged"):
        read_certificate(path)
