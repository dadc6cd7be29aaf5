"""Sums over images that the soft measures of all pairs are made of: CAPA, symmetric KL and Jensen-Shannon divergence.

Guarantees: additive over images. What an image adds is rounded to a fixed number of binary places, so that the sums are
exact, and equal whatever the blocks and their order. Probabilities are calibrated out of fold. An image's accepted
classes count as one option of CAPA, as right is right; the divergences do not look at the truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from overlap.analysis import calibration, truths
from overlap.analysis.blocks import Block
from overlap.analysis.compiler import compiled
from overlap.analysis.divergence.jensen import COEFFICIENTS, add_jensen_shannon
from overlap.analysis.divergence.rounding import COARSE, FINE
from overlap.analysis.divergence.soft_pairs import add_some
from overlap.analysis.some_pairs import SomePairs, taken
from overlap.analysis.splits import uniform

Fractions = NDArray[np.float64]
Singles = NDArray[np.float32]

IMAGES = 2048
"""Images of the subsample on which pairs are compared, unless another number is asked for."""

GROUPS = 16
"""Groups of images, by which means over many pairs are jackknifed."""

CHUNK = 1 << 23
"""Probabilities held at a time, three times over: 96 MiB in float32 (at least one image of all models)."""


@dataclass(frozen=True)
class SoftSums:
    """Sums over images of calibrated probabilities p_m(c | x) of M models, for P pairs: some, or all.

    Attributes:
        images: (G,) int64, by group of images.
        chance: (G,); 1 / (K - L), over the classes K and the image's accepted classes L.
        likelihood: (G, M); p_m of the accepted classes together, u_m.
        likelihood_square: (M,); u_m^2.
        likelihoods: (P,); u_a u_b.
        overlap: (G, P); sum over options of p_a p_b, the accepted classes being one option.
        symmetric_kl: (G, P); KL(p_a, p_b) + KL(p_b, p_a), nats.
        jensen_shannon: (G, P); nats.
        squares: (3, P); of overlap, symmetric KL and Jensen-Shannon divergence.
        with_a: (P,); overlap times u_a.
        with_b: (P,); overlap times u_b.
        pairs: the P pairs; None where they are all, as of `pairs.pair_indices`.
    """

    images: NDArray[np.int64]
    chance: Fractions
    likelihood: Fractions
    likelihood_square: Fractions
    likelihoods: Fractions
    overlap: Fractions
    symmetric_kl: Fractions
    jensen_shannon: Fractions
    squares: Fractions
    with_a: Fractions
    with_b: Fractions
    pairs: SomePairs | None = None

    def __add__(self, other: SoftSums) -> SoftSums:
        """The sums over the images of both, which are of the same pairs."""
        held = {name: value for name, value in vars(self).items() if name != "pairs"}
        return SoftSums(**{name: value + getattr(other, name) for name, value in held.items()}, pairs=self.pairs)

    @property
    def indices(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(P,) each: first and second model of each pair."""
        return taken(self.likelihood.shape[1], pairs=self.pairs)


def choose(keys: Sequence[str], images: int = IMAGES) -> NDArray[np.bool_]:
    """(N,): the subsample, `images` many of the keys (all where there are fewer), by a fixed salted hash."""
    chosen = np.zeros(len(keys), np.bool_)
    chosen[np.argsort(uniform(keys, "overlap/soft/1"), kind="stable")[:images]] = True
    return chosen


