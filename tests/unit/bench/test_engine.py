"""The engine's benchmark measures what it says: each captured segment makes a packet, and everything adds up."""

from __future__ import annotations

import pytest

from bench.engine import Load, measure


def test_every_segment_is_mirrored() -> None:
    """A batch of requests comes out as as many packets, and their answers release the next ones."""
    load = Load(3)
    load.open()
    batches = list(load.batches(4))
    assert [load.run(batch) for batch in batches] == [3] * 4
    counters = load.engine.counters
    assert counters.outcomes["active"] == 3 and load.engine.imbalance() == []
    assert counters.release.answered == 3 * 3, "the first turn of a session follows no answer"
    assert counters.release.quiet == counters.release.held == 0


def test_figures() -> None:
    """So many segments on so many sessions."""
    result = measure(5, 100)
    assert (result["sessions"], result["segments"]) == (5, 100)
    assert result["us_per_segment"] == pytest.approx(1e6 / result["segments_per_second"])
