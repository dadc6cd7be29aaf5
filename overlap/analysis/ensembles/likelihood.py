"""Forward selection by the negative log-likelihood of the mean probability: exact, from the models' likelihoods alone.

Guarantees: log-likelihoods are added up as integers (multiples of 2^-36 nats), so that no order of images can change a
choice; of equals the lowest model. A likelihood below the least float32, 2^-149, counts as that: no image costs more
than 103 nats.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.ensembles.forward import MAX_SIZE, PATIENCE, Found
from overlap.analysis.ensembles.part import Members

FIXED = 2.0**36
"""Units of one nat: with them, the sum over 10^6 images is below 2^63."""

LEAST = 2.0**-149


def by_likelihood(
    name: str,
    likelihood: NDArray[np.float32],
    *,
    anchor: int | None = None,
    max_size: int = MAX_SIZE,
    patience: int = PATIENCE,
) -> Found:
    """Select members one by one, each the model with which the NLL on the selection split is lowest.

    Args:
        name: what the tables call it.
        likelihood: (M, n) calibrated probability of the accepted classes together (`Scored.likelihood`), out of fold,
            on the selection split.
        anchor: the first member; without it the model of the lowest NLL.
        max_size: steps at most.
        patience: steps without a better ensemble after which it ends.
    """
    if not likelihood.size:
        return Found(name, "nll", anchor=anchor, objective="nll", reason="the selection split has no image")
    running = np.zeros(likelihood.shape[1])
    members: Members = ()
    scores: list[int] = []
    while len(members) < max_size and (not scores or len(scores) - (int(np.argmax(scores)) + 1) < patience):
        tried = range(len(likelihood)) if members or anchor is None else [anchor]
        found = [log_likelihood((running + likelihood[model]) / (len(members) + 1)) for model in tried]
        best = int(np.argmax(found))
        members = (*members, tried[best])
        scores.append(found[best])
        running += likelihood[members[-1]]
    values = tuple(score / FIXED / likelihood.shape[1] for score in scores)
    return Found(name, "nll", members, values, anchor=anchor, objective="nll")


def log_likelihood(likelihood: NDArray[Any]) -> int:
    """Sum of the logarithms over images, in units of 1 / `FIXED` nats."""
    return int(np.rint(np.log(np.maximum(likelihood, LEAST)) * FIXED).astype(np.int64).sum())
