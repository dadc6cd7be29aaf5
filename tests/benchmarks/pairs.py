"""Figures of the pair tables at 300 models × 50,000 images × 1,000 classes: python -m tests.benchmarks.pairs

Prints the time of the joint counts beside the bare float32 product of the same matrices (medians of interleaved runs),
of everything else in pairs.parquet on two threads, of calibration and pair ensembles on samples, and peak memory.
"""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import polars as pl

from overlap.analysis.calibration import Calibration, calibrate
from overlap.analysis.combining import COMBINERS, ensemble_counts
from overlap.analysis.consistency import PairCounts, disagreement_counts, joint_counts, pair_counts
from overlap.analysis.greedy import Block, score_block
from overlap.analysis.pairs import pair_indices, pairs_table

MODELS, IMAGES, CLASSES = 300, 50_000, 1000
SAMPLE = 512  # images on which the work on logits is timed


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def peak() -> float:
    """Peak resident memory of this process, GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


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


def sampled(logits: np.ndarray, labels: np.ndarray, model: int) -> np.ndarray:
    """Logits of another model that finds the same images hard."""
    noise = np.random.default_rng(model).normal(0, 2, len(labels)).astype(np.float16)
    others = np.roll(logits, 7 * model, axis=1)
    others[np.arange(len(labels)), labels] = logits[np.arange(len(labels)), labels] + noise
    return others


def main() -> None:
    prediction, labels = hard_predictions()
    names = [f"model-{number:03}" for number in range(MODELS)]
    correct = prediction == labels
    ones = correct.astype(np.float32)  # 60 MB
    whole_table(names[:2], pair_counts(prediction[:2, :9], labels[:9]), 1)  # compile

    bare, joint = [], []
    for _ in range(5):
        bare.append(seconds(lambda: ones @ ones.T))
        joint.append(seconds(lambda: four_counts(correct)))
    ratio = statistics.median(joint) / statistics.median(bare)
    print(f"bare float32 product        {statistics.median(bare):8.3f} s")
    print(f"four joint counts           {statistics.median(joint):8.3f} s   {ratio:.2f} × the product (target 5)")

    counts = pair_counts(prediction, labels)
    disagreement = seconds(lambda: disagreement_counts(prediction, prediction))
    table = seconds(lambda: whole_table(names, counts, 2))
    print(f"disagreement                {disagreement:8.3f} s   one thread")
    print(f"rest of pairs.parquet       {table:8.3f} s   two threads; both: {disagreement + table:.1f} s (target 10)")
    print(f"peak memory so far          {peak():8.2f} GiB")

    random = np.random.default_rng(1)
    folds = random.integers(0, 5, IMAGES).astype(np.int8)
    logits = (2 * random.standard_normal((IMAGES, CLASSES), np.float32)).astype(np.float16)
    logits[np.arange(IMAGES), labels] += random.normal(9, 4, IMAGES).astype(np.float16)
    print(f"calibrate one model         {seconds(lambda: calibrate([logits], labels, folds)):8.2f} s")
    some = slice(0, SAMPLE)
    zoo = [sampled(logits[some], labels[some], model) for model in range(MODELS)]
    warm = [Calibration(1.0, np.ones(5), None, None, None)] * MODELS
    ensemble_counts([z[:2] for z in zoo], warm, labels[:2], folds[:2])  # compile
    for combiner in COMBINERS:
        spent = seconds(lambda: ensemble_counts(zoo, warm, labels[some], folds[some], combiner=combiner))  # noqa: B023
        whole = spent / SAMPLE * IMAGES
        print(f"{combiner:24} {whole:11.0f} s   of one core, all pairs and images (from {SAMPLE} images)")
    block = Block(zoo, warm, labels[some], folds[some], np.ones(SAMPLE, np.bool_))
    spent = seconds(lambda: score_block(block, (0,))) / SAMPLE * 0.4 * IMAGES
    print(f"one greedy step             {spent:8.1f} s   of one core: selection split (from {SAMPLE} images)")
    print(f"peak memory                 {peak():8.2f} GiB")


if __name__ == "__main__":
    main()
