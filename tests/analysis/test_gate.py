"""The accuracy gate: intervals against plain sums, orders against all permutations, faults put in and found."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from overlap.analysis import class_orders
from overlap.analysis.class_orders import OTHER, known_orders
from overlap.analysis.gate import Tolerance, Verdict, judge
from tests.reference import gate as reference

KEYS = [f"image-{number:05}" for number in range(6000)]
STRINGS = "the head is in the order of class numbers sorted as text (0, 1, 10, 11, …)"


def answers(classes: int, accuracy: float, n: int = 6000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and predictions that are right this often and else any class."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, n)
    return np.where(random.random(n) < accuracy, labels, random.integers(0, classes, n)), labels


def verdict(prediction: np.ndarray, labels: np.ndarray, published: float, classes: int, gated: int = 1) -> Verdict:
    fit = class_orders.halves(KEYS[: len(labels)])
    tolerance = Tolerance(gated=gated)
    known = known_orders(classes)
    return judge("m", prediction, labels, (published, "study"), tolerance, fit=fit, classes=classes, known=known)


@given(st.integers(1, 40).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from([1, 7]))
def test_the_interval_is_that_of_plain_sums(table: tuple[int, int], gated: int) -> None:
    tolerance = Tolerance(level=0.95, allowance=0.0, gated=gated)
    expected = reference.exact_interval(*table, 0.05 / gated)
    assert tolerance.interval(*table) == pytest.approx(expected, abs=1e-9)


@given(st.integers(0, 200), st.integers(1, 200), st.integers(2, 1000))
def test_a_tolerance_widens_with_the_zoo_and_the_allowance_and_narrows_with_the_sample(
    right: int, n: int, gated: int
) -> None:
    right = min(right, n)
    low, high = Tolerance().interval(right, n)
    wider = Tolerance(gated=gated).interval(right, n)
    more = Tolerance().interval(right * 100, n * 100)
    whole = Tolerance(population=n).interval(right, n)
    part = Tolerance(population=2 * n).interval(right, n)
    assert wider[0] <= low <= part[0] <= whole[0] <= right / n <= whole[1] <= part[1] <= high <= wider[1]
    assert low <= more[0] <= more[1] <= high
    assert whole == pytest.approx((max(0, right / n - 0.003), min(1, right / n + 0.003)))


def test_good_checkpoints_of_a_large_zoo_pass() -> None:
    """At 99%, a zoo of 500 good ones is thinned at all in one case of a hundred at most."""
    random = np.random.default_rng(1)
    thinned = 0
    for _ in range(200):
        right = random.binomial(5000, 0.8, 500)
        low, high = np.transpose([Tolerance(allowance=0, gated=500).interval(int(count), 5000) for count in set(right)])
        thinned += bool((low > 0.8).any() or (high < 0.8).any())
    assert thinned <= 6


@given(arrays(np.int64, st.integers(1, 6).map(lambda k: (k, k)), elements=st.integers(0, 5)))
def test_the_best_order_is_the_best_of_all(counts: np.ndarray) -> None:
    order = class_orders.best_order(counts)
    assert sorted(order) == list(range(len(counts)))
    right = int(counts[np.arange(len(counts)), order].sum())
    fixed = int((order == np.arange(len(counts))).sum())
    assert (right, fixed) == reference.best_order(counts.tolist())


@given(arrays(np.int64, 50, elements=st.integers(-1, 7)), arrays(np.int64, 50, elements=st.integers(0, 4)))
def test_a_confusion_matrix_counts_images(prediction: np.ndarray, labels: np.ndarray) -> None:
    counts = class_orders.confusion(prediction, labels, 5)
    for output in range(5):
        for label in range(5):
            pairs = zip(prediction.tolist(), labels.tolist(), strict=True)
            assert counts[output, label] == sum(pair == (output, label) for pair in pairs)


@pytest.mark.parametrize("name", known_orders(25))
def test_a_known_order_is_named(name: str) -> None:
    prediction, labels = answers(25, 0.7)
    order = known_orders(25)[name]
    outputs = np.full(25, -1)
    outputs[order[order >= 0]] = np.flatnonzero(order >= 0)  # the output that stands for a class
    faulty = outputs[prediction]
    found = verdict(faulty, labels, float((prediction == labels).mean()), 25)
    assert not found.passed
    assert found.order is not None
    assert found.order.name == name
    assert found.order.mapping == tuple(order)
    assert found.causes[0].startswith(f"label order: {name}")
    if sorted(order) == list(range(25)):  # else the images of a class are lost, which it does not explain
        assert len(found.causes) == 1


def test_any_other_order_is_found() -> None:
    prediction, labels = answers(100, 0.6)
    order = np.random.default_rng(2).permutation(100)
    found = verdict(np.argsort(order)[prediction], labels, 0.604, 100)
    assert found.order is not None
    assert found.order.name == OTHER
    assert np.mean(np.array(found.order.mapping) == order) > 0.95
    assert found.order.accuracy == pytest.approx(0.6, abs=0.04)
    assert found.order.right_before / found.order.images < 0.05


def test_two_classes_exchanged_are_found_and_no_others_moved() -> None:
    prediction, labels = answers(20, 0.9)
    swap = np.arange(20)
    swap[[3, 4]] = 4, 3
    found = verdict(swap[prediction], labels, 0.905, 20)
    assert found.order is not None
    assert found.order.moved == 2
    assert found.order.mapping == tuple(swap)


@pytest.mark.parametrize("seed", range(5))
def test_chance_does_not_make_an_order(seed: int) -> None:
    """With many classes some permutation always fits the half it was chosen on."""
    random = np.random.default_rng(seed)
    labels, prediction = random.integers(0, 200, (2, 2000))
    fit = class_orders.halves(KEYS[:2000])
    fitted = class_orders.best_order(class_orders.confusion(prediction[fit], labels[fit], 200))
    assert (fitted[prediction[fit]] == labels[fit]).mean() > 5 / 200
    found = verdict(prediction, labels, 0.8, 200)
    assert not found.passed
    assert found.order is None
    assert found.causes[0] == "wrong weights, or a head that was never trained: no better than chance"


def test_an_order_that_brings_back_a_part_is_no_explanation() -> None:
    """As a wrong crop does it: each class is mostly taken for one other, and seldom for itself."""
    _, labels = answers(10, 0.8)
    random = np.random.default_rng(4)
    mixed = np.where(random.random(6000) < 0.4, (labels + 3) % 10, random.integers(0, 10, 6000))
    found = verdict(mixed, labels, 0.8, 10)
    assert class_orders.explain(mixed, labels, class_orders.halves(KEYS), 10, known_orders(10), 0.01) is not None
    assert found.order is None
    assert not any("label order" in cause for cause in found.causes)


def test_what_is_as_published_passes_and_what_is_a_little_off_is_told_from_what_is_far_off() -> None:
    prediction, labels = answers(10, 0.8)
    measured = float((prediction == labels).mean())
    assert verdict(prediction, labels, measured + 0.01, 10).passed
    assert verdict(prediction, labels, measured - 0.01, 10).passed
    little = verdict(prediction, labels, measured + 0.05, 10)
    assert little.causes[0].startswith("crop")
    assert "published 8" in little.reason
    far = verdict(prediction, labels, measured + 0.15, 10)
    assert far.causes[0] == "wrong weights"
    better = verdict(prediction, labels, measured - 0.15, 10)
    assert better.causes[0].startswith("other weights")
    one_sided = verdict(np.where(np.arange(6000) % 4 > 0, 2, prediction), labels, measured, 10)
    assert one_sided.causes[0].startswith("pixels are scaled otherwise (mean, std): ")


def test_no_images_and_predictions_of_no_class_are_no_trouble() -> None:
    nothing = np.array([], np.int64)
    assert verdict(nothing, nothing, 0.5, 10).passed
    prediction, labels = answers(10, 0.8)
    foreign = verdict(np.where(prediction < 5, 99, prediction), labels, 0.8, 10)
    assert not foreign.passed
    with pytest.raises(ValueError, match="does not name each of 3 classes once"):
        known_orders(3, {"broken": [0, 1, 1]})


def test_an_order_given_by_the_study_is_tried_in_both_directions() -> None:
    devkit = np.random.default_rng(3).permutation(30)
    named = known_orders(30, {"the devkit": devkit.tolist()})
    assert (named["the head is in the order of the devkit"] == devkit).all()
    back = named["the data is in the order of the devkit, the head is not"]
    assert (back[devkit] == np.arange(30)).all()
    assert STRINGS in named
