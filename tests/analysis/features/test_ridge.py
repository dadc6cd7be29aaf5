"""Ridge R² between two models' features: against normal equations, one inside the other, unrelated, degenerate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overlap.analysis.features.ridge import STRENGTHS, r_squared
from tests.reference import ridge as reference


def sight(random: np.random.Generator, latent: np.ndarray, dimension: int, noise: float = 0.3) -> np.ndarray:
    mixed = latent @ random.standard_normal((latent.shape[1], dimension))
    return (mixed + noise * random.standard_normal(mixed.shape) + random.uniform(-5, 5, dimension)).astype(np.float32)


@given(st.integers(0, 1000), st.integers(1, 6), st.integers(1, 6))
@settings(max_examples=10, deadline=None)
def test_it_is_the_regression_itself(seed: int, of_a: int, of_b: int) -> None:
    random = np.random.default_rng(seed)
    latent = random.standard_normal((120, 3))
    a, b = sight(random, latent, of_a), sight(random, latent, of_b)
    folds = (np.arange(120) % 5).astype(np.int8)
    a_from_b, b_from_a = r_squared(a, b, folds)
    assert a_from_b == pytest.approx(reference.r_squared(b.astype(float), a.astype(float), folds, STRENGTHS), abs=1e-6)
    assert b_from_a == pytest.approx(reference.r_squared(a.astype(float), b.astype(float), folds, STRENGTHS), abs=1e-6)


def test_one_contains_the_other_and_both_overlap() -> None:
    random = np.random.default_rng(0)
    latent = random.standard_normal((1500, 9))
    folds = random.integers(0, 5, 1500).astype(np.int8)
    whole, part = sight(random, latent, 20, 0.05), sight(random, latent[:, :4], 10, 0.05)
    part_from_whole, whole_from_part = r_squared(part, whole, folds)
    assert part_from_whole > 0.95
    assert whole_from_part < 0.6
    left, right = sight(random, latent[:, :6], 20, 0.05), sight(random, latent[:, 3:], 20, 0.05)
    assert all(0.3 < found < 0.7 for found in r_squared(left, right, folds))
    turned = (left @ np.linalg.qr(random.standard_normal((20, 20)))[0]).astype(np.float32)
    assert min(r_squared(left, turned, folds)) > 0.99


def test_unrelated_features_explain_nothing() -> None:
    random = np.random.default_rng(0)
    a, b = (random.standard_normal((1500, d)).astype(np.float32) for d in (64, 300))
    folds = random.integers(0, 5, 1500).astype(np.int8)
    assert max(r_squared(a, b, folds)) < 0.02
    assert max(r_squared(a[:200], b[:200], folds[:200])) < 0.05  # more regressors than images


def test_trained_elsewhere() -> None:
    random = np.random.default_rng(0)
    latent = random.standard_normal((900, 5))
    a, b = sight(random, latent, 8), sight(random, latent, 12)
    there = (a[:600], b[:600], random.integers(0, 5, 600).astype(np.int8))
    folds = np.zeros(300, np.int8)  # not used
    found = r_squared(a[600:], b[600:], folds, there)
    strength = reference.best(a[:600].astype(float), b[:600].astype(float), there[2] == 0, STRENGTHS)
    guess = reference.predict(a[:600].astype(float), b[:600].astype(float), a[600:].astype(float), strength)
    truth = b[600:].astype(float)
    shares = ((guess - truth) ** 2).sum(axis=0) / ((truth - truth.mean(axis=0)) ** 2).sum(axis=0)
    assert found[1] == pytest.approx(np.maximum(0, 1 - shares).mean(), abs=1e-6)


def test_degenerate_features() -> None:
    random = np.random.default_rng(0)
    folds = (np.arange(100) % 5).astype(np.int8)
    a = random.standard_normal((100, 4)).astype(np.float32)
    constant = np.full((100, 3), 77.7, np.float32)
    a_from_constant, constant_from_a = r_squared(a, constant, folds)
    assert a_from_constant == pytest.approx(0, abs=1e-9)
    assert np.isnan(constant_from_a)
    padded = np.concatenate([a, constant], axis=1)
    assert min(r_squared(a, padded, folds)) > 0.999
    assert np.isnan(r_squared(a[:1], a[:1], folds[:1])).all()
    assert np.isnan(r_squared(a[:0], a[:0], folds[:0])).all()
    assert np.isnan(r_squared(a, a, np.zeros(100, np.int8))).all()  # one fold: nothing to train on
    assert np.isfinite(r_squared(a[:3], a[:3], folds[:3])).all()
