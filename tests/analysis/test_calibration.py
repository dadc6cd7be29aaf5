"""Temperatures, calibrated probabilities, NLL, ECE and top-5 against plain Python; edges; independence of blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overlap.analysis import calibration
from overlap.analysis.calibration import calibration_error, log_probabilities, probabilities, temperatures
from overlap.analysis.splits import folds
from tests.analysis.zoo import calibrate, logits
from tests.reference import calibration as reference

N, K = 250, 6
ZOO, LABELS = logits(3, N, K)
FOLDS = folds([str(image) for image in range(N)])


@pytest.mark.parametrize("z", ZOO)
def test_temperatures_minimise_the_nll_outside_their_fold(z: np.ndarray) -> None:
    overall, of_folds = temperatures([z], LABELS, FOLDS)
    assert overall == pytest.approx(reference.temperature(z.tolist(), LABELS.tolist()), rel=1e-4)
    for fold, found in enumerate(of_folds):
        outside = fold != FOLDS
        expected = reference.temperature(z[outside].tolist(), LABELS[outside].tolist())
        assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("z", ZOO)
def test_figures_are_those_of_plain_python(z: np.ndarray) -> None:
    found = calibrate([z], LABELS, FOLDS)
    rows = [
        reference.log_probabilities(row, temperature)
        for row, temperature in zip(z.astype(float).tolist(), found.of(FOLDS), strict=True)
    ]
    right = (z.argmax(axis=1) == LABELS).tolist()
    assert found.nll == pytest.approx(-sum(row[y] for row, y in zip(rows, LABELS, strict=True)) / N, rel=1e-5)
    assert found.ece == pytest.approx(reference.calibration_error([np.exp(max(row)) for row in rows], right), abs=1e-5)
    top5 = sum(reference.in_top(row, y, 5) for row, y in zip(z.astype(float).tolist(), LABELS, strict=True)) / N
    assert found.top5 == top5
    assert log_probabilities(z, found.of(FOLDS)) == pytest.approx(np.array(rows), abs=1e-5)
    assert probabilities(z, found.of(FOLDS)) == pytest.approx(np.exp(rows), abs=1e-6)


@given(st.lists(st.integers(0, N), max_size=5), st.sampled_from([1, 100, 1 << 21]))
@settings(max_examples=20, deadline=None)
def test_neither_blocks_nor_chunks_change_a_bit(cuts: list[int], chunk: int) -> None:
    whole = calibrate([ZOO[0]], LABELS, FOLDS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibration, "CHUNK", chunk)
        pieces = calibrate(np.split(ZOO[0], sorted(cuts)), LABELS, FOLDS)
    assert repr(pieces) == repr(whole)


def test_scaling_the_logits_scales_the_temperature() -> None:
    doubled = (ZOO[0].astype(np.float32) * 2).astype(np.float16)
    first, second = calibrate([ZOO[0]], LABELS, FOLDS), calibrate([doubled], LABELS, FOLDS)
    assert second.temperature == pytest.approx(2 * first.temperature, rel=1e-5)
    assert second.nll == pytest.approx(first.nll, rel=1e-5)


def test_a_calibrated_model_has_temperature_one() -> None:
    random = np.random.default_rng(0)
    z = random.standard_normal((20_000, 5)).astype(np.float16)
    labels = (probabilities(z, np.ones(len(z))).cumsum(axis=1) > random.random((len(z), 1))).argmax(axis=1)
    found = calibrate([z], labels, folds([str(image) for image in range(len(z))]))
    assert found.temperature == pytest.approx(1, abs=0.05)
    assert found.ece is not None
    assert found.ece < 0.015


@pytest.mark.parametrize(
    ("z", "labels", "temperature"),
    [
        (np.eye(5)[[0, 1, 2, 3]], [0, 1, 2, 3], 0.01),  # always right: the colder the better
        (np.eye(5)[[0, 1, 2, 3]], [1, 2, 3, 4], 100.0),  # always wrong: the warmer the better
        (np.zeros((4, 5)), [1, 2, 3, 4], 1.0),  # constant: no temperature says more than another
        (np.eye(5)[[0, 0, 0, 0]] * 60_000, [0, 1, 2, 3], 100.0),  # the largest logits that float16 holds
        (np.zeros((4, 1)), [0, 0, 0, 0], 1.0),  # one class
    ],
)
def test_edges_give_bounded_finite_figures(z: np.ndarray, labels: list[int], temperature: float) -> None:
    found = calibrate([z.astype(np.float16)], np.array(labels), np.arange(4, dtype=np.int8))
    assert found.temperature == pytest.approx(temperature)
    assert np.isfinite([found.nll, found.ece, *found.fold_temperatures]).all()
    assert (found.top5 is None) == (z.shape[1] < 5)


def test_a_large_model_that_is_always_right_takes_few_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []
    derivatives = calibration._derivatives
    monkeypatch.setattr(calibration, "_derivatives", lambda *given: passes.append(1) or derivatives(*given))
    calibrate([np.eye(5, dtype=np.float16)], np.arange(5), np.arange(5, dtype=np.int8))
    assert len(passes) < 20


@pytest.mark.parametrize("blocks", [[], [np.zeros((0, 5), np.float16)]])
def test_no_images(blocks: list[np.ndarray]) -> None:
    found = calibrate(blocks, np.zeros(0, int), np.zeros(0, np.int8))
    assert (found.nll, found.ece, found.top5) == (None, None, None)
    assert found.fold_temperatures.tolist() == [1.0] * 5


def test_labels_and_rows_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="labels from 0 to 7 for a model of 6 classes"):
        calibrate([ZOO[0]], np.full(N, 7) * (np.arange(N) > 0), FOLDS)
    with pytest.raises(ValueError, match="250 rows of logits for 249 labels"):
        calibrate([ZOO[0]], LABELS[1:], FOLDS)


@given(st.integers(1, 60), st.randoms(use_true_random=False))
def test_calibration_error_is_that_of_plain_python_in_any_order(n: int, shuffler: object) -> None:
    random = np.random.default_rng(n)
    confidence, right = random.random(n), random.random(n) < 0.6
    order = random.permutation(n)
    found = calibration_error(confidence, right)
    assert found == pytest.approx(reference.calibration_error(confidence.tolist(), right.tolist()), abs=1e-12)
    assert found == pytest.approx(calibration_error(confidence[order], right[order]), abs=1e-12)


def test_equal_confidences_are_one_group() -> None:
    right = np.arange(90) < 60
    assert calibration_error(np.full(90, 2 / 3), right) == pytest.approx(0, abs=1e-12)
