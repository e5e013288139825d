"""What the benchmark says when it cannot go on."""

from __future__ import annotations

__all__ = ["BenchError"]


class BenchError(Exception):
    """Something that the user can mend; the text says what and how."""
