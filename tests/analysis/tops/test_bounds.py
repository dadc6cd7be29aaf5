"""Bounds of what is not stored contain what all logits say, for every temperature that calibration allows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overlap.analysis import calibration
from overlap.analysis.tops.bounded import Bounded
from overlap.analysis.tops.moments import GRID, KEPT, moments
from overlap.analysis.tops.normaliser import Rest, bounds
from tests.analysis.tops.zoo import KINDS, bounded_of, logits_of
from tests.reference import tops as reference


def full(logits: np.ndarray, temperature: float) -> list[float]:
    return [reference.total(row, temperature) for row in logits.astype(np.float64).tolist()]


def check(logits: np.ndarray, temperature: float) -> Bounded:
    one = bounded_of(logits, np.full(len(logits), temperature))
    for place, t in enumerate((1.0, temperature)):
        exact = np.log(full(logits, t))
        assert (one.low[place] <= exact).all()
        assert (exact <= one.high[place]).all()
    return one


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", [0.01, 0.02, 0.2, 0.4, 0.71, 0.9, 1.0, 1.3, 1 / 0.7, 2.5, 7, 60, 100])
def test_the_sum_over_all_classes_is_within_its_bounds(kind: str, temperature: float) -> None:
    check(logits_of(kind, 40, 300), temperature)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    classes=st.integers(KEPT + 1, 200),
    scale=st.floats(0, 400),
    rounding=st.sampled_from([0, 1, 4, 64]),
    inverse=st.floats(np.log(GRID[0]), np.log(GRID[-1])),
)
def test_whatever_the_logits_and_the_temperature(
    seed: int, classes: int, scale: float, rounding: int, inverse: float
) -> None:
    random = np.random.default_rng(seed)
    z = random.standard_normal((6, classes)) * scale
    if rounding:  # ties, of the 64th and others among them
        z = np.round(z / rounding) * rounding
    temperature = float(np.clip(1 / np.exp(inverse), *calibration.BOUNDS))
    check(z.astype(np.float16), temperature)


def test_bounds_are_tight_where_networks_are_calibrated() -> None:
    logits = logits_of("wide", 200, 1000)
    for temperature in (0.5, 0.8, 1.2, 1.9):
        one = check(logits, temperature)
        assert np.mean(one.high[1] - one.low[1]) < 2e-5
        assert np.max(one.high[0] - one.low[0]) < 5e-6


def test_beyond_the_grid_there_are_no_bounds() -> None:
    rest = Rest(np.zeros((1, len(GRID))), np.zeros((1, len(GRID))), np.zeros(1), np.zeros(1))
    for inverse in (GRID[0] * 0.999, GRID[-1] * 1.001, np.nan):
        with pytest.raises(ValueError, match="outside the moments'"):
            bounds(rest, inverse)
    assert (1 / calibration.BOUNDS[1], 1 / calibration.BOUNDS[0]) == pytest.approx((GRID[0], GRID[-1]))


def test_moments_are_those_of_plain_sums_whatever_the_block() -> None:
    logits = logits_of("wide", 9, 80)
    listed = np.array([reference.listed(row, KEPT) for row in logits.tolist()])
    found = moments(logits, listed)
    for row, classes, each in zip(logits.astype(np.float64), listed, found, strict=True):
        z = np.delete(row, classes) - row.max()
        for place, inverse in enumerate(GRID):
            weight = np.exp((z - z.max()) * inverse)
            assert each[place, 0] == pytest.approx(np.log(weight.sum()) + z.max() * inverse, rel=1e-6, abs=1e-6)
            assert each[place, 1] == pytest.approx((weight * z).sum() / weight.sum(), rel=1e-6, abs=1e-6)
    assert (moments(logits[3:5], listed[3:5]) == found[3:5]).all()
