"""Linear CKA of every pair of models, from minibatches: how alike two sets of features order the same images.

CKA = HSIC(a, b) / sqrt(HSIC(a, a) HSIC(b, b)) (Kornblith et al. 2019), each HSIC by the unbiased estimator HSIC_1
(Song et al. 2012) on minibatches, summed over them (Nguyen et al. 2021): no Gram matrix of all images is ever made.
HSIC_1 of n images is the product of the U-centred Gram matrices over n (n - 3) (Székely & Rizzo 2014), so that a block
of images costs one Gram matrix per model and one product of matrices for all pairs.

Guarantees: additive over blocks of whole minibatches, and the table is rounded to where neither their number nor that
of threads is seen. Of unrelated features HSIC_1 is zero on average, so it and CKA can be a little below; they are left
so. CKA lies between -1 and 1, is 1 of a model with itself, and null where a model's features do not vary. Unlike the
biased CKA it does not rise towards 1 with the dimension. Not guaranteed: the same last digits with other minibatches.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from overlap.analysis.intervals import LEVEL

Fractions = NDArray[np.float64]

BATCH = 256
"""Images of a minibatch."""

LEAST = 4
"""Images that HSIC_1 needs."""

DIGITS = 6
"""Decimals of a CKA: features are float32."""


@dataclass(frozen=True)
class GramSums:
    """Sums over minibatches of h_ab = n (n - 3) HSIC_1(a, b), and of its products; additive over minibatches.

    Attributes:
        n: images.
        batches: minibatches.
        hsic: (M, M) float64, sum of h_ab.
        square: (M, M) sum of h_ab².
        with_own: (M, M) sum of h_ab h_aa.
        own_with_own: (M, M) sum of h_aa h_bb.
    """

    n: int
    batches: int
    hsic: Fractions
    square: Fractions
    with_own: Fractions
    own_with_own: Fractions

    def __add__(self, other: GramSums) -> GramSums:
        """The sums over the minibatches of both."""
        return GramSums(
            self.n + other.n,
            self.batches + other.batches,
            self.hsic + other.hsic,
            self.square + other.square,
            self.with_own + other.with_own,
            self.own_with_own + other.own_with_own,
        )


def minibatches(images: int, batch: int = BATCH) -> list[slice]:
    """Consecutive minibatches of all images, of one size but for one image; a block of images is some of them.

    They have `batch` images or a few more; fewer images are one minibatch, and fewer than `LEAST` have none.
    """
    if images < LEAST or batch < LEAST:
        return []
    edges = np.linspace(0, images, max(1, images // batch) + 1).round().astype(int).tolist()
    return [slice(start, stop) for start, stop in pairwise(edges)]


def gram_sums(features: Iterable[NDArray[np.floating]], sizes: Sequence[int]) -> GramSums:
    """The sums of one block of images, for all pairs of models.

    Memory: 4 × models × images × size / 2 bytes of Gram matrices (40 MB for 300 models and one minibatch of 256), and
    the features of one model at a time if they come from a generator.

    Args:
        features: M arrays (n, D_i), of the same images.
        sizes: of the block's minibatches, in order, each at least `LEAST`; they add up to n. None of too few images.

    Raises:
        ValueError: arrays or sizes that do not fit.
    """
    models = 0
    grams: list[list[NDArray[np.float32]]] = [[] for _ in sizes]
    for of_model in features:
        if len(of_model) != sum(sizes) and (sizes or len(of_model) >= LEAST):
            raise ValueError(f"features of {len(of_model)} images for minibatches of {sum(sizes)}")
        edges = np.cumsum([0, *sizes])
        for batch, (start, stop) in enumerate(pairwise(edges)):
            grams[batch].append(centred_gram(of_model[start:stop]))
        models += 1
    hsic, square, with_own, own_with_own = np.zeros((4, models, models))
    for of_batch in grams:
        stacked = np.stack(of_batch).astype(np.float64) if models else np.zeros((0, 0))
        found = stacked @ stacked.T * 2  # the upper triangle stands for both
        own = np.diagonal(found)
        hsic += found
        square += found**2
        with_own += found * own[:, None]
        own_with_own += np.outer(own, own)
    return GramSums(sum(sizes), len(sizes), hsic, square, with_own, own_with_own)


def centred_gram(features: NDArray[np.floating]) -> NDArray[np.float32]:
    """The U-centred Gram matrix above its diagonal, (n (n - 1) / 2,): mean products of two images' features.

    Args:
        features: (n, D) with n >= `LEAST`.

    Raises:
        ValueError: fewer images.
    """
    n = len(features)
    if n < LEAST:
        raise ValueError(f"a minibatch of {n} images; HSIC needs {LEAST}")
    # U-centring removes what a shift of the features adds; shifted beforehand, float32 does not drown in their mean
    x = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    largest = float(np.abs(x).max(initial=0))
    above = np.triu_indices(n, 1)
    if largest <= 1e-6 * float(np.abs(features).max(initial=0)):  # constant up to rounding
        return np.zeros(len(above[0]), np.float32)
    scaled = (x / largest).astype(np.float32)
    gram = (scaled @ scaled.T).astype(np.float64)
    np.fill_diagonal(gram, 0)
    rows = gram.sum(axis=0) / (n - 2)
    gram += rows.sum() / (n - 1) - rows[:, None] - rows[None, :]
    return np.asarray(gram[above] * largest**2 / features.shape[1], np.float32)


def cka(sums: GramSums) -> Fractions:
    """(M, M) CKA of all pairs, NaN where a model's features do not vary."""
    own = np.diagonal(sums.hsic)
    scale = np.sqrt(np.where(own > 0, own, np.nan))
    found = np.clip(sums.hsic / np.outer(scale, scale), -1, 1).round(DIGITS)
    np.fill_diagonal(found, np.where(np.isnan(scale), np.nan, 1))
    return np.asarray(found)


def cka_interval(sums: GramSums) -> tuple[Fractions, Fractions]:
    """Lower and upper ends, (M, M), of the 95% interval over minibatches: the delta method, Student's quantile.

    NaN with fewer than two minibatches, and where CKA is.
    """
    value = cka(sums)
    if sums.batches < 2:
        return np.full(value.shape, np.nan), np.full(value.shape, np.nan)
    own = np.diagonal(sums.hsic)
    safe = np.where(own > 0, own, np.nan)
    # a minibatch moves CKA by  h_ab / sqrt(H_a H_b) - CKA (h_aa / H_a + h_bb / H_b) / 2,  which sums to zero
    scale = np.sqrt(np.outer(safe, safe))
    own_square = np.diagonal(sums.square) / safe**2
    through_own = value / 2
    to_a = sums.with_own / scale / safe[:, None]
    variance = (
        sums.square / scale**2
        - 2 * through_own * (to_a + to_a.T)
        + through_own**2 * (own_square[:, None] + own_square[None, :] + 2 * sums.own_with_own / scale**2)
    )
    error = np.sqrt(np.maximum(variance, 0) * sums.batches / (sums.batches - 1))
    half = float(stdtrit(sums.batches - 1, (1 + LEVEL) / 2)) * error
    return np.clip(value - half, -1, 1).round(DIGITS), np.clip(value + half, -1, 1).round(DIGITS)
