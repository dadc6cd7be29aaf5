"""Theta and its histograms against atan2 image by image; signs, additivity, and what is refused."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overlap.analysis.pairs import CATEGORIES
from overlap.analysis.specialisation.angles import BINS, SPLITS, UNITS, angles, theta_counts, theta_table
from tests.analysis.specialisation.confidences import categories_of, zoo
from tests.reference import specialisation as reference

SHARES = st.floats(2**-20, 1, width=32)


def theta(first: list[float], second: list[float]) -> np.ndarray:
    found = np.empty(len(first), np.int32)
    angles(np.array(first, np.float32), np.array(second, np.float32), found)
    return found


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.tuples(SHARES, SHARES), min_size=1, max_size=20))
def test_theta_is_atan2_to_within_one_unit_and_changes_sign_with_the_order(points: list[tuple[float, float]]) -> None:
    first, second = map(list, zip(*points, strict=True))
    found = theta(first, second)
    expected = [reference.theta(a, b) for a, b in points]
    np.testing.assert_allclose(found / UNITS, expected, rtol=0, atol=1 / UNITS)
    np.testing.assert_array_equal(theta(second, first), -found)


def test_theta_at_the_ends_and_on_the_diagonal() -> None:
    assert theta([1, 0.3, 0.001, 1e-30], [1, 0.3, 0.001, 1]).tolist() == [0, 0, 0, -45 * UNITS]
    assert theta([1], [1e-30]).tolist() == [45 * UNITS]


def test_histograms_are_those_of_the_plain_count() -> None:
    confidence, correct, labels = zoo(6, 257, 4, seed=3)
    confidence[1] = confidence[0]  # equal confidences: in the middle bin
    apart = np.ones(257, np.bool_)
    for a, b in combinations(range(6), 2):  # which bin is right within rounding of an edge, nobody can say
        edge = np.degrees(np.arctan2(confidence[a], confidence[b])) % 2  # bins begin at whole even degrees, from 0
        apart &= (edge > 2 / UNITS) & (edge < 2 - 2 / UNITS)
    confidence, correct, labels = confidence[:, apart], correct[:, apart], labels[apart]
    assert len(labels) > 200
    categories = categories_of(6)
    right = correct.sum(axis=1)
    expected: Counter[tuple[str | None, str, int]] = Counter()
    for a, b in combinations(range(6), 2):
        one, two = (b, a) if right[b] > right[a] else (a, b)
        for x in range(len(labels)):
            angle = reference.theta(float(confidence[one, x]), float(confidence[two, x]))
            place = int((angle + 45) // 2)
            expected[categories[a, b], reference.split(correct[one, x], correct[two, x]), place] += 1
    table = theta_table(theta_counts(confidence, correct, right, categories))
    found = {(row["category"], row["split"], row["bin"]): row["count"] for row in table.iter_rows(named=True)}
    assert {place: count for place, count in found.items() if count} == dict(expected)
    assert table["count"].sum() == 15 * len(labels)
    assert len(table) == len({category for category, *_ in expected}) * len(SPLITS) * BINS
    middle = table.filter(table["bin"] == 22)
    assert (middle["low"].unique().to_list(), middle["high"].unique().to_list()) == ([-1.0], [1.0])
    assert (table["low"].min(), table["high"].max()) == (-45.0, 45.0)


def test_counts_add_up_over_blocks_of_images_and_ranges_of_pairs() -> None:
    confidence, correct, _ = zoo(7, 5000, 4)
    categories, right = categories_of(7), correct.sum(axis=1)
    whole = theta_counts(confidence, correct, right, categories)
    parts = sum(
        theta_counts(confidence[:, block], correct[:, block], right, categories, rows=rows)
        for block in (slice(0, 1), slice(1, 2500), slice(2500, 5000))
        for rows in (slice(0, 9), slice(9, 21))
    )
    np.testing.assert_array_equal(whole, parts)
    assert whole.sum() == 21 * 5000
    assert whole.shape == (len(CATEGORIES) + 1, len(SPLITS), BINS)


def test_identical_models_are_all_in_the_middle() -> None:
    confidence, correct, _ = zoo(1, 40, 4)
    counts = theta_counts(np.repeat(confidence, 3, 0), np.repeat(correct, 3, 0), np.repeat(correct.sum(1), 3))
    assert counts[-1, 0, 22] == counts.sum() == 3 * 40


@pytest.mark.parametrize("shape", [(0, 0), (1, 5), (4, 0)])
def test_without_pairs_or_images_the_table_is_empty(shape: tuple[int, int]) -> None:
    empty = theta_counts(np.ones(shape), np.ones(shape), np.zeros(shape[0]))
    assert empty.sum() == 0
    assert theta_table(empty).is_empty()


@pytest.mark.parametrize(
    ("confidence", "correct"),
    [
        (np.ones((2, 3)), np.ones((2, 4))),
        (np.zeros((2, 3)), np.ones((2, 3))),
        (np.full((2, 3), np.nan), np.ones((2, 3))),
        (np.full((2, 3), 1.5), np.ones((2, 3))),
    ],
)
def test_what_is_no_confidence_is_refused(confidence: np.ndarray, correct: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"confidences (of shape|from)"):
        theta_counts(confidence, correct, np.zeros(2))
