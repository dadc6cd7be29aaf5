"""CAPA and divergences: against plain Python, additivity, intervals, several accepted classes, and bad input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from overlap.analysis.blocks import Block
from overlap.analysis.calibration import Calibration, probabilities
from overlap.analysis.divergence.soft import SoftSums, choose, soft_sums
from overlap.analysis.divergence.soft_measures import soft_measures
from overlap.analysis.intervals import Z
from overlap.analysis.pairs import pair_indices
from overlap.analysis.some_pairs import SomePairs
from overlap.analysis.splits import folds
from overlap.analysis.truths import accepted
from tests.analysis.zoo import logits
from tests.reference import soft as reference


def block(models: int, images: int, classes: int, *, several: bool = False, seed: int = 0) -> Block:
    zoo, labels = logits(models, images, classes, seed)
    if several:
        further = np.where(np.arange(images) % 3, -1, (labels + 1) % classes)
        labels = np.stack([labels, further], axis=1).astype(np.int32)
    keys = [f"image {number}" for number in range(images)]
    temperatures = [np.linspace(0.7 + model / 5, 1.4, 5) for model in range(models)]
    calibrations = [Calibration(1.0, temperature, None, None, None) for temperature in temperatures]
    return Block(zoo, calibrations, labels, folds(keys), np.zeros(images, bool), keys)


def part(whole: Block, images: slice) -> Block:
    return replace(
        whole,
        logits=[z[images] for z in whole.logits],
        labels=whole.labels[images],
        folds=whole.folds[images],
        selection=whole.selection[images],
        keys=whole.keys[images],
    )


def every(whole: Block) -> np.ndarray:
    return np.ones(len(whole.labels), bool)


@pytest.mark.parametrize("several", [False, True])
def test_values_and_errors_are_those_of_plain_python(several: bool) -> None:
    whole = block(3, 60, 5, several=several)
    chosen = choose(whole.keys, 40)
    found = soft_measures(soft_sums(whole, chosen))
    rows = [
        probabilities(z, fitted.of(whole.folds))[chosen].astype(float)
        for z, fitted in zip(whole.logits, whole.calibrations, strict=True)
    ]
    right = [[int(c) for c in row if c >= 0] for row in accepted(whole.labels)[chosen]]
    for pair, (a, b) in enumerate(zip(*pair_indices(3), strict=True)):

        def capa(images: list[int], a: int = a, b: int = b) -> float:
            return reference.capa(rows[a][images], rows[b][images], [right[image] for image in images])

        assert found["capa"].value[pair] == pytest.approx(capa(list(range(40))), abs=1e-6)
        assert found["capa"].error[pair] == pytest.approx(reference.jackknifed(capa, 40), rel=0.05)
        for name, divergence in (
            ("symmetric_kl", reference.symmetric_kl),
            ("jensen_shannon", reference.jensen_shannon),
        ):
            mean, error = reference.mean_and_error(divergence, rows[a], rows[b])
            assert found[name].value[pair] == pytest.approx(mean, abs=1e-5)
            assert found[name].error[pair] == pytest.approx(error, rel=1e-4)
            assert found[name].high[pair] == pytest.approx(mean + Z * error, abs=1e-5)


@pytest.mark.parametrize("several", [False, True])
def test_sums_of_some_pairs_are_those_among_all(several: bool) -> None:
    """To single precision, of whatever classes fill lanes or not; what is of a model alone is the same exactly."""
    for classes in (3, 16, 37):
        whole = block(7, 50, classes, several=several)
        first, second = pair_indices(7)
        held = np.array([0, 3, 6, 11, 20])
        some = SomePairs(7, first[held], second[held])
        expected, found = soft_sums(whole, every(whole)), soft_sums(whole, every(whole), some)
        assert (found.images == expected.images).all()
        assert (found.likelihood == expected.likelihood).all()
        assert (found.likelihoods == expected.likelihoods[held]).all()
        for name in ("overlap", "symmetric_kl", "jensen_shannon", "squares"):
            np.testing.assert_allclose(getattr(found, name), getattr(expected, name)[:, held], rtol=1e-5, atol=1e-5)
        for name in ("with_a", "with_b"):
            np.testing.assert_allclose(getattr(found, name), getattr(expected, name)[held], rtol=1e-5, atol=1e-5)
        measures = soft_measures(found)
        for name, one in soft_measures(expected).items():
            np.testing.assert_allclose(measures[name].value, one.value[held], atol=1e-6)
            np.testing.assert_allclose(measures[name].error, one.error[held], atol=1e-6)
        halves = [soft_sums(part(whole, images), np.ones(25, bool), some) for images in (slice(25, 50), slice(0, 25))]
        assert ((halves[0] + halves[1]).overlap == found.overlap).all(), "sums of exact numbers"


def test_sums_do_not_depend_on_blocks_or_their_order() -> None:
    whole = block(4, 50, 7)
    chosen = choose(whole.keys, 30)
    at_once = soft_sums(whole, chosen)
    parts = [soft_sums(part(whole, images), chosen[images]) for images in (slice(37, 50), slice(0, 20), slice(20, 37))]
    added = parts[0] + parts[1] + parts[2]
    for name, value in vars(at_once).items():
        np.testing.assert_array_equal(value, getattr(added, name))
    assert at_once.images.sum() == 30


def test_subsample_is_a_matter_of_keys() -> None:
    keys = [f"k{number}" for number in range(100)]
    chosen = choose(keys, 30)
    assert chosen.sum() == 30
    order = np.random.default_rng(0).permutation(100)
    assert {keys[i] for i in order[choose([keys[i] for i in order], 30)]} == {keys[i] for i in np.flatnonzero(chosen)}
    assert choose(keys).all()


def test_identical_models_do_not_diverge_and_hard_ones_reduce_to_agreement() -> None:
    whole = block(2, 200, 4)
    same = replace(whole, logits=[whole.logits[0]] * 2, calibrations=[whole.calibrations[0]] * 2)
    found = soft_measures(soft_sums(same, every(same)))
    assert found["symmetric_kl"].value[0] == pytest.approx(0, abs=1e-6)
    assert found["jensen_shannon"].value[0] == 0
    assert 0 < found["capa"].value[0] < 1
    hard = [(z == z.max(axis=1, keepdims=True)).astype(np.float16) * 60 for z in whole.logits]
    certain = replace(whole, logits=hard, calibrations=[Calibration(1.0, np.ones(5), None, None, None)] * 2)
    a, b = (z.argmax(axis=1) for z in certain.logits)
    agreement, right_a, right_b = (float(np.mean(x == y)) for x, y in ((a, b), (a, whole.labels), (b, whole.labels)))
    expected = right_a * right_b + (1 - right_a) * (1 - right_b) / 3
    value = soft_measures(soft_sums(certain, every(certain)))
    assert value["capa"].value[0] == pytest.approx((agreement - expected) / (1 - expected), abs=1e-6)
    assert value["jensen_shannon"].value[0] == pytest.approx((1 - agreement) * np.log(2), abs=1e-5)


def test_capa_intervals_cover() -> None:
    population = block(2, 20_000, 4)
    truth = soft_measures(soft_sums(population, every(population)))
    covered, repeats = dict.fromkeys(truth, 0), 100
    for repeat in range(repeats):
        sample = part(population, slice(200 * repeat, 200 * repeat + 200))
        for name, found in soft_measures(soft_sums(sample, every(sample))).items():
            covered[name] += int(found.low[0] <= truth[name].value[0] <= found.high[0])
    assert min(covered.values()) / repeats > 0.9


@pytest.mark.parametrize(("models", "images"), [(0, 5), (1, 5), (2, 0), (2, 1), (3, 5)])
def test_nothing_to_compare_is_no_crash(models: int, images: int) -> None:
    whole = block(models, images, 3)
    sums = soft_sums(whole, every(whole))
    assert isinstance(sums, SoftSums)
    for found in soft_measures(sums).values():
        assert len(found.value) == models * (models - 1) // 2
        assert np.isnan(found.value).all() == (images == 0 or models < 2)
        assert np.isnan(found.low).all() == (images < 2 or models < 2)


def test_extreme_temperatures_and_one_class_stay_finite() -> None:
    whole = block(2, 30, 3)
    cold = replace(whole, calibrations=[Calibration(0.01, np.full(5, 0.01), None, None, None)] * 2)
    for found in soft_measures(soft_sums(cold, every(cold))).values():
        assert np.isfinite([found.value, found.error, found.low, found.high]).all()
    single = block(2, 30, 1)
    found = soft_measures(soft_sums(single, every(single)))
    assert np.isnan(found["capa"].value).all()
    assert found["symmetric_kl"].value.tolist() == [0]


def test_models_of_different_classes_are_refused() -> None:
    whole = block(2, 10, 3)
    with pytest.raises(ValueError, match="shapes"):
        soft_sums(replace(whole, logits=[whole.logits[0], whole.logits[1][:, :2]]), every(whole))
    with pytest.raises(ValueError, match="keys"):
        soft_sums(replace(whole, keys=()), every(whole))
