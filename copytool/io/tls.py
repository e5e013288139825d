"""TLS of the link: version 1.3, and both ends show a certificate of the same authority (RFC 8446)."""

from __future__ import annotations

import logging
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from ..errors import ConfigError
from .certificate import Certificate, read_certificate
from .settings import TlsFiles

__all__ = ["TlsIdentity", "tls_reason"]

_log = logging.getLogger(__name__)

_PLAIN_PEER = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG")
_OTHERS_MAY_READ = 0o007

Stamp = tuple[tuple[int, int, int, int], ...]


class TlsIdentity:
    """This daemon's certificate, and whose it accepts. Files that are replaced are read again for the next connection.

    is_server: whether it is intercept's, which has to be made out for servers, and not copy's, for clients.
    """

    def __init__(self, files: TlsFiles, *, is_server: bool) -> None:
        """Read the files; raises ConfigError with the reason."""
        self._files = files
        self._is_server = is_server
        self._stamp = self._look()
        self._certificate, self._context = self._load()

    def context(self) -> ssl.SSLContext:
        """Return what connections are made with."""
        stamp = self._look()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._certificate, self._context = self._load()
            except ConfigError as error:
                _log.error("%s; going on with the certificate that was there before", error)
            else:
                _log.info("new certificate, valid until %s", self._certificate.not_after.isoformat())
        return self._context

    def status(self) -> dict[str, Any]:
        """Return whose certificate it is, and how long it is valid, as `copytool status --json` shows it."""
        self.context()
        left = self._certificate.not_after - datetime.now(UTC)
        return {
            "subject": self._certificate.common_name,
            "not_after": self._certificate.not_after.isoformat(),
            "days_left": left.days,
        }

    def _look(self) -> Stamp:
        """Return what changes when a file is replaced, or its mode; a file that is not there has nothing."""
        stamps = []
        for path in (self._files.certificate, self._files.key, self._files.authority):
            try:
                status = path.stat()
            except OSError:
                continue
            stamps.append((status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size))
        return tuple(stamps)

    def _load(self) -> tuple[Certificate, ssl.SSLContext]:
        files = self._files
        certificate = read_certificate(files.certificate)
        _check_mode(files.key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if self._is_server else ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        if self._is_server:
            context.num_tickets = 0  # a resumed connection would not show its certificate again
        try:
            context.load_cert_chain(files.certificate, files.key, _refuse_password)
        except (OSError, ssl.SSLError) as error:
            what = f"{files.certificate} and {files.key}" if files.key != files.certificate else f"{files.key}"
            raise ConfigError(
                f"{what}: no certificate and private key that belong together: {tls_reason(error)}"
            ) from None
        try:
            context.load_verify_locations(files.authority)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"--tls-ca {files.authority}: no certificates: {tls_reason(error)}") from None
        return certificate, context


def _check_mode(key: Path) -> None:
    try:
        mode = key.stat().st_mode
    except OSError as error:
        raise ConfigError(f"{key}: {error.strerror}") from None
    if mode & _OTHERS_MAY_READ:
        raise ConfigError(f"{key}: everybody on this host may read the private key in it; chmod 600 it")


def _refuse_password() -> NoReturn:
    raise ConfigError("the private key is encrypted, and nobody is there to be asked; decrypt it (openssl pkey)")


def tls_reason(error: OSError) -> str:
    """Return in a few words why a connection failed, or why a file cannot be used."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: the other end's certificate is refused: {error.verify_message}"
    if not isinstance(error, ssl.SSLError):
        return error.strerror or type(error).__name__
    name = error.reason or ""
    if name in _PLAIN_PEER:
        return "TLS: the other end does not speak it; is it run with --plain?"
    words = name.replace("_", " ").lower()
    if " alert " in words:
        return f"TLS: the other end refuses our certificate or version: {words.split(' alert ', 1)[1]}"
    return f"TLS: {words or error.strerror or 'error'}"
