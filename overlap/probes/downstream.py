"""Probes on a data set other than the study's own (paper.md, 1.7): models alone, and their features side by side.

Guarantees: one kind of probe and one metric for all: accuracy, or 11-point mAP where several classes can hold of an
image. What a model or pair gives is one array, to be made anywhere; the table compares them image by image.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from overlap.analysis.features.downstream import Key, accuracy_table, precision_table
from overlap.probes.trial import Sight, Trial, multi_hot


def judged(trial: Trial, a: Sight, b: Sight | None = None) -> NDArray[np.float32]:
    """One model's, or with `b` a pair's concatenated, probe on every image: five probes, or one with a training set.

    Returns:
        (N,) right or wrong as in `Trial.right`, or (N, K) scores where several classes can hold of an image.
    """
    sight = a if b is None else a.beside(b)
    return trial.scores(sight) if trial.several else trial.right(sight)


def downstream_table(data: str, trial: Trial, found: Mapping[Key, NDArray[np.float32]]) -> pl.DataFrame:
    """One row a model and a pair: feature_downstream.parquet of one data set.

    Args:
        data: its name.
        trial: its labels.
        found: what `judged` gave, by (model, None) and (model, model); a pair has a gain if both models are there.
    """
    if not trial.several:
        return accuracy_table(data, trial.trained_on, found)
    positive = multi_hot(trial.labels, trial.classes) > 0
    return precision_table(data, trial.trained_on, found, positive)
