"""What ensembles do on every image, computed in full: on the selection split, and on the test split that is reported.

Guarantees: exact integer counts, additive over images: sums of float64 in the order of selection (of weights: of
models), the lowest class on ties. Memory is bounded by `CHUNK`, whatever the number of ensembles.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overlap.analysis import truths
from overlap.analysis.ensembles.forward import Found
from overlap.analysis.ensembles.part import Counts, Full

CHUNK = 1 << 26
"""Probabilities held at a time: 256 MiB in float32 (at least one image of all models in use)."""

Outcomes = list[Counts]
"""Of each ensemble (2, steps, 3): on the selection and on the test split, after each step (for weights there is one),
images right, right where the reference is wrong, and wrong where it is right."""


def used(found: Sequence[Found], reference: int) -> list[int]:
    """The models that outcomes are computed from, ascending."""
    chosen = {model for one in found for model in (*one.members, *dict(one.weights))}
    return sorted(chosen | {reference})


def outcomes(
    found: Sequence[Found],
    reference: int,
    full: Full,
    images: NDArray[np.int64],
    labels: NDArray[Any],
    selection: NDArray[np.bool_],
    classes: int,
) -> Outcomes:
    """Count a range of images; over ranges, `added`.

    Args:
        found: ensembles, of any kind.
        reference: the best single model on the selection split.
        full: probabilities of all classes; asked for each model in `used`, chunk by chunk.
        images: (n,) what `full` is asked about, ascending.
        labels: (n,) or (n, L) of these images.
        selection: (n,) True in the selection split.
        classes: K.
    """
    models = used(found, reference)
    counted = [np.zeros((2, len(one.members) or min(1, len(one.weights)), 3), np.int64) for one in found]
    step = max(1, CHUNK // max(1, len(models) * classes))
    for start in range(0, len(images), step):
        some = slice(start, start + step)
        held = {model: full(model, images[some]) for model in models}
        single = truths.right(held[reference].argmax(axis=1), labels[some])
        chosen = selection[some]
        for one, counts in zip(found, counted, strict=True):
            running = np.zeros((len(chosen), classes))
            terms = [(model, 1.0) for model in one.members] or sorted(one.weights)
            for place, (model, weight) in enumerate(terms):
                running += held[model] if one.members else weight * held[model].astype(np.float64)
                if one.members or place == len(terms) - 1:
                    together = truths.right(running.argmax(axis=1), labels[some])
                    _count(counts[:, place if one.members else 0], together, single, chosen)
    return counted


def added(parts: Sequence[Outcomes]) -> Outcomes:
    """The outcomes over the images of all ranges."""
    return [np.asarray(sum(ranges[1:], start=ranges[0])) for ranges in zip(*parts, strict=True)]


def _count(
    counts: Counts, together: NDArray[np.bool_], single: NDArray[np.bool_], selection: NDArray[np.bool_]
) -> None:
    for split, chosen in enumerate((selection, ~selection)):
        for place, cell in enumerate((together, together & ~single, single & ~together)):
            counts[split, place] += (cell & chosen).sum()
