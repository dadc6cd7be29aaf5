"""The pair tables of 300 models × 50,000 images, from hard predictions: python -m tests.benchmarks.pairs

The four joint counts of all pairs beside the bare float32 product of the same matrices, in interleaved runs; and the
time of everything else in pairs.parquet on two threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import polars as pl

from overlap.analysis.consistency import PairCounts, disagreement_counts, joint_counts, pair_counts
from overlap.analysis.pairs import pair_indices, pairs_table
from tests.benchmarks.table import Row, peak_memory, show

MODELS, IMAGES, CLASSES = 300, 50_000, 1000
ROUNDS = 5


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def hard_predictions() -> tuple[np.ndarray, np.ndarray]:
    """Predictions (M, N) of models that find the same images hard, and labels (N,)."""
    random = np.random.default_rng(0)
    labels = random.integers(0, CLASSES, IMAGES).astype(np.int32)
    ease = random.random(IMAGES)
    prediction = np.empty((MODELS, IMAGES), np.int32)
    for model in range(MODELS):
        right = 0.5 * random.random(IMAGES) + 0.5 * ease < 0.65
        prediction[model] = np.where(right, labels, random.integers(0, CLASSES, IMAGES))
    return prediction, labels


def four_counts(correct: np.ndarray) -> None:
    """All four joint counts of all pairs, from correctness bits."""
    both_right = joint_counts(correct, correct)
    right = np.diagonal(both_right)
    only_a = right[:, None] - both_right
    np.stack([both_right, only_a, only_a.T, correct.shape[1] - both_right - only_a - only_a.T])


def whole_table(names: list[str], counts: PairCounts, threads: int) -> pl.DataFrame:
    edges = np.linspace(0, len(pair_indices(len(names))[0]), 4 * threads + 1).astype(int).tolist()
    ranges = [slice(first, last) for first, last in pairwise(edges)]
    with ThreadPoolExecutor(threads) as pool:
        return pl.concat(pool.map(lambda rows: pairs_table(names, counts, rows=rows), ranges))


def main() -> None:
    prediction, labels = hard_predictions()
    names = [f"model-{number:03}" for number in range(MODELS)]
    correct = prediction == labels
    ones = correct.astype(np.float32)  # 60 MB
    whole_table(names[:2], pair_counts(prediction[:2, :9], labels[:9]), 1)  # compile
    counts = pair_counts(prediction, labels)
    assert (counts.both_right == (ones @ ones.T).astype(np.int64)).all(), "the counts are not exact"

    bare, joint, rest = [], [], []
    for _ in range(ROUNDS):
        bare.append(seconds(lambda: ones @ ones.T))
        joint.append(seconds(lambda: four_counts(correct)))
        rest.append(
            seconds(lambda: disagreement_counts(prediction, prediction))
            + seconds(lambda: whole_table(names, counts, 2))
        )
    show(
        f"{MODELS} models x {IMAGES:,} images, hard predictions, medians of {ROUNDS}",
        [
            Row("bare float32 product", bare, "s"),
            Row("the four joint counts of all pairs", joint, "s"),
            Row(
                "joint counts / product, limit 5",
                [ours / theirs for ours, theirs in zip(joint, bare, strict=True)],
                "x",
            ),
            Row("everything else in pairs.parquet, 2 threads, limit 10", rest, "s"),
        ],
    )
    print(f"peak resident memory: {peak_memory():.2f} GiB (limit 1.5)")


if __name__ == "__main__":
    main()
