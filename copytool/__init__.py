"""copytool mirrors live TCP sessions from a production service onto a test copy of it."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
