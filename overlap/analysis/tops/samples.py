"""Which images keep all of their logits where a study stores the largest alone.

Guarantees: membership depends on the sample's key alone, so it is the same for every checkpoint, shard and machine, and
every checkpoint of a study has the same images in full. No image is in both samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.splits import uniform

CALIBRATION_SHARE = 1 / 32
"""Temperatures are fitted on these: 1,560 of ImageNet's validation images."""

AUDIT_SHARE = 1 / 128
"""On these what bounds say is compared with what all logits say: 390 of ImageNet's; no temperature is fitted on any."""


def calibration(keys: Sequence[str]) -> NDArray[np.bool_]:
    """True for the images on which temperatures are fitted, shape (N,)."""
    return uniform(keys, "overlap/top/1") < CALIBRATION_SHARE


def audit(keys: Sequence[str]) -> NDArray[np.bool_]:
    """True for the images on which bounds are checked, shape (N,)."""
    place = uniform(keys, "overlap/top/1")
    return (place >= CALIBRATION_SHARE) & (place < CALIBRATION_SHARE + AUDIT_SHARE)


def whole(keys: Sequence[str]) -> NDArray[np.bool_]:
    """True for the images of either sample, shape (N,): those whose logits are kept in full."""
    return uniform(keys, "overlap/top/1") < CALIBRATION_SHARE + AUDIT_SHARE
