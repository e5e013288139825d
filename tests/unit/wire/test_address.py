"""Packed addresses as people write them."""

from __future__ import annotations

import pytest

from copytool.wire.address import format_address


@pytest.mark.parametrize(
    ("packed", "text"), [("c0a83265", "192.168.50.101"), ("fd50" + "0" * 27 + "1", "fd50::1"), ("0" * 32, "::")]
)
def test_format_address(packed: str, text: str) -> None:
    """IPv4 and IPv6 addresses have their usual form."""
    assert format_address(bytes.fromhex(packed)) == text
