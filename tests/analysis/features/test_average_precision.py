"""11-point mAP: against plain Python, ties, classes without positives, and resamples as repeated images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overlap.analysis.features.average_precision import mean_average_precision, resamples
from tests.reference import average_precision as reference


def case(seed: int, images: int, classes: int, levels: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    positive = random.random((images, classes)) < 0.3
    scores = random.integers(0, levels, (images, classes)) + positive * random.integers(0, levels, (images, classes))
    return scores.astype(np.float32), positive


@given(st.integers(0, 1000), st.integers(1, 40), st.integers(1, 5), st.sampled_from([1, 3, 1000]))
@settings(max_examples=40, deadline=None)
def test_it_is_the_kit_s(seed: int, images: int, classes: int, levels: int) -> None:
    scores, positive = case(seed, images, classes, levels)
    drawn = resamples(images, 3)
    found = mean_average_precision(scores, positive, drawn)
    expected = reference.mean_average_precision(scores.tolist(), positive.tolist())
    assert found.value == pytest.approx(np.nan if expected is None else expected, nan_ok=True)
    assert found.classes + found.absent == classes
    assert found.absent == (~positive.any(axis=0)).sum()
    for weights, value in zip(drawn, found.drawn, strict=True):
        again = np.repeat(np.arange(images), weights)
        expected = reference.mean_average_precision(scores[again].tolist(), positive[again].tolist())
        assert value == pytest.approx(np.nan if expected is None else expected, nan_ok=True)


def test_perfect_and_constant_scores() -> None:
    _, positive = case(0, 200, 4, 3)
    drawn = resamples(200, 10)
    assert mean_average_precision(positive.astype(np.float32), positive, drawn).value == 1
    constant = mean_average_precision(np.zeros((200, 4), np.float32), positive, drawn)
    assert constant.value == pytest.approx(positive.mean(axis=0).mean())


def test_the_order_of_images_is_without_effect() -> None:
    scores, positive = case(1, 100, 3, 4)
    turned = np.random.default_rng(0).permutation(100)
    drawn = resamples(100, 1)
    first = mean_average_precision(scores, positive, drawn).value
    assert mean_average_precision(scores[turned], positive[turned], drawn).value == first


def test_no_images() -> None:
    found = mean_average_precision(np.zeros((0, 2), np.float32), np.zeros((0, 2), np.bool_), resamples(0, 4))
    assert np.isnan(found.value)
    assert (found.classes, found.absent) == (0, 2)
