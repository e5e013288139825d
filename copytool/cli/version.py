"""What `--version` and the log say."""

from __future__ import annotations

import platform

from .. import __version__
from ..flavour import flavour

__all__ = ["version_text"]


def version_text() -> str:
    """Return the version with what runs it, such as "0.1.0 (compiled, CPython 3.11.2)"."""
    return f"{__version__} ({flavour()}, {platform.python_implementation()} {platform.python_version()})"
