"""What ensembles do on every image: on the selection split, and on the test split that is reported.

Guarantees: exact integer counts, additive over images: sums of float64 in the order of selection (of weights: of
models), the lowest class on ties.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.combining import LookUp
from overlap.analysis.ensembles.forward import Found
from overlap.analysis.ensembles.part import Counts
from overlap.analysis.ensembles.shortlists import Answered
from overlap.analysis.ensembles.sums import Terms, right_together

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
    held: Mapping[int, Answered],
    labels: NDArray[Any],
    selection: NDArray[np.bool_],
    look_up: LookUp,
) -> Outcomes:
    """Count a range of images; over ranges, `added`.

    Args:
        found: ensembles, of any kind.
        reference: the best single model on the selection split.
        held: shortlists of the models in `used`, on these n images.
        labels: (n,) or (n, L) of these images.
        selection: (n,) True in the selection split.
        look_up: logits of models on some of these images.
    """
    terms = [Terms.alike([reference]), *map(_terms, found)]
    right = right_together(terms, held, labels, look_up)
    edges = np.cumsum([0, *(one.judged for one in terms)])
    counted = [np.zeros((2, one.judged, 3), np.int64) for one in terms[1:]]
    for counts, first in zip(counted, edges[1:-1].tolist(), strict=True):
        for place in range(counts.shape[1]):
            _count(counts[:, place], right[:, first + place], right[:, 0], selection)
    return counted


def _terms(one: Found) -> Terms:
    if one.members:
        return Terms.alike(one.members, every=True)
    models, weights = zip(*sorted(one.weights), strict=True) if one.weights else ((), ())
    return Terms(tuple(models), tuple(weights))


def added(parts: Sequence[Outcomes]) -> Outcomes:
    """The outcomes over the images of all ranges."""
    return [np.asarray(sum(ranges[1:], start=ranges[0])) for ranges in zip(*parts, strict=True)]


def _count(
    counts: Counts, together: NDArray[np.bool_], single: NDArray[np.bool_], selection: NDArray[np.bool_]
) -> None:
    for split, chosen in enumerate((selection, ~selection)):
        for place, cell in enumerate((together, together & ~single, single & ~together)):
            counts[split, place] += (cell & chosen).sum()
