"""Ranks and paired tests: against plain Python, what must hold of any, and how often chance alone is called news."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from overlap.analysis.bits import packed
from overlap.analysis.ensembles.successors import successions
from overlap.analysis.intervals import gain_interval
from overlap.analysis.newcomers import only_right, rank
from overlap.analysis.paired import holm, sign_test
from tests.reference import paired as reference

BITS = st.tuples(st.integers(1, 7), st.integers(1, 60), st.integers(0, 2**32 - 1)).map(
    lambda drawn: (
        np.random.default_rng(drawn[2]).random(drawn[:2]) < np.random.default_rng(drawn[2]).random((drawn[0], 1))
    )
)


@given(st.integers(0, 300), st.integers(0, 300))
def test_the_sign_test_is_that_of_plain_python(plus: int, minus: int) -> None:
    found = float(sign_test(np.array(plus), np.array(minus)))
    assert found == pytest.approx(float(reference.sign_test(plus, minus)), rel=1e-9)
    assert found == float(sign_test(np.array(minus), np.array(plus)))


def test_the_sign_test_on_many_images() -> None:
    assert float(sign_test(np.array(25_500), np.array(24_500))) == pytest.approx(7.9e-6, rel=0.02)  # 1,000 / √50,000
    assert sign_test(np.array([0, 5]), np.array([0, 5])).tolist() == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), max_size=8))
def test_adjusted_p_values_reject_what_holms_steps_reject(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert [p is not None and p < 0.05 for p in adjusted] == reference.holm(p_values, 0.05)
    assert all(p is not None and p >= raw for p, raw in zip(adjusted, p_values, strict=True))


@given(BITS)
@settings(deadline=None)
def test_ranks_and_images_that_only_one_gets_right(right: NDArray[np.bool_]) -> None:
    words, plain = packed(right), right.tolist()
    ranks = [rank(row, words) for row in range(len(right))]
    assert [(one.place, one.low, one.high) for one in ranks] == [
        reference.rank(row, plain) for row in range(len(plain))
    ]
    assert all(1 <= one.low <= one.place <= one.high <= one.of == len(right) for one in ranks)
    assert only_right(right).tolist() == reference.only_right(plain)


@given(BITS)
@settings(deadline=None)
def test_a_copy_of_a_model_leaves_nothing_that_either_alone_gets_right(right: NDArray[np.bool_]) -> None:
    doubled = np.vstack([right, right[:1]])
    assert only_right(doubled)[[0, -1]].tolist() == [0, 0]
    assert only_right(doubled)[1:-1].tolist() == only_right(right)[1:].tolist()
    first, copy = rank(0, packed(doubled)), rank(len(right), packed(doubled))
    assert first == copy


@given(BITS, st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_successions_are_paired_and_turn_round(before: NDArray[np.bool_], seed: int) -> None:
    now = before ^ (np.random.default_rng(seed).random(before.shape) < 0.2)
    forth, back = successions(before, now), successions(now, before)
    for place, (one, other) in enumerate(zip(forth, back, strict=True)):
        assert one.gain == pytest.approx(one.accuracy_now - one.accuracy_before) == -other.gain
        assert (one.p_value, one.p_adjusted, one.beyond) == (other.p_value, other.p_adjusted, other.beyond)
        assert one.p_adjusted >= one.p_value
        plus, minus = int((now & ~before)[place].sum()), int((before & ~now)[place].sum())
        assert one.p_value == pytest.approx(float(reference.sign_test(plus, minus)))
        assert (one.gain_low, one.gain_high) == tuple(map(float, gain_interval(plus, minus, before.shape[1])))
    assert [one.beyond for one in forth] == reference.holm([one.p_value for one in forth], 0.05)
    order = np.random.default_rng(seed).permutation(before.shape[1])
    assert successions(before[:, order], now[:, order]) == forth
    assert all(one.gain == 0 and not one.beyond for one in successions(before, before))


def test_nothing_to_compare_is_nothing() -> None:
    nothing = np.zeros((0, 5), np.bool_)
    assert successions(nothing, nothing) == []
    assert successions(np.zeros((2, 0), np.bool_), np.zeros((2, 0), np.bool_)) == []
    with pytest.raises(ValueError, match="do not fit"):
        successions(nothing, np.zeros((1, 5), np.bool_))


def test_of_changes_that_mean_nothing_few_sets_have_any_beyond_chance() -> None:
    """Twelve nested sizes whose changed images are decided by a coin: at most 5% of sets, though sizes are many."""
    rng = np.random.default_rng(3)
    found = uncorrected = 0
    for _ in range(400):
        before = rng.random((12, 300)) < 0.7
        flipped = rng.random((12, 300)) < 0.2
        now = np.where(flipped, rng.random((12, 300)) < 0.5, before)
        before = np.where(flipped, rng.random((12, 300)) < 0.5, before)
        told = successions(before, now)
        found += any(one.beyond for one in told)
        uncorrected += any(one.p_value < 0.05 for one in told)
    assert found / 400 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 400)
    assert uncorrected / 400 > 0.2, "which is what the correction is for"
