"""Ensembles of all pairs, over all combiners: recalled where they were counted before, else counted and kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import ray

from overlap.analysis.combining import COMBINERS, MAIN, EnsembleCounts, count_pairs
from overlap.analysis.consistency import PairCounts
from overlap.analysis.ensembles.soft_scores import PairScores, score_pairs
from overlap.analysis.pair_categories import PairCategories
from overlap.analysis.pair_ensembles import pair_ensembles_table
from overlap.store.objects import open_objects
from workflows.nodes.cluster import fetch
from workflows.nodes.remote import remote
from workflows.reductions.answers import Answers, LookUp, Sample
from workflows.reductions.counting import Counting, LookedUp
from workflows.reductions.kept_pairs import Held, KeptPairs, Pairs, tiles
from workflows.reductions.pair_rows import Name, PairRows


@dataclass(frozen=True)
class PairEnsembles:
    """What the ensembles of all pairs came to."""

    table: pl.DataFrame
    """`pair_ensembles.parquet`, all combiners."""
    counts: EnsembleCounts
    """Of the main combiner."""
    counted: int
    """Pairs that were not recalled."""
    looked_up: LookedUp
    """Logits that were read for them."""

    @property
    def main(self) -> pl.DataFrame:
        """The rows of the main combiner."""
        return self.table.filter(pl.col("combiner") == MAIN)


def combine(answers: Answers, counts: PairCounts, categories: PairCategories) -> PairEnsembles | None:
    """Ensembles of all pairs of the models that have logits; None where there are none.

    Args:
        answers: of M models.
        counts: joint counts of those models.
        categories: of their pairs.
    """
    if not answers.models:
        return None
    pairs = KeptPairs.of(answers)
    first, second = pairs.missing
    made, looked_up = _made(answers, pairs.context, first, second)
    found = pairs.gathered(made, counts.right, categories)
    of = {name: pairs.counts(found.images[:, place]) for place, name in enumerate(COMBINERS)}
    of[MAIN] = of[MAIN].with_gains(found.gains)
    return PairEnsembles(_table(answers, counts, of, found.scores), of[MAIN], len(first), looked_up)


def _table(answers: Answers, counts: PairCounts, total: dict[str, EnsembleCounts], scores: PairScores) -> pl.DataFrame:
    tables = [pair_ensembles_table(answers.models, counts, total[name], name, scores) for name in COMBINERS]
    return pl.concat(tables).sort("model_a", "model_b", "combiner")


def _made(answers: Answers, context: str, first: Pairs, second: Pairs) -> tuple[list[Held], LookedUp]:
    """Pairs of models, counted and kept, and the logits that were read for it."""
    sample = answers.sample(answers.paired)
    about = ray.put((answers.labels, answers.folds, answers.look_up, answers.names, sample, context))
    made = [
        _make.remote([answers.answered[model] for model in models], models, pairs, about)
        for models, pairs in tiles(first, second)
    ]
    return [(fetch(pairs), rows) for pairs, rows, _ in made], LookedUp.sum(fetch([looked for *_, looked in made]))


@remote(num_cpus=1, num_returns=3)
def _make(
    answered: Sequence[Any], models: Sequence[int], pairs: Pairs, about: tuple[Any, ...]
) -> tuple[Sequence[tuple[Name, Name]], PairRows, LookedUp]:
    """The pairs of some models, counted on every image by weights that were fitted on the sample."""
    labels, folds, look_up, names, sample, context = about
    own: LookUp = look_up
    held: Sample = sample
    first, second = pairs
    soft = score_pairs([held.block(models)], np.array(models)[first], np.array(models)[second])
    looked = Counting(own)
    together = count_pairs(
        ray.get([*answered]),
        labels,
        folds,
        first,
        second,
        soft.weights,
        lambda model, images: looked(models[model], images),
    )
    told = tuple((names[models[a]], names[models[b]]) for a, b in pairs.T.tolist())
    rows = PairRows(told, soft, together)
    rows.write(open_objects(own.reader.where), own.reader.data, context)
    return told, rows, looked.told
