"""Two temperatures of a pair: the optimum is that of scipy, cross-fitted, and finite whatever the models do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import logsumexp

from overlap.analysis.blocks import Block
from overlap.analysis.ensembles.temperatures import GREATEST
from overlap.analysis.splits import folds
from tests.analysis.together import score_all
from tests.analysis.zoo import calibrate, logits


def block_of(zoo: list[np.ndarray], labels: np.ndarray) -> Block:
    keys = [str(image) for image in range(len(labels))]
    own = folds(keys)
    primary = labels if labels.ndim == 1 else labels[:, 0]
    calibrations = [calibrate([z], primary, own) for z in zoo]
    return Block(zoo, calibrations, labels, own, np.ones(len(labels), np.bool_), keys)


def weights_of(block: Block) -> np.ndarray:
    """(5, M, M) of all pairs."""
    return score_all([block], len(block.logits)).weights


def mean_nll(weight: np.ndarray, a: np.ndarray, b: np.ndarray, labels: np.ndarray) -> float:
    z = weight[0] * a + weight[1] * b
    return float((logsumexp(z, axis=1) - z[np.arange(len(z)), labels]).mean())


@pytest.mark.parametrize(("images", "classes", "seed"), [(400, 10, 0), (250, 3, 1), (300, 100, 2), (40, 2, 3)])
def test_weights_are_the_optimum_outside_each_fold(images: int, classes: int, seed: int) -> None:
    zoo, labels = logits(3, images, classes, seed)
    block = block_of(zoo, labels)
    found = weights_of(block)
    for fold in range(5):
        used = block.folds != fold
        for a, b in ((0, 1), (0, 2), (1, 2)):
            data = zoo[a][used].astype(float), zoo[b][used].astype(float), labels[used]
            own = found[fold, [a, b], [b, a]]
            bounds = [(0, GREATEST)] * 2
            best = minimize(mean_nll, [0.5, 0.5], data, "L-BFGS-B", bounds=bounds, options={"ftol": 1e-14})
            assert mean_nll(own, *data) <= best.fun + 1e-7
            assert own == pytest.approx(best.x, rel=2e-2, abs=2e-3)
            half = np.array([0.5 / block.calibrations[model].fold_temperatures[fold] for model in (a, b)])
            assert mean_nll(own, *data) <= mean_nll(half, *data) + 1e-9


def test_no_image_enters_the_weights_that_serve_it() -> None:
    zoo, labels = logits(2, 400, 10)
    block = block_of(zoo, labels)
    before = weights_of(block)
    for fold in range(5):
        inside = block.folds == fold
        other = [np.where(inside[:, None], z[:, ::-1] * np.float16(2), z) for z in zoo]
        changed = Block(other, block.calibrations, labels, block.folds, block.selection, block.keys)
        after = weights_of(changed)
        assert after[fold, [0, 1], [1, 0]] == pytest.approx(before[fold, [0, 1], [1, 0]], rel=1e-3)
        elsewhere = [one for one in range(5) if one != fold]
        assert (np.abs(after - before)[elsewhere] > 1e-2).any()


def test_images_with_several_accepted_classes_are_left_out() -> None:
    zoo, labels = logits(2, 300, 6)
    several = np.column_stack([labels, np.where(np.arange(300) % 3 == 0, (labels + 1) % 6, -1)]).astype(np.int32)
    kept = several[:, 1] < 0
    block = block_of(zoo, several)
    alone = Block([z[kept] for z in zoo], block.calibrations, labels[kept], block.folds[kept], block.selection[kept])
    assert weights_of(block) == pytest.approx(weights_of(alone), rel=1e-4)


def test_a_model_without_information_gets_no_say() -> None:
    """Noise with a temperature of its own is turned down to about 0, where a common average would listen to it."""
    zoo, labels = logits(2, 2000, 10)
    zoo[1] = np.random.default_rng(0).normal(0, 3, zoo[1].shape).astype(np.float16)
    found = weights_of(block_of(zoo, labels))
    assert (found[:, 1, 0] < 0.05).all()
    assert (found[:, 0, 1] > 0.1).all()


@pytest.mark.parametrize("case", ["identical", "constant", "both constant", "always right", "always wrong", "huge"])
def test_weights_are_finite_whatever_the_models_do(case: str) -> None:
    zoo, labels = logits(2, 200, 5)
    sure = (np.eye(5)[labels] * 8).astype(np.float16)
    zoo = {
        "identical": [zoo[0], zoo[0]],
        "constant": [zoo[0], np.full_like(zoo[0], 3)],
        "both constant": [np.zeros_like(zoo[0])] * 2,
        "always right": [zoo[0], sure],
        "always wrong": [zoo[0], np.roll(sure, 1, axis=1)],
        "huge": [zoo[0], (zoo[1].astype(np.float32) * 3000).clip(-60000, 60000).astype(np.float16)],
    }[case]
    block = block_of(zoo, labels)
    scores = score_all([block], 2)
    found = scores.weights[:, [0, 1], [1, 0]]
    assert ((found >= 0) & (found <= GREATEST)).all()
    for name, nll in scores.nll.items():
        assert np.isfinite(nll[0, 1]), name
        assert 0 <= scores.ece[name][0, 1] <= 1
    if case == "identical":
        assert found[:, 0] == pytest.approx(found[:, 1])
    if case == "always right":
        assert scores.nll["two_temperatures"][0, 1] < 0.01
    if case == "always wrong":
        assert (found[:, 1] < 1e-3).all()


def test_without_images_to_fit_each_keeps_half_of_its_own() -> None:
    zoo, labels = logits(2, 100, 5)
    block = block_of(zoo, labels)
    several = np.column_stack([labels, (labels + 1) % 5]).astype(np.int32)
    found = weights_of(Block(zoo, block.calibrations, several, block.folds, block.selection))
    for a, b in ((0, 1), (1, 0)):
        assert found[:, a, b] == pytest.approx(0.5 / block.calibrations[a].fold_temperatures)
    none = np.zeros(100, np.bool_)
    empty = Block([z[none] for z in zoo], block.calibrations, labels[none], block.folds[none], block.selection[none])
    scores = score_all([empty], 2)
    assert scores.n == 0
    assert np.isnan(scores.nll["two_temperatures"]).all()
    assert scores.weights[:, 0, 1] == pytest.approx(0.5 / block.calibrations[0].fold_temperatures)


@given(st.integers(0, 10_000), st.integers(2, 8))
@settings(max_examples=15, deadline=None)
def test_more_freedom_never_fits_worse(seed: int, classes: int) -> None:
    zoo, labels = logits(2, 80, classes, seed)
    block = block_of(zoo, labels)
    found = weights_of(block)
    for fold in range(5):
        used = block.folds != fold
        data = zoo[0][used].astype(float), zoo[1][used].astype(float), labels[used]
        own = mean_nll(found[fold, [0, 1], [1, 0]], *data)
        for alone in ((1, 0), (0, 1), (0, 0), (0.5, 0.5)):
            assert own <= mean_nll(np.array(alone, float), *data) + 1e-5


@pytest.mark.parametrize("models", [0, 1])
def test_fewer_than_two_models_have_nothing_to_fit(models: int) -> None:
    zoo, labels = logits(models, 30, 3)
    assert score_all([block_of(zoo, labels)], models).weights.shape == (5, models, models)
