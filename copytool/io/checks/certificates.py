"""The certificate of the link: whether there is one that will do, and for how long."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...errors import ConfigError
from ..settings import TlsFiles
from ..tls import TlsIdentity
from .daemon import Daemon
from .result import Result, failed, ok, warning

__all__ = ["check_certificate"]

_FEW_DAYS = 14
_FIX = "renew it: run site.yml again, or replace the files; they are read for the next connection"


def check_certificate(daemon: Daemon, files: TlsFiles | None) -> Iterator[Result]:
    """How long the daemon's certificate holds, or the one it would have; nothing for a link that is not encrypted."""
    if daemon.runs:
        if certificate := daemon.status.get("certificate"):
            yield _judge(certificate)
    elif files is not None:
        try:
            yield _judge(TlsIdentity(files, is_server=daemon.role == "intercept").status())
        except ConfigError as error:
            fix = "docs/security.md says what belongs into these files; run this as root if it may not read them"
            yield failed("certificate", f"{daemon.role} would not start", str(error), fix)


def _judge(certificate: dict[str, Any]) -> Result:
    days, until = certificate["days_left"], certificate["not_after"]
    seen = f"{certificate['subject']}, valid until {until}"
    if days < 0:
        return failed("certificate", seen, f"it expired on {until}", _FIX)
    if days < _FEW_DAYS:
        return warning("certificate", seen, f"it expires in {days} days", _FIX)
    return ok("certificate", seen)
