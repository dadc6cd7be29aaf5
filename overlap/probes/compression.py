"""The compression curve (paper.md, 1.6): how few features of two models reach an accuracy, the most diverse first.

Guarantees: the order is made from the features that probes are trained on (without a training set from all images;
it never sees a label), by `overlap.analysis.features.diversity`; beside it the same curve in random order, seeded by
the names, as control, and the base model alone with all its features.
"""

from __future__ import annotations

from typing import Any
from zlib import crc32

import numpy as np

from overlap.analysis.features.diversity import most_diverse_first
from overlap.probes.trial import Sight, Trial

MULTIPLE = 256
"""Features are added by this many, as in the paper, to base models of at least `EIGHTHS` times as many."""

EIGHTHS = 8
"""Of a smaller base model's dimension features are added by this share."""


def steps(dimension: int, together: int) -> list[int]:
    """How many features each point of the curve has: up to both models' together, from a base of this dimension."""
    step = MULTIPLE if dimension >= MULTIPLE * EIGHTHS else max(1, dimension // EIGHTHS)
    points = list(range(step, together + 1, step))
    return points if points and points[-1] == together else [*points, together]


def compression_rows(
    base: str, other: str, category: str | None, a: Sight, b: Sight, trial: Trial
) -> list[dict[str, Any]]:
    """Rows of feature_compression.parquet: about 33 probes for two models of one dimension.

    Args:
        base: name of the base model.
        other: name of the other.
        category: of the pair.
        a: the base model's features.
        b: the other's, of the same images.
        trial: the images' labels, and what probes are trained on.
    """
    both = a.beside(b)
    seen = (a.images, b.images) if a.train is None or b.train is None else (a.train, b.train)
    orders = {
        "covariance": most_diverse_first(*seen),
        "random": np.random.default_rng(crc32(f"{base}\n{other}\norder".encode())).permutation(both.dimension),
    }
    points = steps(a.dimension, both.dimension)
    curve = [(order, both.take(columns[:size])) for order, columns in orders.items() for size in points[:-1]]
    whole = trial.right(both)  # the same features in whichever order
    found = [(order, sight, trial.right(sight)) for order, sight in curve]
    found += [(order, both, whole) for order in orders]
    found.append(("base", a, trial.right(a)))
    rows = []
    for order, sight, right in found:
        judged = right[~np.isnan(right)]
        rows.append(
            {
                "base": base,
                "other": other,
                "category": category,
                "order": order,
                "dimension": sight.dimension,
                "trained_on": trial.trained_on,
                "n": len(judged),
                "accuracy": float(judged.mean(dtype=np.float64)) if len(judged) else None,
            }
        )
    return sorted(rows, key=lambda row: (row["order"], row["dimension"]))
