"""Intervals: against plain Python, their coverage, and what they do at the edges."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overlap.analysis.intervals import gain_interval, independent_kappa, kappa_interval
from tests.reference import consistency
from tests.reference import intervals as reference

TABLES = st.tuples(*[st.integers(0, 60)] * 4)


@pytest.mark.parametrize(
    "table", [(600, 80, 60, 260), (30, 5, 0, 5), (0, 3, 4, 0), (900, 0, 0, 20), (39_000, 2000, 3000, 6000)]
)
def test_posterior_is_that_of_plain_python(table: tuple[int, int, int, int]) -> None:
    low, high = (end[0] for end in kappa_interval(*(np.array([count]) for count in table)))
    expected = reference.kappa_interval(table, 40_000, seed=1)
    estimate = consistency.kappa(table)
    assert estimate is not None
    width = expected[1] - expected[0]
    assert low == pytest.approx(min(expected[0], float(estimate)), abs=0.06 * width)
    assert high == pytest.approx(max(expected[1], float(estimate)), abs=0.06 * width)


@pytest.mark.parametrize(
    ("cells", "n"),
    [((0.70, 0.06, 0.05, 0.19), 1400), ((0.88, 0.03, 0.02, 0.07), 400), ((0.40, 0.20, 0.15, 0.25), 200)],
)
def test_kappa_interval_covers(cells: tuple[float, ...], n: int) -> None:
    """About 95% of samples have the true kappa in their interval, and none has an interval of no width."""
    p11, p10, p01, _ = cells
    a, b = p11 + p10, p11 + p01
    truth = 1 - (p10 + p01) / (a * (1 - b) + b * (1 - a))
    samples = np.random.default_rng(5).multinomial(n, cells, size=4000)
    low, high = kappa_interval(*samples.T)
    covered = float(((low <= truth) & (truth <= high)).mean())
    assert 0.935 <= covered <= 0.965  # four standard errors of 4,000 samples are 0.014
    assert (high > low).all()


@given(st.lists(TABLES, min_size=2, max_size=4))
@settings(max_examples=25, deadline=None)
def test_kappa_interval_depends_on_its_own_counts_alone(tables: list[tuple[int, int, int, int]]) -> None:
    together = kappa_interval(*np.array(tables).T)
    for place, (both, only_a, only_b, neither) in enumerate(tables):
        alone = kappa_interval(*np.array([[both, only_b, only_a, neither]]).T)  # a and b change places
        for ends, end in zip(together, alone, strict=True):
            assert np.array_equal(ends[place], end[0], equal_nan=True)
        estimate = consistency.kappa((both, only_a, only_b, neither))
        if estimate is None:
            assert np.isnan(alone[0][0])
            assert np.isnan(alone[1][0])
        else:
            assert -1 - 1e-12 <= alone[0][0] <= float(estimate) + 1e-12
            assert float(estimate) - 1e-12 <= alone[1][0] <= 1 + 1e-12


@given(st.integers(1, 30).flatmap(lambda n: st.tuples(st.integers(0, n), st.integers(0, n), st.just(n))))
@settings(deadline=None)
def test_independent_kappa_is_exact(margins: tuple[int, int, int]) -> None:
    right_a, right_b, n = margins
    low, high = independent_kappa(np.array([right_a]), np.array([right_b]), n)
    expected = consistency.independent_kappa(right_a, right_b, n)
    if consistency.attainable_kappa(right_a, right_b, n) is None:
        assert np.isnan([low[0], high[0]]).all()
    else:
        assert expected is not None
        assert (low[0], high[0]) == pytest.approx([float(end) for end in expected], abs=1e-9)


def test_independent_kappa_holds_95_percent_of_simulated_observers() -> None:
    """Geirhos' way: both draw their right answers at random, and kappa is computed as from data."""
    random, n, a, b = np.random.default_rng(3), 2000, 0.8, 0.7
    kappas, right_a, right_b = [], [], []
    for _ in range(3000):
        first, second = random.random(n) < a, random.random(n) < b
        right_a.append(first.sum())
        right_b.append(second.sum())
        observed = consistency.kappa(
            (
                int((first & second).sum()),
                int((first & ~second).sum()),
                int((~first & second).sum()),
                int((~first & ~second).sum()),
            )
        )
        assert observed is not None
        kappas.append(float(observed))
    low, high = independent_kappa(np.array([int(n * a)]), np.array([int(n * b)]), n)
    inside = np.mean((np.array(kappas) >= low) & (np.array(kappas) <= high))
    assert 0.935 <= inside <= 0.965


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.integers(0, n), st.just(n))))
def test_gain_interval_is_agresti_and_min(counts: tuple[int, int, int]) -> None:
    plus, minus, n = counts[0], min(counts[1], counts[2] - counts[0]), counts[2]
    low, high = gain_interval(np.array([plus]), np.array([minus]), n)
    assert (low[0], high[0]) == pytest.approx(reference.gain_interval(plus, minus, n), abs=1e-12)
    assert low[0] <= (plus - minus) / n <= high[0]
    assert low[0] < high[0]


@pytest.mark.parametrize(("plus", "minus"), [(0.02, 0.01), (0.1, 0.02), (0.005, 0.001), (0.3, 0.3)])
@pytest.mark.parametrize("n", [60, 200])
def test_gain_interval_covers(plus: float, minus: float, n: int) -> None:
    """Exact coverage: every outcome by its probability."""
    outcomes = [(k, j) for k in range(n + 1) for j in range(n + 1 - k)]
    more, less = np.array(outcomes).T
    probability = np.array(
        [comb(n, k) * comb(n - k, j) * plus**k * minus**j * (1 - plus - minus) ** (n - k - j) for k, j in outcomes]
    )
    low, high = gain_interval(more, less, n)
    covered = probability[(low <= plus - minus) & (plus - minus <= high)].sum()
    assert probability.sum() == pytest.approx(1)
    assert covered >= 0.935


def test_no_images_no_interval() -> None:
    nothing = np.zeros(2, np.int64)
    for ends in (
        gain_interval(nothing, nothing, 0),
        independent_kappa(nothing, nothing, 0),
        kappa_interval(*[nothing] * 4),
    ):
        assert all(np.isnan(end).all() for end in ends)
