"""10,000 models × 50,000 images: the joint counts of all 50 million pairs as Ray tasks over blocks, and their memory.

The limit is the same arithmetic in one process without Ray, timed on a few blocks and multiplied. The table of pairs is
timed on a range of its rows and multiplied: it is not made whole.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import combinations_with_replacement

import numpy as np

from overlap.analysis import bits
from overlap.analysis.consistency import PairCounts, disagreement_counts, narrow
from overlap.analysis.pairs import pairs_table
from overlap.panel import Panel
from tests.benchmarks.comparison import Comparison, Found, Said
from tests.benchmarks.options import Options, seconds
from tests.benchmarks.pairs import hard_predictions
from tests.benchmarks.stages import GIB, Stages
from workflows.nodes.cluster import Cluster, nodes
from workflows.reductions import pairs

SAMPLE = 6
"""Blocks that are counted without Ray, in each round."""


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
    some = 4000
    few = range(200)  # of them alone: what the indices of all pairs take is no part of a row
    among = counts.among(few)
    pairs_table(names[:200], among, rows=slice(0, 1))  # compile
    spent = seconds(lambda: pairs_table(names[:200], among, rows=slice(0, some)))
    whole = spent / some * models * (models - 1) / 2 / 3600
    yield Said(
        "blocks", "intervals and bounds of all pairs, by 4,000 of them", f"{whole:.2f} hours of one core", {"h": whole}
    )


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
