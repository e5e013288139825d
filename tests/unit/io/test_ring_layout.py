"""How copy divides its capture ring."""

from __future__ import annotations

import pytest

from copytool.io.copy_daemon import ring_layout

KIB, MIB = 1024, 1024 * 1024


@pytest.mark.parametrize(
    ("ring_mib", "layout"),
    [
        (1, (128 * KIB, 8)),
        (32, (128 * KIB, 256)),
        (128, (128 * KIB, 1024)),
        (512, (512 * KIB, 1024)),
        (4096, (1 * MIB, 4096)),
    ],
)
def test_many_blocks_before_large_ones(ring_mib: int, layout: tuple[int, int]) -> None:
    """A block lasts a millisecond of light traffic, so blocks only grow when there are a thousand of them."""
    assert ring_layout(ring_mib * MIB) == layout
