"""The largest probabilities: those of sorting everything, whatever the blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overlap.analysis import calibration, truths
from overlap.analysis.ensembles.largest import Largest, joined, largest
from tests.analysis.ensembles.zoo import from_probabilities, several


def same(found: Largest, expected: Largest) -> None:
    for name in ("values", "classes", "tail", "right"):
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name


@given(
    st.integers(0, 30), st.integers(1, 9), st.integers(1, 12), st.integers(1, 4), st.integers(0, 2**32), st.booleans()
)
@settings(max_examples=60, deadline=None)
def test_largest_is_sorting_all_classes(n: int, classes: int, kept: int, pieces: int, seed: int, ties: bool) -> None:
    random = np.random.default_rng(seed)
    logits = random.normal(0, 3, (n, classes)).astype(np.float16)
    if ties:
        logits = random.integers(0, 3, (n, classes)).astype(np.float16)
    labels = several(random.integers(0, classes, n), classes, random)
    temperature = random.uniform(0.5, 2, n)
    expected = from_probabilities(calibration.probabilities(logits, temperature), labels, kept)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibration, "CHUNK", int(random.integers(1, 40)))
        blocks = [logits[images] for images in np.array_split(np.arange(n), pieces)]
        same(largest(blocks, temperature, labels, kept), expected)
    ranges = np.array_split(np.arange(n), pieces)
    same(joined([largest([logits[r]], temperature[r], labels[r], kept) for r in ranges]), expected)
    same(joined([expected.take(r) for r in ranges]), expected)


def test_what_is_not_kept_is_below_the_tail() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (50, 200)).astype(np.float16)
    labels = random.integers(0, 200, 50)
    found = largest([logits], np.ones(50), labels, 8)
    everything = calibration.probabilities(logits, np.ones(50))
    np.put_along_axis(everything, found.classes.astype(np.int64), -1, 1)
    assert (everything.max(axis=1) == found.tail).all()
    assert found.values.dtype == found.tail.dtype == np.float32
    assert found.classes.dtype == np.int16
    assert (found.right == truths.right(logits.argmax(axis=1), labels)).all()


def test_many_classes() -> None:
    logits = np.zeros((2, 33_000), np.float16)
    logits[:, -1] = 5
    found = largest([logits], np.ones(2), np.array([32_999, 0]), 3)
    assert found.classes.dtype == np.int32
    assert found.classes.tolist() == [[32_999, 0, 1]] * 2
    assert found.right.tolist() == [True, False]


def test_arrays_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="3 rows of logits for 2 temperatures"):
        largest([np.zeros((3, 2), np.float16)], np.ones(2), np.zeros(3, int))
