"""`python -m copytool`."""

from __future__ import annotations

from .cli.main import entry_point

entry_point()
