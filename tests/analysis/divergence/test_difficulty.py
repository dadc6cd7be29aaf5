"""Shared difficulty: the fit, consistency beyond it on zoos where the truth is known, and the table of images."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from overlap.analysis.divergence import rasch
from overlap.analysis.divergence.difficulty import ByDifficulty, by_difficulty
from overlap.analysis.divergence.images import difficulty_table
from overlap.analysis.divergence.rasch import Rasch
from overlap.analysis.divergence.scores import Scores, scores
from overlap.analysis.divergence.table import between_counts, cells_of, consistency_of
from overlap.analysis.pairs import pair_indices
from tests.analysis.zoo import correctness, pair_counts
from tests.reference import consistency as pairs_reference
from tests.reference import difficulty as reference


def zoo(models: int, images: int, seed: int) -> np.ndarray:
    """Answers under a Rasch model, with images that no model can get right, as wrong labels make them."""
    random = np.random.default_rng(seed)
    difficulty = np.where(random.random(images) < 0.1, 8, random.normal(-1.5, 2, images))
    return np.asarray(random.random((models, images)) < expit(random.normal(0, 0.6, (models, 1)) - difficulty))


def fitted(correct: np.ndarray) -> tuple[Rasch | None, Scores]:
    counted = scores(correct)
    return rasch.fit(counted.right.sum(axis=1), counted.images), counted


def found(correct: np.ndarray, rows: slice = slice(None)) -> ByDifficulty:
    return by_difficulty(*fitted(correct), rows)


def test_counts_by_score_are_those_of_plain_python() -> None:
    correct = correctness(5, 200)
    counted = scores(correct)
    first, second = pair_indices(5)
    both = counted.both_right(first, second)
    for pair, (a, b) in enumerate(zip(first, second, strict=True)):
        assert both[pair].tolist() == reference.both_right_by_score(correct.tolist(), a, b)
    assert counted.right.sum(axis=1).tolist() == correct.sum(axis=1).tolist()
    assert counted.n == 200
    assert counted.between == int((correct.any(axis=0) & ~correct.all(axis=0)).sum())


def test_fit_finds_abilities_and_difficulties() -> None:
    random = np.random.default_rng(3)
    difficulty, ability = random.normal(-1, 2, 20_000), random.normal(0, 0.6, 20)
    correct = random.random((20, 20_000)) < expit(ability[:, None] - difficulty)
    fit, counted = fitted(correct)
    assert fit is not None
    assert np.abs(fit.ability - (ability - ability.mean())).max() < 0.1
    mean = float(fit.weight @ fit.nodes)
    assert mean == pytest.approx(-1 - ability.mean(), abs=0.1)
    assert np.sqrt(fit.weight @ (fit.nodes - mean) ** 2) == pytest.approx(2, abs=0.1)
    expected = (expit(fit.ability[:, None] - fit.nodes) * fit.weight).sum(axis=1)
    np.testing.assert_allclose(expected, counted.right.sum(axis=1) / counted.n, atol=1e-4)
    assert (np.diff(fit.difficulty) < 0).all()


def test_difficulty_of_an_image_is_its_posterior_mean() -> None:
    correct = zoo(4, 300, 1)
    fit, _ = fitted(correct)
    assert fit is not None
    for image in range(5):
        weights = reference.posterior(correct[:, image].tolist(), fit.ability.tolist(), fit.nodes.tolist(), fit.weight)
        mean = sum(weight * node for weight, node in zip(weights, fit.nodes, strict=True))
        assert fit.difficulty[correct[:, image].sum()] == pytest.approx(mean, abs=1e-6)


@pytest.mark.parametrize(("models", "repeats"), [(4, 50), (6, 30), (20, 10)])
def test_difficulty_alone_makes_kappa_but_none_beyond_it(models: int, repeats: int) -> None:
    kappas, beyond, covered = [], [], []
    for seed in range(repeats):
        correct = zoo(models, 1280, seed)
        counts = pair_counts(1 - correct.astype(int), np.zeros(1280, int))
        of_pairs = found(correct)
        kappas += consistency_of(counts, *pair_indices(models))[1].tolist()
        beyond += of_pairs.kappa.tolist()
        covered += ((of_pairs.low <= 0) & (of_pairs.high >= 0)).tolist()
    assert min(kappas) > 0.2
    assert np.mean(beyond) == pytest.approx(0, abs=0.01)
    assert 0.92 <= np.mean(covered) <= 0.985


def test_copies_are_consistent_beyond_difficulty_and_opposites_below() -> None:
    random = np.random.default_rng(0)
    correct = zoo(12, 4000, 5)
    copied = random.random(4000) < 0.3
    correct[1, copied] = correct[0, copied]
    of_pairs = found(correct)
    assert of_pairs.low[0] > 0.15
    assert of_pairs.high[0] < 0.45
    others = np.delete(np.arange(66), 0)
    assert np.abs(of_pairs.kappa[others]).max() < 0.12

    # two models that each know other images than the rest: less consistent with the others than difficulty makes them
    wilful = zoo(12, 4000, 6)
    wilful[0] = random.random(4000) < wilful[0].mean()
    assert (found(wilful).high[:11] < 0).all()


def test_a_copied_pair_does_not_make_its_own_images_seem_hard() -> None:
    """Of five models two are one and the same: that changes what the other three say of the images only a little."""
    correct = zoo(5, 20_000, 2)
    correct[1] = correct[0]
    first = found(correct).kappa[0]
    assert first == 1
    alone, _ = fitted(zoo(5, 20_000, 2))
    assert alone is not None
    assert found(correct).expected[0] == pytest.approx(found(zoo(5, 20_000, 2)).expected[0], abs=0.02)


def test_ranges_put_together_are_the_whole() -> None:
    correct = zoo(7, 500, 1)
    whole = found(correct)
    parts = [found(correct, slice(start, start + 8)) for start in range(0, 21, 8)]
    np.testing.assert_array_equal(np.concatenate([part.kappa for part in parts]), whole.kappa)
    np.testing.assert_array_equal(np.concatenate([part.low for part in parts]), whole.low)


def test_order_of_images_and_names_of_models_change_nothing() -> None:
    correct = zoo(6, 400, 1)
    np.testing.assert_array_equal(found(correct[:, ::-1]).kappa, found(correct).kappa)
    first, second = pair_indices(6)
    forth, back = np.full((2, 6, 6), np.nan)
    forth[first, second] = found(correct).kappa
    back[5 - second, 5 - first] = found(correct[::-1]).kappa
    np.testing.assert_allclose(back[first, second], forth[first, second], atol=1e-9)


@pytest.mark.parametrize("models", [0, 1, 2, 3])
def test_few_models_have_no_fit(models: int) -> None:
    correct = correctness(models, 50)
    assert np.isnan(found(correct).kappa).all()
    assert len(found(correct).kappa) == models * (models - 1) // 2


def test_degenerate_zoos_stay_finite_or_undefined() -> None:
    assert np.isnan(found(np.zeros((5, 0), bool)).kappa).all()
    right = zoo(6, 200, 1)
    right[0], right[1], right[2] = True, True, False
    of_pairs = found(right)
    assert np.isnan(of_pairs.kappa[0])
    assert np.isfinite(of_pairs.kappa[1:]).all()
    for constant in (np.ones((5, 40), bool), np.zeros((5, 40), bool), np.repeat(right[3:4], 5, axis=0)):
        of_pairs = found(constant)
        assert np.isnan(of_pairs.kappa).all() or np.isfinite(of_pairs.error).all()
        assert not np.isinf(np.concatenate([of_pairs.kappa, of_pairs.expected, of_pairs.error])).any()


def test_between_are_the_images_that_tell_models_apart() -> None:
    correct = correctness(4, 300)
    counts = pair_counts(1 - correct.astype(int), np.zeros(300, int))
    within = between_counts(counts, scores(correct))
    chosen = correct[:, correct.any(axis=0) & ~correct.all(axis=0)]
    assert within.n == chosen.shape[1]
    for pair, (a, b) in enumerate(zip(*pair_indices(4), strict=True)):
        expected = pairs_reference.cells(chosen[a].tolist(), chosen[b].tolist())
        assert tuple(int(cell[pair]) for cell in cells_of(within, *pair_indices(4))) == expected


def test_table_of_images() -> None:
    correct = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 0, 1], [1, 0, 0, 0]], bool)
    labels = np.array([[3, -1], [1, 2], [0, -1], [2, -1]], np.int32)
    fit, _ = fitted(correct)
    table = difficulty_table(["a", "b", "c", "d"], labels, correct, fit)
    assert table["group"].to_list() == ["all", "between", "none", "between"]
    assert table["right"].to_list() == [4, 2, 0, 1]
    assert table["label"].to_list() == [3, 1, 0, 2]
    assert (
        table["difficulty"].to_list() == sorted(table["difficulty"]) or table["difficulty"][0] < table["difficulty"][1]
    )
    assert table["difficulty"].arg_max() == 2
    assert difficulty_table(["a"], labels[:1], correct[:0, :1], None).row(0) == ("a", 3, 0, None, None)
    with pytest.raises(ValueError, match="keys"):
        difficulty_table(["a"], labels, correct, fit)
