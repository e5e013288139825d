"""A busy daemon rests between two looks, an idle one does not."""

from __future__ import annotations

from copytool.io.pace import Pace


def test_little_to_do_is_done_at_once() -> None:
    """A few packets at a time never wait."""
    pace = Pace()
    assert [pace.after(done, 0.001) for done in (0, 1, 3, 3, 6)] == [0.0] * 5


def test_much_to_do_may_collect() -> None:
    """Longer while nobody waits for it; and no longer than there is much."""
    pace = Pace()
    assert pace.after(100, 0.001) == 0.001
    assert pace.after(200, 0.0001) == 0.0001
    assert pace.after(201, 0.001) == 0.0
