"""NLL and calibration error of the ensembles of pairs on a sample of images, and the weights of `two_temperatures`.

Guarantees: exact softmax over all classes; everything out of fold; a pair's figures depend on its two models and the
sample alone, whatever the tiles or tasks. Sums are float32 within an image, float64 over images. The calibration error
is that of `calibration.calibration_error`: 15 bins of equal mass, and equal confidences share their mean accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.blocks import Block
from overlap.analysis.combining import COMBINERS, TWO_TEMPERATURES
from overlap.analysis.ensembles import duets, temperatures
from overlap.analysis.ensembles.lanes import Lanes, lanes
from overlap.analysis.splits import FOLDS

Fractions = NDArray[np.float64]

TILE = 32
"""Models a side: 64 models of the sample at 1,000 classes are 0.3 GiB."""

Tile = tuple[range, range]


@dataclass(frozen=True)
class TileScores:
    """What the pairs (a, b), a < b, of two ranges of R and C models give; elsewhere NaN.

    Attributes:
        tile: the two ranges.
        n: images of the sample.
        nll: (combiners, R, C) float64, in the order of `COMBINERS`; nats.
        ece: (combiners, R, C) float64.
        weights: (5, 2, R, C) float64; by fold, of the model of the row and of that of the column.
    """

    tile: Tile
    n: int
    nll: Fractions
    ece: Fractions
    weights: Fractions


@dataclass(frozen=True)
class PairScores:
    """Of all pairs of M models.

    Attributes:
        n: images of the sample.
        nll: mean negative log probability of the accepted classes by combiner, (M, M) above the diagonal; nats.
        ece: calibration error likewise.
        weights: (5, M, M) float64; 1 / T by fold of the row's model when it is paired with the column's.
    """

    n: int
    nll: dict[str, Fractions]
    ece: dict[str, Fractions]
    weights: Fractions


def tiles(models: int) -> list[Tile]:
    """The tiles that cover all pairs: one task each."""
    ranges = [range(start, min(start + TILE, models)) for start in range(0, models, TILE)]
    return [(rows, columns) for place, rows in enumerate(ranges) for columns in ranges[place:]]


def score_tile(parts: Sequence[Block], tile: Tile) -> TileScores:
    """Fit and score the pairs of one tile.

    Args:
        parts: the sample, in the order of the images (`lanes.sampled` of every block, or any grouping of these).
        tile: of `tiles`.

    Raises:
        ValueError: models of different numbers of classes.
    """
    rows, columns = tile
    shape = len(rows), len(columns)
    nll, ece = np.full((2, len(COMBINERS), *shape), np.nan)
    weights = np.full((FOLDS, 2, *shape), np.nan)
    models = sorted({*rows, *columns})
    n = sum(len(part.labels) for part in parts)
    calibrations = [parts[0].calibrations[model] for model in models] if parts else []
    inverse = np.array([[1 / fitted.temperature, *(1 / fitted.fold_temperatures)] for fitted in calibrations])
    pairs = [(i, j) for i, a in enumerate(rows) for j, b in enumerate(columns) if a < b]
    first = np.array([models.index(rows[i]) for i, _ in pairs], np.int64)
    second = np.array([models.index(columns[j]) for _, j in pairs], np.int64)
    if not pairs or not parts:
        return TileScores(tile, n, nll, ece, weights)
    laid = lanes(parts, models)
    fitted = _fitted(laid, inverse, first, second)
    where = tuple(np.array(pairs).T)
    weights[:, :, *where] = fitted.transpose(1, 2, 0)
    if n:
        for place, (name, (kind, calibrated)) in enumerate(COMBINERS.items()):
            own = inverse[:, 1:] if calibrated else np.ones((len(models), FOLDS))
            halves = np.stack([own[first], own[second]], axis=2) / 2
            pair_weights = fitted if name == TWO_TEMPERATURES else halves
            found = duets.scores(laid, kind, own, pair_weights, first, second)
            nll[place][where], ece[place][where] = found.round(12)
    return TileScores(tile, n, nll, ece, weights)


def assembled(models: int, found: Sequence[TileScores]) -> PairScores:
    """Put all tiles of M models together, in any order."""
    nll, ece = np.full((2, len(COMBINERS), models, models), np.nan)
    weights = np.zeros((FOLDS, models, models))
    for one in found:
        rows, columns = one.tile
        for i, a in enumerate(rows):
            for j, b in enumerate(columns):
                if a < b:
                    nll[:, a, b], ece[:, a, b] = one.nll[:, i, j], one.ece[:, i, j]
                    weights[:, a, b], weights[:, b, a] = one.weights[:, 0, i, j], one.weights[:, 1, i, j]
    names = list(COMBINERS)
    return PairScores(
        found[0].n if found else 0,
        dict(zip(names, nll, strict=True)),
        dict(zip(names, ece, strict=True)),
        weights,
    )


def _fitted(laid: Lanes, inverse: Fractions, first: NDArray[np.int64], second: NDArray[np.int64]) -> Fractions:
    """(P, 5, 2): the weights of each pair; half of what calibrates each model alone where no image can fit them."""
    single = (laid.accepted[:, :, 1:] < 0).all(axis=2)
    label = np.where(single, laid.accepted[:, :, 0], -1).astype(np.int32)
    weights = np.empty((len(first), FOLDS, 2))
    for place, (a, b) in enumerate(zip(first, second, strict=True)):
        temperatures.fit(laid.z[a], laid.z[b], label, laid.folds, inverse[a] / 2, inverse[b] / 2, weights[place])
    return weights
