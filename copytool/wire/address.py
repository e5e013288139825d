"""Packed IP addresses as text."""

from __future__ import annotations

from ipaddress import ip_address

__all__ = ["format_address"]


def format_address(packed: bytes) -> str:
    """Return a 4- or 16-byte address as text."""
    return str(ip_address(packed))
