"""Which images serve what: five folds for calibration, and the selection and test splits of the greedy search.

Guarantees: membership depends on the sample's key alone, so it is the same for every model, data order and machine.
Not guaranteed: exact shares; they are binomial around their target, and a handful of images can leave a split empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

FOLDS = 5
"""Folds by which temperatures are cross-fitted."""

SELECTION_SHARE = 0.4
"""Share of the images on which the greedy search selects; it reports on the rest."""


def uniform(keys: Sequence[str], salt: str) -> NDArray[np.float64]:
    """Numbers in [0, 1), shape (N,), one per key: the first 53 bits of its salted BLAKE2b digest."""
    seed = salt.encode()[:16]
    words = [int.from_bytes(blake2b(key.encode(), digest_size=8, salt=seed).digest(), "big") >> 11 for key in keys]
    return np.array(words, np.float64) * 2.0**-53


def folds(keys: Sequence[str]) -> NDArray[np.int8]:
    """The calibration fold of each image, int8 in 0..4, shape (N,)."""
    return (uniform(keys, "overlap/fold/1") * FOLDS).astype(np.int8)


def selection(keys: Sequence[str]) -> NDArray[np.bool_]:
    """True for the images of the selection split (about 40%), False for the test split, shape (N,)."""
    return uniform(keys, "overlap/select/1") < SELECTION_SHARE
