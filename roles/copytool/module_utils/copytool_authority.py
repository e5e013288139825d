"""A certificate authority in a directory of the control machine, for the link between copy and intercept.

`ca.pem` has its certificates, the newest one first, and `ca.key` the newest one's private key. Who has that key can
join any mirror whose hosts trust it, so it leaves the directory as little as the directory leaves the machine.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_DAYS = 3650
CLOCKS_DIFFER = timedelta(hours=1)
"""A certificate is valid from a while ago: hosts' clocks may be behind."""

_CLIENT, _SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
USAGES = {"client": [_CLIENT], "server": [_SERVER], "both": [_CLIENT, _SERVER]}
WHAT_FOR = {"client": "a client", "server": "a server", "both": "a client and a server"}
_NO_USAGE = dict.fromkeys(
    ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only"),
    False,
)


class Authority:
    """Issues certificates of the authority in `directory`, and says whether one that is there will do.

    days: how long what it issues is valid. It is replaced in time: no certificate outlives its authority.
    """

    def __init__(self, directory: Path, days: int, now: datetime | None = None) -> None:
        self._directory = directory
        self._days = days
        self._now = now or datetime.now(UTC)
        self.certificates = self._read()

    def _read(self) -> list[x509.Certificate]:
        try:
            text = (self._directory / "ca.pem").read_bytes()
        except FileNotFoundError:
            return []
        return [one for one in x509.load_pem_x509_certificates(text) if one.not_valid_after_utc > self._now]

    @property
    def bundle(self) -> str:
        """What hosts trust, as PEM: the newest certificate, and older ones of which others may still be in use."""
        return "".join(_pem(certificate) for certificate in self.certificates)

    def lasts(self) -> bool:
        """Whether what is issued now would be valid to its end."""
        return bool(self.certificates) and self._ends(self._days) < self.certificates[0].not_valid_after_utc

    def renew(self) -> None:
        """Make the authority, or a new key and certificate for it, unless the present one lasts."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(self._directory):
            self.certificates = self._read()  # hosts are set up side by side
            if self.lasts():
                return
            key = ec.generate_private_key(ec.SECP256R1())
            name = _name(f"copytool, {self._now:%Y-%m-%d %H:%M:%S}")
            usage = x509.KeyUsage(digital_signature=False, key_cert_sign=True, crl_sign=True, **_NO_USAGE)
            builder = self._builder(name, name, key, max(AUTHORITY_DAYS, 2 * self._days))
            builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            certificate = builder.add_extension(usage, critical=True).sign(key, hashes.SHA256())
            self.certificates.insert(0, certificate)
            _write(self._directory / "ca.key", _private(key), 0o600)
            _write(self._directory / "ca.pem", self.bundle, 0o644)

    def issue(self, name: str, usage: str, addresses: Sequence[str]) -> str:
        """Return a new key and certificate, as PEM. usage: one of USAGES. addresses: IP addresses, or names."""
        with _locked(self._directory):
            own = serialization.load_pem_private_key((self._directory / "ca.key").read_bytes(), None)
        issuer = self.certificates[0]
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(_name(name), issuer.subject, key, self._days)
        key_usage = x509.KeyUsage(digital_signature=True, key_cert_sign=False, crl_sign=False, **_NO_USAGE)
        extensions: list[tuple[Any, bool]] = [
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (key_usage, True),
            (x509.ExtendedKeyUsage(USAGES[usage]), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), False),
        ]
        if addresses:
            names = [_general_name(address) for address in dict.fromkeys(addresses)]
            extensions.append((x509.SubjectAlternativeName(names), False))
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        return _private(key) + _pem(builder.sign(own, hashes.SHA256()))

    def objection(self, pem: str, name: str, usage: str, addresses: Sequence[str], renew_days: int) -> str:
        """Return why a certificate will not do any more, "" if it will."""
        try:
            certificate = x509.load_pem_x509_certificate(pem.encode())
            usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        except (ValueError, x509.ExtensionNotFound):
            return "there is none" if not pem.strip() else "it is no certificate for this"
        if not any(_has_issued(authority, certificate) for authority in self.certificates):
            return "it is from another authority"
        if certificate.subject != _name(name):
            return f"it is not made out to {name}"
        if not {*USAGES[usage]} <= {*usages}:
            return f"it is not for {WHAT_FOR[usage]}"
        missing = {_general_name(address) for address in addresses} - _alternative_names(certificate)
        if missing:
            return f"it lacks {', '.join(sorted(str(one.value) for one in missing))}"
        left = certificate.not_valid_after_utc - self._now
        return f"it is valid for only {left.days} days more" if left < timedelta(days=renew_days) else ""

    def _ends(self, days: int) -> datetime:
        return self._now + timedelta(days=days)

    def _builder(self, subject: x509.Name, issuer: x509.Name, key: Any, days: int) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - CLOCKS_DIFFER)
            .not_valid_after(self._ends(days))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keep other processes out."""
    descriptor = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(path: Path, text: str, mode: int) -> None:
    """Write a file of which nobody ever sees a part, nor, if it is secret, anybody else anything."""
    new = path.with_suffix(path.suffix + ".new")
    with suppress(FileNotFoundError):
        new.unlink()
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text)
    new.rename(path)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(address))
    except ValueError:
        return x509.DNSName(address)


def _alternative_names(certificate: x509.Certificate) -> set[x509.GeneralName]:
    try:
        return set(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return set()


def _has_issued(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _private(key: Any) -> str:
    form = serialization.PrivateFormat.PKCS8
    return str(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode())
