"""Linear CKA: against the estimator as it is written, additivity, unrelated and degenerate features, its interval."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overlap.analysis.features.cka import GramSums, centred_gram, cka, cka_interval, gram_sums, minibatches
from tests.reference import cka as reference


def zoo(images: int, dimensions: tuple[int, ...], seed: int = 0, shared: float = 1.0) -> list[np.ndarray]:
    """Features that share a latent of four dimensions."""
    random = np.random.default_rng(seed)
    latent = random.standard_normal((images, 4))
    return [
        (shared * latent @ random.standard_normal((4, d)) + random.standard_normal((images, d)) + 3).astype(np.float32)
        for d in dimensions
    ]


def sizes(images: int, batch: int) -> list[int]:
    return [part.stop - part.start for part in minibatches(images, batch)]


def summed(features: list[np.ndarray], batch: int) -> GramSums:
    return gram_sums(features, sizes(len(features[0]), batch))


@given(st.integers(0, 1000), st.integers(4, 40), st.sampled_from([4, 7, 40]))
@settings(max_examples=15, deadline=None)
def test_it_is_the_estimator_of_the_papers(seed: int, images: int, batch: int) -> None:
    features = zoo(images, (2, 5, 3), seed)
    sums = summed(features, batch)
    found = cka(sums)
    for a in range(3):
        for b in range(3):
            expected = reference.cka(features[a].tolist(), features[b].tolist(), sizes(images, batch))
            assert found[a, b] == pytest.approx(expected, abs=2e-4)
    assert np.allclose(found, found.T, equal_nan=True)


def test_the_sums_are_hsic_of_mean_products() -> None:
    features = zoo(60, (3, 5), 1)
    sums = summed(features, 20)
    for a, b in ((0, 0), (0, 1)):
        x, y = (features[model].tolist() for model in (a, b))
        parts = [20 * 17 * reference.hsic(x[at : at + 20], y[at : at + 20]) for at in (0, 20, 40)]
        assert sums.hsic[a, b] == pytest.approx(sum(parts) / features[a].shape[1] / features[b].shape[1], rel=1e-4)
        assert sums.square[a, b] > 0


def test_blocks_add_up() -> None:
    features = zoo(1000, (6, 9, 4))
    parts = minibatches(1000, 100)
    whole = gram_sums(features, [part.stop - part.start for part in parts])
    blocks = [parts[:3], parts[3:4], parts[4:]]
    added = [
        gram_sums((f[block[0].start : block[-1].stop] for f in features), [part.stop - part.start for part in block])
        for block in blocks
    ]
    total = added[0] + added[1] + added[2]
    assert (total.n, total.batches) == (whole.n, whole.batches) == (1000, 10)
    assert (cka(total) == cka(whole)).all()
    assert all((x == y).all() for x, y in zip(cka_interval(total), cka_interval(whole), strict=True))


def test_minibatches_cover_all_images_evenly() -> None:
    for images in (4, 5, 255, 256, 1497, 50_000):
        parts = minibatches(images)
        assert [parts[0].start, parts[-1].stop] == [0, images]
        assert all(a.stop == b.start for a, b in pairwise(parts))
        lengths = {part.stop - part.start for part in parts}
        assert max(lengths) - min(lengths) <= 1
    assert minibatches(3) == []


def test_invariances() -> None:
    a, b = zoo(400, (5, 8))
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((5, 5)))[0]
    moved = (7 * a @ turn + 1000).astype(np.float32)
    found = cka(summed([a, b, moved], 100))
    assert found[0, 2] == pytest.approx(1, abs=1e-4)
    assert found[1, 2] == pytest.approx(found[0, 1], abs=1e-4)


def test_unrelated_features_are_at_zero_whatever_their_dimension() -> None:
    random = np.random.default_rng(0)
    wide = [random.standard_normal((512, 2000)).astype(np.float32) for _ in range(6)]
    found = cka(summed(wide, 256))[np.triu_indices(6, 1)]
    assert abs(found).max() < 0.02  # the biased estimator says 0.8 here
    assert found.min() < 0 < found.max()


def test_the_interval_covers() -> None:
    truth = cka(summed(zoo(60_000, (3, 4), 5, 0.5), 256))[0, 1]
    random = np.random.default_rng(1)
    mix = np.random.default_rng(5)
    latent_size = mix.standard_normal((60_000, 4)).shape  # consumes what `zoo` consumes before its first map
    first = mix.standard_normal((4, 3))
    mix.standard_normal((60_000, 3))
    second = mix.standard_normal((4, 4))
    assert latent_size == (60_000, 4)
    hits = 0
    for _ in range(100):
        latent = random.standard_normal((640, 4))
        a, b = (0.5 * latent @ m + random.standard_normal((640, m.shape[1])) for m in (first, second))
        low, high = cka_interval(summed([a, b], 64))
        hits += low[0, 1] <= truth <= high[0, 1]
    assert 88 <= hits <= 100


def test_degenerate_features() -> None:
    a, b = zoo(50, (3, 4))
    constant = np.full((50, 6), 1234.5, np.float32)
    sums = summed([a, constant, a, b], 25)
    found = cka(sums)
    assert np.isnan(found[1]).all()
    assert np.isnan(found[:, 1]).all()
    assert found[0, 2] == found[0, 0] == 1
    low, high = cka_interval(sums)
    assert low[0, 2] == high[0, 2] == 1
    assert np.isnan(cka_interval(summed([a, b], 50))[0]).all()  # one minibatch
    sums_of_two = summed([a, b], 25)
    nothing = gram_sums([a[:0], b[:0]], [])
    assert nothing.n == 0
    few = gram_sums([a[:3], b[:3]], sizes(3, 256))
    assert few.n == 0
    assert np.isnan(cka(few)).all()
    assert cka(few).shape == (2, 2)
    assert (cka(few + sums_of_two) == cka(sums_of_two)).all()
    with pytest.raises(ValueError, match="for minibatches of 50"):
        gram_sums([a, b[:40]], [25, 25])
    with pytest.raises(ValueError, match="needs 4"):
        centred_gram(a[:3])
