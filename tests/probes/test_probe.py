"""The probe: against scikit-learn, free of scale, its strength the best held out, and never undefined."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from overlap.probes.logistic import Problem, minimise
from overlap.probes.probe import ABSENT, LITTLE, STRENGTHS, fit, fit_head
from tests.probes.scenes import seen, trial


def problem(several: bool = False, n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    x = random.standard_normal((n, 12)).astype(np.float32)
    logits = x @ random.standard_normal((12, 5)) + random.gumbel(size=(n, 5)) + [1, 0, 0, 0, -1]
    return x, (logits > 0.5).astype(np.float32) if several else logits.argmax(axis=1)


@pytest.mark.parametrize("strength", [1.0, 1e-2, 1e-4])
def test_it_is_scikit_learn_s_multinomial_regression(strength: float) -> None:
    x, y = problem()
    ones = np.ones((len(x), 1), np.float32)
    found = minimise(
        Problem(torch.from_numpy(np.hstack([x, ones])), torch.from_numpy(y), 5), strength, torch.zeros(5, 13)
    )
    theirs = LogisticRegression(C=1 / (strength * len(x)), tol=1e-8, max_iter=5000).fit(x.astype(float), y)
    weight, bias = found[:, :-1].numpy(), found[:, -1].numpy()
    assert weight == pytest.approx(theirs.coef_, abs=2e-3 * abs(theirs.coef_).max())
    assert softmax(x @ weight.T + bias, axis=1) == pytest.approx(theirs.predict_proba(x), abs=2e-3)


@pytest.mark.parametrize("strength", [0.1, 1e-3])
def test_several_classes_are_independent_regressions(strength: float) -> None:
    x, y = problem(several=True)
    ones = np.ones((len(x), 1), np.float32)
    found = minimise(
        Problem(torch.from_numpy(np.hstack([x, ones])), torch.from_numpy(y), 5), strength, torch.zeros(5, 13)
    )
    for column in range(5):
        theirs = LogisticRegression(C=1 / (strength * len(x)), tol=1e-8, max_iter=5000).fit(
            x.astype(float), y[:, column]
        )
        assert found[column, :-1].numpy() == pytest.approx(theirs.coef_[0], abs=3e-3 * abs(theirs.coef_).max())
        assert found[column, -1].item() == pytest.approx(theirs.intercept_[0], abs=3e-3)


def test_images_come_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = problem()
    whole = fit(x, y, 5, np.arange(300) % 5 == 0, "cpu")
    monkeypatch.setattr("overlap.probes.logistic.CHUNK", 5 * 37)
    monkeypatch.setattr("overlap.probes.probe.CHUNK", 12 * 41)
    pieces = fit(x, y, 5, np.arange(300) % 5 == 0, "cpu")
    assert pieces.strength == whole.strength
    assert pieces.logits(x) == pytest.approx(whole.logits(x), abs=1e-2)


def test_the_strength_is_the_best_on_what_is_held_out() -> None:
    for size in (40, 150, 1500):
        task = trial(train=size)
        features = seen(task, slice(0, 5)).train
        assert features is not None
        assert task.train_labels is not None
        held = np.arange(size) % 5 == 0
        found = fit(features, task.train_labels, 4, held, "cpu")
        scaler = StandardScaler().fit(features)
        x = scaler.transform(features.astype(float))
        losses = []
        for strength in STRENGTHS:
            theirs = LogisticRegression(C=1 / (strength * (~held).sum()), tol=1e-6, max_iter=5000)
            theirs.fit(x[~held], task.train_labels[~held])
            own = theirs.predict_log_proba(x[held])[np.arange(held.sum()), task.train_labels[held]]
            losses.append(-own.mean())
        fall = [(np.log(4) - loss, loss - after) for loss, after in pairwise(losses)]
        (last, *_) = [place for place, (so_far, more) in enumerate(fall) if more <= LITTLE * so_far]
        assert found.strength == STRENGTHS[last]
        assert losses[last] < min(losses) + 0.02
        final = LogisticRegression(C=1 / (found.strength * size), tol=1e-6, max_iter=5000).fit(x, task.train_labels)
        expected = final.predict_log_proba(x)
        assert log_softmax(found.logits(features), axis=1) == pytest.approx(expected, abs=2e-2)


def test_scale_and_shift_of_features_are_without_effect() -> None:
    x, y = problem()
    held = np.arange(300) % 5 == 0
    plain = fit(x, y, 5, held, "cpu")
    scale, shift = np.logspace(-3, 3, 12), np.linspace(-2, 2, 12)
    moved = ((x + shift) * scale).astype(np.float32)
    assert fit(moved, y, 5, held, "cpu").logits(moved) == pytest.approx(plain.logits(x), abs=2e-2)
    weight, bias = fit_head(moved, y, 5, held, "cpu")
    assert weight.dtype == bias.dtype == np.float32
    assert moved @ weight.T + bias == pytest.approx(plain.logits(x), abs=2e-2)


def test_constant_features_weigh_nothing() -> None:
    x, y = problem()
    held = np.arange(300) % 5 == 0
    padded = np.hstack([x, np.zeros((300, 2)), np.full((300, 2), 1e4 + 0.1)]).astype(np.float32)
    found = fit(padded, y, 5, held, "cpu")
    assert (found.weight[:, 12:] == 0).all()
    assert found.logits(padded) == pytest.approx(fit(x, y, 5, held, "cpu").logits(x), abs=1e-3)
    nothing = fit(padded[:, 12:], y, 5, held, "cpu")
    assert (nothing.predict(padded[:, 12:]) == np.bincount(y).argmax()).all()


@pytest.mark.parametrize("size", [1e-42, 1e-20, 1e18])
def test_features_of_any_size_are_finite(size: float) -> None:
    x, y = problem()
    found = fit((x.astype(float) * size).astype(np.float32), y, 5, np.arange(300) % 5 == 0, "cpu")
    assert np.isfinite(found.weight).all()
    assert np.isfinite(found.logits((x.astype(float) * size).astype(np.float32))).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("several", [False, True])
def test_a_gpu_finds_the_same(several: bool) -> None:
    x, y = problem(several)
    held = np.arange(300) % 5 == 0
    here, there = fit(x, y, 5, held, "cpu"), fit(x, y, 5, held)
    assert there.strength == here.strength
    assert there.logits(x) == pytest.approx(here.logits(x), abs=2e-2)


def test_classes_that_training_lacks_are_never_predicted() -> None:
    x, y = problem()
    odd = y % 2 == 1
    found = fit(x[odd], y[odd], 7, np.arange(odd.sum()) % 5 == 0, "cpu")
    assert found.known.tolist() == [False, True, False, True, False, False, False]
    assert set(found.predict(1000 * x)) <= {1, 3}
    assert (found.bias[~found.known] == np.float32(ABSENT)).all()
    single = fit(x[y == 2], y[y == 2], 5, np.zeros((y == 2).sum(), np.bool_), "cpu")
    assert single.strength is None
    assert (single.predict(x) == 2).all()
    assert (single.logits(x).argmax(axis=1) == 2).all()


def test_a_class_that_is_only_held_out() -> None:
    x, y = problem()
    y = np.where(np.arange(300) < 10, 4, y % 4)
    held = np.arange(300) < 60
    found = fit(x, y, 5, held, "cpu")
    assert found.strength in STRENGTHS
    assert found.known.all()
    only = fit(x[:60], np.where(np.arange(60) < 30, 0, 1), 2, np.arange(60) < 30, "cpu")
    assert np.isfinite(only.logits(x)).all()


def test_several_classes_at_their_extremes() -> None:
    x, y = problem(several=True)
    y[:, 1], y[:, 2] = 0, 1
    found = fit(x, y, 5, np.arange(300) % 5 == 0, "cpu")
    logits = found.logits(x)
    assert np.isfinite(logits).all()
    assert logits[:, 1].max() < -20 < 20 < logits[:, 2].min()
    assert ((logits > 0) == y)[:, [0, 3, 4]].mean() > 0.8
    nothing = fit(x, np.zeros((300, 3), np.float32), 3, np.arange(300) % 5 == 0, "cpu")
    assert (nothing.weight == 0).all()


@pytest.mark.parametrize("images", [1, 2, 3, 5])
@pytest.mark.parametrize("held_out", ["none", "all", "some"])
def test_a_handful_of_images_with_more_features(images: int, held_out: str) -> None:
    x = np.random.default_rng(0).standard_normal((images, 50)).astype(np.float32)
    y = np.arange(images) % 3
    held = {"none": np.zeros(images, bool), "all": np.ones(images, bool), "some": np.arange(images) == 0}[held_out]
    found = fit(x, y, 3, held, "cpu")
    assert np.isfinite(found.logits(x)).all()
    assert (found.predict(x) == y).mean() >= 1 / images


def test_bad_input() -> None:
    x, y = problem()
    held = np.zeros(300, bool)
    with pytest.raises(ValueError, match="0 features"):
        fit(x[:0], y[:0], 5, held[:0])
    with pytest.raises(ValueError, match="300 features for 299"):
        fit(x, y[1:], 5, held)
    with pytest.raises(ValueError, match="for 3 classes"):
        fit(x, y, 3, held)
    x[3, 3] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        fit(x, y, 5, held)
