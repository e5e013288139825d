"""What a certificate says of itself: whose it is, and until when it is valid.

The ssl module tells that of a peer's certificate only. This reads as much DER (X.690) as it takes to find the two
fields of RFC 5280, section 4.1, in a file that this host's own administrator has put there.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ..errors import ConfigError

__all__ = ["Certificate", "read_certificate"]

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_COMMON_NAME = b"\x06\x03\x55\x04\x03"
_VERSION, _UTC_TIME = 0xA0, 0x17


@dataclass(frozen=True, slots=True)
class Certificate:
    """common_name: the last one of its subject, "" if it has none. not_after: the end of its validity, in UTC."""

    common_name: str
    not_after: datetime


def read_certificate(path: Path) -> Certificate:
    """Return the first certificate in a PEM file; ConfigError says what is wrong with it."""
    try:
        found = _PEM.search(path.read_text(encoding="ascii"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        found = None
    if found is None:
        raise ConfigError(f"{path}: it has no certificate in PEM form (BEGIN CERTIFICATE)")
    try:
        return _parse(ssl.PEM_cert_to_DER_cert(found[0]))
    except (ValueError, LookupError, StopIteration):
        raise ConfigError(f"{path}: its first certificate is damaged") from None


def _parse(der: bytes) -> Certificate:
    (_, certificate), *_ = _elements(der)
    (_, body), *_ = _elements(certificate)
    fields = [(tag, content) for tag, content in _elements(body) if tag != _VERSION]
    _serial, _algorithm, _issuer, (_, validity), (_, subject) = fields[:5]
    _begin, (tag, end) = _elements(validity)
    return Certificate(_common_name(subject), _time(tag, end.decode("ascii")))


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and content of each element, one after the other; ValueError if they are damaged."""
    at = 0
    while at < len(data):
        tag, size = data[at], data[at + 1]
        at += 2
        if size & 0x80:
            octets = size & 0x7F
            size = int.from_bytes(data[at : at + octets], "big")
            at += octets
        if at + size > len(data):
            raise ValueError("an element is longer than what holds it")
        yield tag, data[at : at + size]
        at += size


def _common_name(subject: bytes) -> str:
    name = ""
    for _, attributes in _elements(subject):
        for _, attribute in _elements(attributes):
            if attribute.startswith(_COMMON_NAME):
                _, (_, text) = _elements(attribute)
                name = text.decode("utf-8")
    return name


def _time(tag: int, text: str) -> datetime:
    """Return a UTCTime or GeneralizedTime (RFC 5280, 4.1.2.5: years of two digits are 1950 to 2049)."""
    if tag == _UTC_TIME:
        text = ("20" if int(text[:2]) < 50 else "19") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
