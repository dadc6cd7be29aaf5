"""Probes on mixed features of two models (paper.md, 1.6): the share of the other rises, the dimension is held.

At rate r the other gives round(r D) of its features and the base model the rest of its D, both drawn at random; an
other with fewer features than asked gives all it has, so the dimension is at most the base model's ("at most the same
dimensionality"). A draw is seeded by the names, the rate and its number. Where both give all their features or none
there is nothing to draw, and one draw stands for all.

Controls: `reinit`, pairs of one methodology; `halves`, two random halves of one model, which shows what mixing does by
itself; `shuffled`, the same draws with the partner's features of other images, which must not gain.
"""

from __future__ import annotations

from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.features.mixing import Mixed
from overlap.probes.trial import Sight, Trial

RATES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of the other model's features."""

DRAWS = 3
"""Random draws of features at each rate."""

Columns = NDArray[np.int64]


def mix_pair(
    base: str, other: str, category: str | None, a: Sight, b: Sight, trial: Trial, draws: int = DRAWS
) -> list[Mixed]:
    """Mix two models' features, then those of the base and the other's shuffled ones; about 22 probes at 3 draws.

    Args:
        base: name of the base model, whose dimension is held.
        other: name of the other.
        category: of the pair.
        a: the base model's features.
        b: the other's, of the same images.
        trial: the images' labels, and what probes are trained on.
        draws: of features at each rate.
    """
    control = "reinit" if category == "reinit" else "pair"
    known: dict[tuple[str, float, int], NDArray[np.float32]] = {}
    shuffled = b.shuffled(np.random.default_rng(crc32(f"{base}\n{other}\nshuffled".encode())))
    found = []
    for name, partner in ((control, b), ("shuffled", shuffled)):
        rows, right = [], {}
        for rate in RATES:
            for draw, (of_base, of_other) in enumerate(
                draw_columns(base, other, a.dimension, b.dimension, rate, draws)
            ):
                sight = a.take(of_base).beside(partner.take(of_other))
                key = (name if len(of_other) else "", rate, draw)  # without the partner, shuffling changes nothing
                if key not in known:
                    known[key] = trial.right(sight)
                right[rate, draw] = known[key]
                rows.append(_row(base, other, category, name, rate, draw, sight, trial, known[key]))
        found.append(Mixed(rows, base, other, category, name, _gains(right)))
    return found


def mix_halves(model: str, features: Sight, trial: Trial, draws: int = DRAWS) -> Mixed:
    """Mix two random halves of one model's features, drawn anew each time; 15 probes at 3 draws.

    Args and errors are those of `mix_pair`. The halves' dimension is held: floor(D / 2).
    """
    half = features.dimension // 2
    rows, right = [], {}
    for rate in RATES:
        for draw in range(draws):
            order = _random(model, model, rate, draw).permutation(features.dimension)
            first, second = features.take(order[:half]), features.take(order[half : 2 * half])
            given = round(rate * half)
            sight = first.take(np.arange(half - given)).beside(second.take(np.arange(given)))
            right[rate, draw] = trial.right(sight)
            rows.append(_row(model, model, None, "halves", rate, draw, sight, trial, right[rate, draw]))
    return Mixed(rows, model, model, None, "halves", _gains(right))


def draw_columns(
    base: str, other: str, dimension: int, dimension_other: int, rate: float, draws: int
) -> list[tuple[Columns, Columns]]:
    """For each draw the base's and the other's features, in ascending order; one draw where nothing is random."""
    of_other = min(round(rate * dimension), dimension_other)
    of_base = dimension - round(rate * dimension)
    if of_base in (0, dimension) and of_other in (0, dimension_other):
        draws = 1
    drawn = []
    for draw in range(draws):
        random = _random(base, other, rate, draw)
        first = np.sort(random.choice(dimension, of_base, replace=False))
        drawn.append((first, np.sort(random.choice(dimension_other, of_other, replace=False))))
    return drawn


def _random(base: str, other: str, rate: float, draw: int) -> np.random.Generator:
    return np.random.default_rng(crc32(f"{base}\n{other}\n{rate}\n{draw}".encode()))


def _gains(right: dict[tuple[float, int], NDArray[np.float32]]) -> NDArray[np.float32]:
    mean = {
        rate: np.mean([bits for (of, _), bits in right.items() if of == rate], axis=0, dtype=np.float32)
        for rate in (0.0, 0.5, 1.0)
    }
    return np.stack([mean[0.5] - mean[0.0], mean[0.5] - mean[1.0]])


def _row(
    base: str,
    other: str,
    category: str | None,
    control: str,
    rate: float,
    draw: int,
    sight: Sight,
    trial: Trial,
    right: NDArray[np.float32],
) -> dict[str, Any]:
    judged = right[~np.isnan(right)]
    return {
        "base": base,
        "other": other,
        "category": category,
        "control": control,
        "rate": rate,
        "draw": draw,
        "dimension": sight.dimension,
        "trained_on": trial.trained_on,
        "n": len(judged),
        "accuracy": float(judged.mean(dtype=np.float64)) if len(judged) else None,
    }
