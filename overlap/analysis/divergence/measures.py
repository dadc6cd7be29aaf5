"""Every measure of pairs that categories are compared by, and how much of its mean is noise of the images.

Guarantees: a measure of hard predictions has, to first order, the exact variance over images of any weighted sum over
pairs; for those with logits it is jackknifed over groups of images. For the rest (consistency by difficulty, and what
pair ensembles give) only standard errors of single pairs are known: then the standard deviation of a sum is taken to be
the sum of theirs, which it cannot exceed, so that those intervals are wider than need be, never narrower.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from overlap.analysis import truths
from overlap.analysis.bootstrap import image_variance
from overlap.analysis.consistency import PairCounts
from overlap.analysis.divergence import association
from overlap.analysis.divergence.association import Influence
from overlap.analysis.divergence.scores import Scores
from overlap.analysis.divergence.soft import SoftSums
from overlap.analysis.divergence.soft_measures import BOUNDS, soft_measures
from overlap.analysis.divergence.table import between_counts, cells_of, consistency_of, soft_places
from overlap.analysis.intervals import Z
from overlap.analysis.pairs import Categories, check_axis
from overlap.analysis.some_pairs import SomePairs, taken

Fractions = NDArray[np.float64]
Indices = NDArray[np.int64]

IMAGES = 8192
"""Images from which variances are estimated, at most: to 2%, spread evenly over all."""

HARD = {
    "error_inconsistency": (0.0, 1.0),
    "kappa": (-1.0, 1.0),
    "yule_q": (-1.0, 1.0),
    "correlation": (-1.0, 1.0),
    "log_odds_ratio": (-np.inf, np.inf),
    "double_fault": (0.0, 1.0),
}
BETWEEN = ("error_inconsistency", "kappa")
BY_PAIR = {"kappa_by_difficulty": (-1.0, 1.0), "gain_best": (-1.0, 1.0), "conversion_rate": (0.0, 1.0)}

NAMES = (
    *HARD,
    "kappa_by_difficulty",
    *(f"{name}_between" for name in BETWEEN),
    *BOUNDS,
    "gain_best",
    "conversion_rate",
)
"""All measures, in the order of the tables; the last five need logits."""


@dataclass(frozen=True)
class Measure:
    """One measure of all P pairs, and what its noise over images is known from (one of the last three).

    Attributes:
        name: one of `NAMES`.
        values: (P,), NaN where undefined.
        bounds: least and greatest value.
        influence: of an image, to first order.
        left_out: (G, P) the values without one group of images after the other.
        error: (P,) standard errors of single pairs.
    """

    name: str
    values: Fractions
    bounds: tuple[float, float]
    influence: Influence | None = None
    left_out: Fractions | None = None
    error: Fractions | None = None


@dataclass(frozen=True)
class Compared:
    """The measures of one zoo.

    Attributes:
        models: M names, ascending.
        categories: (P,) of `CATEGORIES` or None.
        accuracy: (M,).
        correct: (M, n') zeros and ones of the images that variances are estimated from.
        images: all images.
        measures: in the order of `NAMES`.
        pairs: the P pairs; None where they are all.
    """

    models: tuple[str, ...]
    categories: NDArray[np.object_]
    accuracy: Fractions
    correct: NDArray[np.bool_]
    images: int
    measures: tuple[Measure, ...]
    pairs: SomePairs | None = None

    @property
    def indices(self) -> tuple[Indices, Indices]:
        """(P,) each: first and second model of each pair."""
        return taken(len(self.models), pairs=self.pairs)

    def noise(self, measure: Measure, weight: Fractions) -> float:
        """Variance over images of the sum over pairs of weight times measure; pairs of weight zero may be undefined."""
        used = np.flatnonzero(weight)
        share = weight[used]
        first, second = (indices[used] for indices in self.indices)
        if measure.influence is not None:
            return self._first_order(measure.name, measure.influence, used, share, first, second)
        if measure.left_out is not None:
            without = measure.left_out[:, used] @ share
            if len(without) > 1 and not np.isnan(without).any():
                return float(without.var() * (len(without) - 1))
        if measure.error is None:
            return 0.0
        return float(np.nansum(np.abs(share) * measure.error[used]) ** 2)

    def _first_order(
        self, name: str, influence: Influence, used: Indices, share: Fractions, first: Indices, second: Indices
    ) -> float:
        correct, images = self.correct, self.images
        if name.endswith("_between"):
            right = correct.sum(axis=0)
            between = (right > 0) & (right < len(correct))
            images = max(1, round(images * float(between.mean())))
            correct = correct[:, between]
        if not correct.shape[1]:
            return 0.0
        # z_a z_b = (z_a + z_b - (z_a XOR z_b)) / 2
        product = share * influence.product[used]
        linear = np.zeros(len(correct))
        np.add.at(linear, first, share * influence.a[used] + product / 2)
        np.add.at(linear, second, share * influence.b[used] + product / 2)
        variance = image_variance(correct, first, second, -product / 2, linear)
        return variance * float(correct.shape[1] / images)


def compared(
    models: Sequence[str],
    prediction: NDArray[Any],
    labels: NDArray[Any],
    categories: Categories,
    counts: PairCounts,
    counted: Scores,
    divergence: pl.DataFrame,
    *,
    soft: SoftSums | None = None,
    soft_models: Sequence[int] = (),
    pair_ensembles: pl.DataFrame | None = None,
    pairs: SomePairs | None = None,
) -> Compared:
    """Gather the measures.

    Args:
        models: M names in ascending order.
        prediction: (M, N) classes.
        labels: (N,) true classes or (N, L) accepted ones.
        categories: (M, M) of `CATEGORIES` or None, read above the diagonal.
        counts: joint counts of those images.
        counted: who gets which of them right.
        divergence: the whole table of divergence.
        soft: the sums that it was made with.
        soft_models: the places of their models.
        pair_ensembles: of one combiner, for gains and conversion rates; also of some pairs only.
        pairs: whose measures these are; without them all.

    Raises:
        ValueError: names and counts do not fit.
    """
    check_axis(models, len(counts.both_right))
    first, second = taken(len(models), pairs=pairs)
    measures = _hard(counts, first, second) + _by_difficulty(divergence) + _between(counts, counted, first, second)
    if soft is not None:
        place = soft_places(len(models), soft_models, first, second, soft)
        for name, found in soft_measures(soft).items():
            known = place >= 0
            values, error = np.full(len(first), np.nan), np.full(len(first), np.nan)
            left_out = np.full((len(found.left_out), len(first)), np.nan)
            values[known], error[known] = found.value[place[known]], found.error[place[known]]
            left_out[:, known] = found.left_out[:, place[known]]
            measures.append(Measure(name, values, BOUNDS[name], left_out=left_out, error=error))
    if pair_ensembles is not None and pair_ensembles.width:
        measures += _of_ensembles(divergence, pair_ensembles)
    step = max(1, -(-len(labels) // IMAGES))
    return Compared(
        tuple(models),
        categories[first, second],
        counts.right / max(1, counts.n),
        truths.right(prediction[:, ::step], labels[::step]),
        counts.n,
        tuple(measures),
        pairs,
    )


def _hard(counts: PairCounts, first: Indices, second: Indices) -> list[Measure]:
    cells = cells_of(counts, first, second)
    inconsistency, kappa = consistency_of(counts, first, second)
    values = {
        "error_inconsistency": inconsistency,
        "kappa": kappa,
        "yule_q": association.yule_q(*cells),
        "correlation": association.correlation(*cells),
        "log_odds_ratio": association.log_odds_ratio(*cells)[0],
        "double_fault": association.double_fault(cells[3], counts.n),
    }
    changes = association.influences(*cells)
    return [Measure(name, values[name], bounds, influence=changes[name]) for name, bounds in HARD.items()]


def _between(counts: PairCounts, counted: Scores, first: Indices, second: Indices) -> list[Measure]:
    within = between_counts(counts, counted)
    changes = association.influences(*cells_of(within, first, second))
    values = dict(zip(BETWEEN, consistency_of(within, first, second), strict=True))
    return [Measure(f"{name}_between", values[name], HARD[name], influence=changes[name]) for name in BETWEEN]


def _by_difficulty(divergence: pl.DataFrame) -> list[Measure]:
    value, low, high = (divergence["kappa_by_difficulty" + end].to_numpy() for end in ("", "_low", "_high"))
    # an end can be cut at -1 or 1, but not both
    error = np.maximum(high - value, value - low) / Z
    return [Measure("kappa_by_difficulty", value, BY_PAIR["kappa_by_difficulty"], error=error)]


def _of_ensembles(divergence: pl.DataFrame, pair_ensembles: pl.DataFrame) -> list[Measure]:
    half = (pl.col("gain_high") - pl.col("gain_low")) / (2 * Z)
    rate, inconsistent = pl.col("conversion_rate"), pl.col("only_a") + pl.col("only_b")
    of_pairs = pair_ensembles.select(
        "model_a",
        "model_b",
        "gain_best",
        "conversion_rate",
        half.alias("gain_best_error"),
        # of two images more, one converted: never zero
        (((rate * inconsistent + 1) * ((1 - rate) * inconsistent + 1)).sqrt() / (inconsistent + 2) ** 1.5).alias(
            "conversion_rate_error"
        ),
    )
    joined = divergence.select("model_a", "model_b").join(
        of_pairs, on=["model_a", "model_b"], how="left", validate="1:1", maintain_order="left"
    )
    return [
        Measure(
            name,
            joined[name].cast(pl.Float64).fill_null(np.nan).to_numpy(),
            BY_PAIR[name],
            error=joined[f"{name}_error"].cast(pl.Float64).fill_null(np.nan).to_numpy(),
        )
        for name in ("gain_best", "conversion_rate")
    ]
