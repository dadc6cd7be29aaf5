"""10,000 models × 50,000 images: the joint counts of all 50 million pairs as Ray tasks over blocks, and their table.

The limit is the same arithmetic in one process without Ray, timed on a few blocks and multiplied. Of the table of pairs
a few of the ranges of rows that tasks make are written, spread over the whole, and the time is multiplied; the bounds
on memory are those of the whole, and asserted (`long_pairs` writes as many rows).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from itertools import combinations_with_replacement
from unittest import mock

import numpy as np

from overlap.analysis import bits
from overlap.analysis.consistency import PairCounts, disagreement_counts, narrow
from overlap.analysis.pairs import pair_count
from overlap.methodology import Training, pair_categories
from overlap.panel import Panel
from tests.benchmarks.comparison import Comparison, Found, Said
from tests.benchmarks.options import Options, seconds
from tests.benchmarks.pairs import hard_predictions
from tests.benchmarks.stages import GIB, Stages, resident
from workflows.nodes.cluster import Cluster, nodes
from workflows.reductions import pairs

SAMPLE = 6
"""Blocks that are counted without Ray, in each round."""
RANGES = (8, 40)
"""Ranges of the table's rows that are written, spread over the whole: what is done once is in both."""
SPARE = 1.0
"""GiB that a process may hold for what it is: libraries, compiled code, buffers of rows."""


def compared(options: Options) -> Iterator[Found]:
    """Rows of counting, memory, and the table by extrapolation."""
    models, images, rounds = (600, 2000, 1) if options.quick else (10_000, 50_000, 2)
    prediction, labels = hard_predictions(models, images)
    names = tuple(f"model-{number:05}" for number in range(models))
    panel = Panel(names, range(images), labels, prediction)  # type: ignore[arg-type]
    right, narrowed = bits.packed(panel.correct), narrow(prediction)
    starts = range(0, models, pairs.MODELS)
    blocks = list(combinations_with_replacement(starts, 2))
    random = np.random.default_rng(0)
    sample = [blocks[place] for place in random.choice(len(blocks), min(SAMPLE, len(blocks)), replace=False)]
    ours, bare, stages = [], [], Stages()
    with Cluster(None, options.folder) as cluster:
        cluster.start()
        small = Panel(names[:300], panel.keys, labels, prediction[:300])
        pairs.count(small)  # starts workers, and compiles there and here
        _bare(right, narrowed, [(0, 0), (0, 0 if models <= pairs.MODELS else pairs.MODELS)])
        for _ in range(rounds):
            bare.append(_bare(right, narrowed, sample) * len(blocks) / len(sample))
            with stages.watched(), stages.stage("count"):
                started = time.perf_counter()
                counts = pairs.count(panel)
                ours.append(time.perf_counter() - started)
        cores = sum(node.cpus for node in nodes())
        _check(counts, right, prediction, labels, random)
        del counts, right, narrowed
        table = [*_table(panel, options.quick)]
    size = f"{models:,} models × {images:,} images"
    counted = f"{len(sample)} of {len(blocks)} blocks of {pairs.MODELS} × {pairs.MODELS} in one process"
    settings = f"{counted}, multiplied, and divided by {cores} cores"
    ideal = [spent / cores for spent in bare]
    what, name = f"joint counts and disagreement, {size}", "the same arithmetic without Ray"
    yield Comparison("blocks", what, ours, name, settings, ideal, "without Ray", ideal)
    held = stages.all["count",]
    for kind, told in (("driver", "driver"), ("worker", "largest worker")):
        whole, own = held.resident[kind] / GIB, held.own[kind] / GIB
        said = f"{whole:.2f} GiB resident, {own:.2f} of it its own (the rest is Ray's shared memory)"
        yield Said("blocks", f"memory of the {told}", said, {"resident": whole, "own": own})
    yield from table


def _table(panel: Panel, quick: bool) -> Iterator[Found]:
    """Rows of the table of pairs: a few ranges of it, written as the whole would be."""
    models, images = panel.prediction.shape
    whole = pairs.row_starts(models)
    zoo = [Training(dataset="d", framework="f", architecture=f"a{one % 40}") for one in range(models)]
    categories = pair_categories(panel.models, zoo, [None] * models)
    stages = Stages()
    before = resident(os.getpid())
    spent: dict[int, float] = {}
    for ranges in (1, 2) if quick else RANGES:
        some = whole[:: max(1, len(whole) // ranges)][:ranges]
        written = mock.patch.object(pairs, "row_starts", return_value=some)
        with written, stages.watched(), stages.stage("write"):
            started = time.perf_counter()
            table = pairs.write(panel, categories)
            spent[len(some)] = time.perf_counter() - started
    (few, once), (many, longer) = spent.items()
    each = (longer - once) / (many - few)  # without what is done once, as putting the predictions where tasks find them
    for row in table.read().sample(min(50, table.rows), seed=0).iter_rows(named=True):
        a, b = (panel.prediction[int(row[name].rpartition("-")[2])] for name in ("model_a", "model_b"))
        assert row["both_right"] == ((a == panel.labels) & (b == panel.labels)).sum(), "a count is not exact"
        assert round(row["disagreement"] * images) == (a != b).sum(), "a count is not exact"
    held = stages.all["write",]
    own = next(own for kind, _, own in before if kind == "driver")
    driver, worker = (held.own["driver"] - own) / GIB, held.own["worker"] / GIB
    bounds = (2.2 * models * images / GIB + SPARE, SPARE)
    assert driver <= bounds[0], f"the driver took {driver:.2f} GiB more, not {bounds[0]:.2f}"
    assert worker <= bounds[1], f"a worker held {worker:.2f} GiB of its own, not {bounds[1]:.2f}"
    hours = (once + each * (len(whole) - few)) / 3600
    stored = table.path.stat().st_size / table.rows * pair_count(models) / GIB
    told = f"{hours:.2f} hours and {stored:.1f} GiB, by {few} and {many} of {len(whole):,} ranges"
    yield Said("blocks", f"pairs.parquet of {models:,} models × {images:,} images", told, {"h": hours})
    said = f"driver {driver:.2f} GiB beside the panel (bound {bounds[0]:.2f}), "
    said += f"largest worker {worker:.2f} of its own (bound {bounds[1]:.2f})"
    yield Said("blocks", "memory while it is written", said, {"driver": driver, "worker": worker})


def _bare(right: bits.Words, prediction: np.ndarray, sample: list[tuple[int, int]]) -> float:
    def count() -> None:
        for row, column in sample:
            rows, columns = slice(row, row + pairs.MODELS), slice(column, column + pairs.MODELS)
            first, given = right[rows], prediction[rows]
            bits.joint(first, first if row == column else right[columns])
            disagreement_counts(given, given if row == column else prediction[columns])

    return seconds(count)


def _check(
    counts: PairCounts, right: bits.Words, prediction: np.ndarray, labels: np.ndarray, random: np.random.Generator
) -> None:
    """A sample of pairs, and all of the diagonal, by plain comparison."""
    assert (np.diagonal(counts.both_right) == np.bitwise_count(right).sum(axis=1)).all()
    for a, b in random.integers(0, len(prediction), (200, 2)).tolist():
        both = ((prediction[a] == labels) & (prediction[b] == labels)).sum()
        assert counts.both_right[a, b] == counts.both_right[b, a] == both, "a count is not exact"
        assert counts.disagreement[a, b] == (prediction[a] != prediction[b]).sum(), "a count is not exact"