def soft_sums(block: Block, chosen: NDArray[np.bool_], pairs: SomePairs | None = None) -> SoftSums:
    """Sum over the chosen images of one block.

    Sums of some pairs differ from those of all by what rounding single precision leaves, 1e-6 of them at most: they
    are not made by products of matrices.

    Args:
        block: M models; its keys are needed.
        chosen: (n,) the images that are of the subsample.
        pairs: of the M models; without them all.

    Raises:
        ValueError: models of different classes, or arrays of different numbers of images.
    """
    models, n = len(block.logits), len(block.labels)
    shapes = {values.shape for values in block.logits}
    if len(shapes | {(n, 0)}) > 2 or {shape[0] for shape in shapes} - {n} or not len(chosen) == len(block.keys) == n:
        raise ValueError(f"logits of shapes {sorted(shapes)}, {len(chosen)} choices and {len(block.keys)} keys for {n}")
    classes = next(iter(shapes))[1] if shapes else 0
    sums = _nothing(models, pairs)
    images = np.flatnonzero(chosen)
    accepted = truths.accepted(block.labels)
    options = classes - (accepted != truths.NONE).sum(axis=1)
    chances = np.divide(1, options, out=np.zeros(n), where=options > 0)
    groups = (uniform(block.keys, "overlap/soft/group/1") * GROUPS).astype(np.int64)
    step = max(1, CHUNK // max(1, models * classes))
    for start in range(0, len(images) if models else 0, step):
        part = images[start : start + step]
        logs = np.empty((len(part), models, classes), np.float32)
        for model, (logits, fitted) in enumerate(zip(block.logits, block.calibrations, strict=True)):
            logs[:, model] = calibration.log_probabilities(logits[part], fitted.of(block.folds[part]))
        for image, log in zip(part, logs, strict=True):
            _add_image(sums, log, accepted[image], groups[image], chances[image])
    return sums


def _add_image(sums: SoftSums, log: Singles, accepted: NDArray[np.int32], group: int, chance: float) -> None:
    """Add one image, of which `log` (M, K) holds the log probabilities."""
    probability = np.exp(log)
    right = accepted[accepted != truths.NONE]
    likelihood = probability[:, right].sum(axis=1)
    u = np.rint(likelihood.astype(np.float64) * FINE) / FINE
    sums.images[group] += 1
    sums.chance[group] += np.rint(chance * FINE) / FINE
    sums.likelihood[group] += u
    sums.likelihood_square[...] += np.rint(u * u * FINE) / FINE
    of_group = (sums.overlap[group], sums.symmetric_kl[group], sums.jensen_shannon[group])
    by_pair = (*of_group, sums.squares, sums.with_a, sums.with_b, sums.likelihoods)
    if sums.pairs is not None:
        options = _one_option(probability.copy(), right, likelihood) if len(right) > 1 else probability
        add_some(probability, log, options, u, sums.pairs.first, sums.pairs.second, COEFFICIENTS, *by_pair)
        return
    entropies = probability @ log.T
    divergence = np.zeros_like(entropies)
    columns, log_columns = np.ascontiguousarray(probability.T), np.ascontiguousarray(log.T)
    add_jensen_shannon(columns, log_columns, COEFFICIENTS, divergence)
    options = _one_option(probability, right, likelihood) if len(right) > 1 else probability
    _add_pairs(options @ options.T, entropies, divergence, u, *by_pair)


def _one_option(probability: Singles, right: NDArray[np.int32], likelihood: Singles) -> Singles:
    """The accepted classes of an image as one, in place of the first of them."""
    probability[:, right[1:]] = 0
    probability[:, right[0]] = likelihood
    return probability


@compiled
def _add_pairs(
    together: Singles,
    entropies: Singles,
    divergence: Singles,
    u: Fractions,
    overlap: Fractions,
    symmetric_kl: Fractions,
    jensen_shannon: Fractions,
    squares: Fractions,
    with_a: Fractions,
    with_b: Fractions,
    likelihoods: Fractions,
) -> None:
    pair = 0
    for a in range(len(u)):
        for b in range(a + 1, len(u)):
            g = np.float64(together[a, b])
            j = np.float64(entropies[a, a]) + entropies[b, b] - entropies[a, b] - entropies[b, a]
            j = max(j, 0.0)
            d = max(np.float64(divergence[a, b]), 0.0)
            overlap[pair] += np.rint(g * FINE) / FINE
            symmetric_kl[pair] += np.rint(j * COARSE) / COARSE
            jensen_shannon[pair] += np.rint(d * FINE) / FINE
            squares[0, pair] += np.rint(g * g * FINE) / FINE
            squares[1, pair] += np.rint(j * j * COARSE) / COARSE
            squares[2, pair] += np.rint(d * d * FINE) / FINE
            with_a[pair] += np.rint(g * u[a] * FINE) / FINE
            with_b[pair] += np.rint(g * u[b] * FINE) / FINE
            likelihoods[pair] += np.rint(u[a] * u[b] * FINE) / FINE
            pair += 1


def _nothing(models: int, some: SomePairs | None) -> SoftSums:
    pairs = models * (models - 1) // 2 if some is None else len(some)
    return SoftSums(
        images=np.zeros(GROUPS, np.int64),
        chance=np.zeros(GROUPS),
        likelihood=np.zeros((GROUPS, models)),
        likelihood_square=np.zeros(models),
        likelihoods=np.zeros(pairs),
        overlap=np.zeros((GROUPS, pairs)),
        symmetric_kl=np.zeros((GROUPS, pairs)),
        jensen_shannon=np.zeros((GROUPS, pairs)),
        squares=np.zeros((3, pairs)),
        with_a=np.zeros(pairs),
        with_b=np.zeros(pairs),
        pairs=some,
    )
