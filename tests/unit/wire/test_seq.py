"""Sequence arithmetic behaves like integers that are at most half the space apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copytool.wire.seq import SEQ_MASK, seq_add, seq_diff, seq_lt

SEQS = st.integers(0, SEQ_MASK)
DISTANCES = st.integers(-(2**31), 2**31 - 1)


@given(SEQS, DISTANCES)
def test_diff_undoes_add(seq: int, distance: int) -> None:
    """Adding a distance and taking the difference gives the distance back, across the wrap too."""
    moved = seq_add(seq, distance)
    assert 0 <= moved <= SEQ_MASK
    assert seq_diff(moved, seq) == distance


@given(SEQS, DISTANCES)
def test_lt_is_the_sign_of_the_distance(seq: int, distance: int) -> None:
    """A number precedes every one that is up to 2**31 - 1 after it."""
    assert seq_lt(seq_add(seq, distance), seq) == (distance < 0)


@given(SEQS, st.integers(1, 2**31 - 1))
def test_order_is_antisymmetric(seq: int, distance: int) -> None:
    """Of two numbers less than half the space apart exactly one precedes the other."""
    later = seq_add(seq, distance)
    assert seq_lt(seq, later) and not seq_lt(later, seq)
    assert seq_diff(seq, later) == -seq_diff(later, seq)


def test_opposite_numbers_precede_each_other() -> None:
    """Exactly 2**31 apart there is no order: the documented answer is that both precede."""
    assert seq_lt(0, 2**31) and seq_lt(2**31, 0)
    assert seq_diff(0, 2**31) == seq_diff(2**31, 0) == -(2**31)


@pytest.mark.parametrize(
    ("seq", "count", "result"), [(SEQ_MASK, 1, 0), (0, -1, SEQ_MASK), (SEQ_MASK - 1, 1460, 1458), (7, 0, 7)]
)
def test_add_wraps(seq: int, count: int, result: int) -> None:
    """Addition wraps at 2**32 in both directions."""
    assert seq_add(seq, count) == result
