"""The order of features by their covariance with the other model's."""

from __future__ import annotations

import numpy as np
import pytest

from overlap.analysis.features.diversity import covariance_with_other, most_diverse_first


def test_shared_features_come_last_and_constant_ones_after_them() -> None:
    random = np.random.default_rng(0)
    shared = random.standard_normal((5000, 2))
    a = np.concatenate([random.standard_normal((5000, 2)), shared, np.full((5000, 1), 3.0)], axis=1)
    b = np.concatenate([shared + 0.5 * random.standard_normal((5000, 2)), random.standard_normal((5000, 2))], axis=1)
    order = most_diverse_first(a.astype(np.float32), b.astype(np.float32)).tolist()
    assert set(order[:4]) == {0, 1, 7, 8}
    assert set(order[4:8]) == {2, 3, 5, 6}
    assert order[8] == 4
    scaled = most_diverse_first((a * -1000 + 7).astype(np.float32), b.astype(np.float32)).tolist()
    assert scaled[:4] == order[:4]


def test_values_are_root_mean_square_correlations() -> None:
    random = np.random.default_rng(1)
    a, b = (random.standard_normal((300, d)).astype(np.float32) for d in (3, 4))
    of_a, of_b = covariance_with_other(a, b)
    for feature in range(3):
        found = [np.corrcoef(a[:, feature], b[:, other])[0, 1] ** 2 for other in range(4)]
        assert of_a[feature] == pytest.approx(np.mean(found) ** 0.5)
    assert (of_b**2).sum() / 4 == pytest.approx((of_a**2).sum() / 3)


def test_degenerate() -> None:
    constant = np.ones((10, 3), np.float32)
    assert most_diverse_first(constant, constant).tolist() == list(range(6))
    assert most_diverse_first(constant[:0], constant[:0]).tolist() == list(range(6))
    varied = np.arange(10, dtype=np.float32)[:, None]
    assert most_diverse_first(constant, varied).tolist() == [3, 0, 1, 2]
