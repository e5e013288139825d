"""The target's window: scaling, and what is worth sending into it."""

from __future__ import annotations

import pytest

from copytool.mirror.send_window import SendWindow


@pytest.mark.parametrize(("offered", "accepted", "shift"), [(7, 3, 3), (-1, 3, 0), (7, -1, 0), (0, 0, 0)])
def test_scaling_needs_both_sides(offered: int, accepted: int, shift: int) -> None:
    """The SYN/ACK's own window is not scaled; later ones are, if both SYNs had the option."""
    window = SendWindow(offered)
    window.open(1000, accepted)
    assert window.octets == 1000
    assert window.scaled(1000) == 1000 << shift


def test_whole_segments_or_half_of_the_largest_window() -> None:
    """Small room is left alone unless the target never has more."""
    window = SendWindow(0)
    window.open(4000, 0)
    assert window.usable(1000, 1000) == 1000
    assert window.usable(1000, 999) == 0
    assert window.usable(3000, 2000) == 2000
    window.set(100)
    assert window.octets == 100
    assert window.usable(1000, 100) == 0
    assert SendWindow(0).usable(1000, 0) == 0
