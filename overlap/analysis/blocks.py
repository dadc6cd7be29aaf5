"""One block of images as all models see it: what the reductions over logits are sums over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.calibration import Calibration


@dataclass(frozen=True)
class Block:
    """One block of images as all models see it.

    Attributes:
        logits: M arrays (n, K) of stored logits.
        calibrations: M, of the same models.
        labels: (n,) true classes, or (n, L) accepted ones (see `truths`).
        folds: (n,) calibration folds.
        selection: (n,) True in the selection split, False in the test split.
        keys: n names of the images.
    """

    logits: Sequence[NDArray[Any]]
    calibrations: Sequence[Calibration]
    labels: NDArray[Any]
    folds: NDArray[np.int8]
    selection: NDArray[np.bool_]
    keys: Sequence[str] = ()
