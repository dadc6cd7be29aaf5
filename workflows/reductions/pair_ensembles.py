"""Ensembles of all pairs, over all combiners: temperatures of pairs fitted on the sample, then every image counted."""

from __future__ import annotations

import functools
import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import ray
from numpy.typing import NDArray

from overlap.analysis.combining import COMBINERS, CombinerCounts, EnsembleCounts, count_ensembles
from overlap.analysis.consistency import PairCounts
from overlap.analysis.divergence import soft
from overlap.analysis.ensembles.lanes import sample_size
from overlap.analysis.ensembles.soft_scores import PairScores, Tile, TileScores, assembled, score_tile, tiles
from overlap.analysis.pair_ensembles import pair_ensembles_table
from workflows.cluster import fetch
from workflows.reductions.answers import Answers
from workflows.reductions.pairs import Categories
from workflows.remote import remote

MAIN = "mean_probability"
"""The combiner whose gains other tables speak of."""


@dataclass(frozen=True)
class PairEnsembles:
    """What the ensembles of all pairs came to."""

    table: pl.DataFrame
    """`pair_ensembles.parquet`, all combiners."""
    counts: EnsembleCounts
    """Of the main combiner."""

    @property
    def main(self) -> pl.DataFrame:
        """The rows of the main combiner."""
        return self.table.filter(pl.col("combiner") == MAIN)


def combine(answers: Answers, held: Any, counts: PairCounts, categories: Categories) -> PairEnsembles | None:
    """Ensembles of all pairs of the models that have logits; None where there are none.

    Args:
        answers: of M models.
        held: a reference to them.
        counts: joint counts of those models.
        categories: (M, M).
    """
    if not answers.models:
        return None
    found = assembled(len(answers.models), fetch([_score.remote(held, tile) for tile in tiles(len(answers.models))]))
    about = ray.put((found.weights, np.array(counts.right), categories))
    blocks = answers.reader.blocks(len(answers.models), answers.classes)
    total = functools.reduce(operator.add, fetch([_count.remote(held, about, images) for images in blocks]))
    return PairEnsembles(_table(answers, counts, total, found), total.of[MAIN])


def _table(answers: Answers, counts: PairCounts, total: CombinerCounts, found: PairScores) -> pl.DataFrame:
    tables = [
        pair_ensembles_table(answers.models, counts, total.of[combiner], combiner, found) for combiner in COMBINERS
    ]
    return pl.concat(tables).sort("model_a", "model_b", "combiner")


@remote(num_cpus=1)
def _score(answers: Answers, tile: Tile) -> TileScores:
    """NLL, calibration error and temperatures of the pairs of two ranges of models, on the leading images by hash."""
    keys = [answers.keys[image] for image in answers.sampled.tolist()]
    places = np.flatnonzero(soft.choose(keys, sample_size(answers.classes)))
    return score_tile([answers.sample(places, {*tile[0], *tile[1]})], tile)


@remote(num_cpus=1)
def _count(answers: Answers, about: tuple[NDArray[np.float64], Any, Categories], images: slice) -> CombinerCounts:
    """What the ensembles of all pairs get right on one block of images."""
    weights, right, categories = about
    block = answers.block(images)
    return count_ensembles(
        block.logits,
        block.calibrations,
        block.labels,
        block.folds,
        weights=weights,
        right=right,
        categories=categories,
    )
