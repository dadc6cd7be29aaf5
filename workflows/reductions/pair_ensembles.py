"""Ensembles of all pairs, over all combiners: recalled where they were counted before, else counted and kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
import ray

from overlap.analysis.calibration import Calibration
from overlap.analysis.combining import COMBINERS, MAIN, EnsembleCounts, count_pairs
from overlap.analysis.consistency import PairCounts
from overlap.analysis.ensembles.soft_scores import PairScores, score_pairs
from overlap.analysis.pair_categories import PairCategories
from overlap.analysis.pair_ensembles import pair_ensembles_table
from overlap.analysis.some_pairs import SomePairs
from overlap.store.location import open_objects
from workflows.nodes.cluster import fetch
from workflows.nodes.remote import remote
from workflows.reductions.answers import Answers, Sample
from workflows.reductions.counting import Counting, LookedUp
from workflows.reductions.kept_pairs import Held, KeptPairs, Pairs
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


def combine(
    answers: Answers, counts: PairCounts, categories: PairCategories, some: SomePairs | None = None
) -> PairEnsembles | None:
    """Ensembles of the pairs of the models that have logits; None where there are none.

    Args:
        answers: of M models.
        counts: joint counts of the pairs.
        categories: of the models' pairs.
        some: the pairs; without them all of the M models.
    """
    if not answers.models:
        return None
    pairs = KeptPairs.of(answers, pairs=some)
    made, looked_up = _made(answers, pairs.context, pairs.tasks)
    found = pairs.gathered(made, counts.right, categories)
    of = {name: pairs.counts(found.images[:, place]) for place, name in enumerate(COMBINERS)}
    of[MAIN] = of[MAIN].with_gains(found.gains)
    return PairEnsembles(_table(answers, counts, of, found.scores, some), of[MAIN], pairs.counted, looked_up)


def _table(
    answers: Answers,
    counts: PairCounts,
    total: dict[str, EnsembleCounts],
    scores: PairScores,
    some: SomePairs | None,
) -> pl.DataFrame:
    tables = [pair_ensembles_table(answers.models, counts, total[name], name, scores, some) for name in COMBINERS]
    return pl.concat(tables).sort("model_a", "model_b", "combiner")


def _made(answers: Answers, context: str, tasks: Sequence[tuple[list[int], Pairs]]) -> tuple[list[Held], LookedUp]:
    """Pairs of models, counted and kept, and the logits that were read for it."""
    sample = answers.sample(answers.paired)
    reader, nobody = answers.look_up.reader, replace(sample, held=(), calibrations=())
    about = ray.put((answers.labels, answers.folds, reader, nobody, context))
    records = [ray.put(one) for one in answers.look_up.records] if tasks else []  # read where a look-up wants them
    made = []
    for models, pairs in tasks:  # of thousands of models a task is told of its own alone
        told = [(answers.names[model], sample.calibrations[model]) for model in models]
        held = [(answers.answered[model], sample.held[model], records[model]) for model in models]
        made.append(_make.remote(models, pairs, told, held, about))
    return [(fetch(pairs), rows) for pairs, rows, _ in made], LookedUp.sum(fetch([looked for *_, looked in made]))


@remote(num_cpus=1, num_returns=3)
def _make(
    models: Sequence[int],
    pairs: Pairs,
    told: Sequence[tuple[Name, Calibration]],
    held: Sequence[tuple[Any, Any, Any]],
    about: tuple[Any, ...],
) -> tuple[Sequence[tuple[Name, Name]], PairRows, LookedUp]:
    """The pairs of some models, counted on every image by weights that were fitted on the sample."""
    labels, folds, reader, nobody, context = about
    sample: Sample = replace(
        nobody, held=tuple(logits for _, logits, _ in held), calibrations=tuple(fitted for _, fitted in told)
    )
    first, second = pairs
    soft = score_pairs([sample.block()], first, second)
    looked = Counting(lambda model, images: reader.read(ray.get(held[models.index(model)][2]), images))
    together = count_pairs(
        ray.get([answered for answered, *_ in held]),
        labels,
        folds,
        first,
        second,
        soft.weights,
        lambda model, images: looked(models[model], images),
    )
    named = tuple((told[a][0], told[b][0]) for a, b in pairs.T.tolist())
    rows = PairRows(named, soft, together)
    rows.write(open_objects(reader.where), reader.data, context)
    return named, rows, looked.told
