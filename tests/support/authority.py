"""Certificates for tests, from the authority that the role has on the control machine."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from copytool.io.settings import TlsFiles

from .loading import load

authority: Any = load("copytool/module_utils/copytool_authority.py")
"""The role's module, which is in no package."""


class TestAuthority:
    """An authority in a directory, and files with what it issues."""

    __test__ = False

    def __init__(self, directory: Path, now: datetime | None = None, days: int = 30) -> None:
        self._directory = directory
        self._authority = authority.Authority(directory, days, now)
        self._authority.renew()
        (directory / "trusted.pem").write_text(self._authority.bundle)

    def issue(self, name: str, usage: str, addresses: Sequence[str] = ("127.0.0.1",)) -> TlsFiles:
        """Issue a certificate; its files are replaced when the same name gets another one."""
        path = self._directory / f"{name}-{usage}.pem"
        new = path.with_suffix(".new")
        new.touch(0o600)
        new.write_text(self._authority.issue(name, usage, addresses))
        new.rename(path)
        return TlsFiles(path, path, self._directory / "trusted.pem")
