"""The pair tables of 300 and of 1,000 models × 50,000 images, from hard predictions: python -m tests.benchmarks.pairs

Joint counts beside the float32 product of the same matrices and beside counting bits with numpy, whichever is faster
being the limit; kappa of all pairs beside what is written for one pair and called for each; the whole of pairs.parquet.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl

from overlap.analysis import consistency
from overlap.analysis.consistency import PairCounts, disagreement_counts, joint_counts
from overlap.analysis.pairs import pair_indices, pairs_table
from tests.analysis.zoo import pair_counts
from tests.benchmarks.comparison import Comparison, Found, show
from tests.benchmarks.options import Options, seconds
from tests.benchmarks.table import peak_memory

MODELS, IMAGES, CLASSES = 300, 50_000, 1000
THREADS = 2
SAMPLE = 12
"""Pairs for which the programs of one pair are timed; the rest is by multiplication."""


def hard_predictions(models: int = MODELS, images: int = IMAGES) -> tuple[np.ndarray, np.ndarray]:
    """Predictions (M, N) of models that find the same images hard, and labels (N,)."""
    random = np.random.default_rng(0)
    labels = random.integers(0, CLASSES, images).astype(np.int32)
    ease = random.random(images)
    prediction = np.empty((models, images), np.int32)
    for model in range(models):
        right = 0.5 * random.random(images) + 0.5 * ease < 0.65
        prediction[model] = np.where(right, labels, random.integers(0, CLASSES, images))
    return prediction, labels


def four_counts(correct: np.ndarray) -> np.ndarray:
    """All four joint counts of all pairs, from correctness bits."""
    both_right = joint_counts(correct, correct)
    right = np.diagonal(both_right)
    only_a = right[:, None] - both_right
    return np.stack([both_right, only_a, only_a.T, correct.shape[1] - both_right - only_a - only_a.T])


def bits_by_numpy(words: np.ndarray) -> np.ndarray:
    """Joint counts by numpy's own bit counts, a row of the upper triangle at a time: (M, W) uint64 to (M, M)."""
    both = np.zeros((len(words), len(words)), np.int64)
    for row in range(len(words)):
        for start in range(row, len(words), 64):  # what lies between the two steps stays in the caches
            block = slice(start, start + 64)
            both[row, block] = np.bitwise_count(words[block] & words[row]).sum(axis=1, dtype=np.int64)
    return both


def kappas(correct: np.ndarray) -> np.ndarray:
    """Kappa of all pairs, (M, M)."""
    _, only_a, only_b, _ = four_counts(correct)
    share = correct.mean(axis=1)
    return consistency.kappa((only_a + only_b) / correct.shape[1], share[:, None], share[None])


def whole_table(names: list[str], counts: PairCounts, threads: int) -> pl.DataFrame:
    edges = np.linspace(0, len(pair_indices(len(names))[0]), 4 * threads + 1).astype(int).tolist()
    ranges = [slice(first, last) for first, last in pairwise(edges)]
    with ThreadPoolExecutor(threads) as pool:
        return pl.concat(pool.map(lambda rows: pairs_table(names, counts, rows=rows), ranges))


def one_pair(correct: np.ndarray) -> dict[str, tuple[str, Callable[[int, int], float]]]:
    """Programs that find kappa of one pair, as users have them: what they are, and a function of two models.

    Everything that is not needed once for each pair is done before.
    """
    import pandas as pd
    from sklearn.metrics import cohen_kappa_score

    keys = [f"image-{number:08}" for number in range(correct.shape[1])]
    used: dict[int, tuple[pd.DataFrame, pl.DataFrame]] = {}

    def frames(model: int) -> tuple[pd.DataFrame, pl.DataFrame]:
        if model not in used:
            columns = {"key": keys, "right": correct[model]}
            used[model] = pd.DataFrame(columns).set_index("key"), pl.DataFrame(columns)
        return used[model]

    def chance(a: float, b: float, agreed: float) -> float:
        expected = a * b + (1 - a) * (1 - b)
        return (agreed - expected) / (1 - expected)

    def by_pandas(a: int, b: int) -> float:
        both = frames(a)[0].join(frames(b)[0], rsuffix="_b", how="inner")
        return chance(both.right.mean(), both.right_b.mean(), (both.right == both.right_b).mean())

    def by_polars(a: int, b: int) -> float:
        both = frames(a)[1].join(frames(b)[1], on="key")
        means = both.select(
            pl.col("right").mean().alias("a"),
            pl.col("right_right").mean().alias("b"),
            (pl.col("right") == pl.col("right_right")).mean().alias("agreed"),
        )
        return chance(*means.row(0))

    def by_sklearn(a: int, b: int) -> float:
        return float(cohen_kappa_score(correct[a], correct[b]))

    scaled = f"timed on {SAMPLE} pairs in each round and multiplied"
    return {
        "scikit-learn cohen_kappa_score": (f"on two arrays that are aligned already; {scaled}", by_sklearn),
        "polars, a join for each pair": (f"frames of key and right, made once for each model; {scaled}", by_polars),
        "pandas, a join for each pair": (f"frames of right, indexed by key once for each model; {scaled}", by_pandas),
    }


def compared(options: Options) -> Iterator[Found]:
    """Rows of both sizes."""
    sizes = ((20, 2000), (40, 2000)) if options.quick else ((MODELS, IMAGES), (1000, IMAGES))
    for (models, images), limit in zip(sizes, (10.0, 60.0), strict=True):
        yield from _of_size(models, images, limit, options.rounds)


def _of_size(models: int, images: int, most: float, rounds: int) -> Iterator[Found]:
    prediction, labels = hard_predictions(models, images)
    names = [f"model-{number:04}" for number in range(models)]
    correct = prediction == labels
    ones = correct.astype(np.float32)
    octets = np.packbits(correct, axis=1)
    words = np.pad(octets, ((0, 0), (0, -octets.shape[1] % 8))).view(np.uint64)
    whole_table(names[:2], pair_counts(prediction[:2, :9], labels[:9]), 1)  # compile
    counts = pair_counts(prediction, labels)
    assert (counts.both_right == (ones @ ones.T).astype(np.int64)).all(), "the counts are not exact"
    assert (np.triu(counts.both_right) == np.triu(bits_by_numpy(words))).all(), "numpy counts otherwise"
    random = np.random.default_rng(1)
    programs = one_pair(correct)
    sample = [tuple(random.choice(models, 2, replace=False).tolist()) for _ in range(SAMPLE)]
    everyone = kappas(correct)
    for a, b in sample:
        for name, (_, program) in programs.items():  # also warms them up
            assert abs(program(a, b) - everyone[a, b]) < 1e-9, f"{name} finds another kappa"

    pairs = models * (models - 1) // 2
    some = range(0, models, 10)
    taken: dict[str, list[float]] = {}

    def take(name: str, spent: float) -> None:
        taken.setdefault(name, []).append(spent)

    for _ in range(rounds):
        take("product", seconds(lambda: ones @ ones.T))
        take("popcount", seconds(lambda: bits_by_numpy(words)))
        take("joint", seconds(lambda: four_counts(correct)))
        take("kappa", seconds(lambda: kappas(correct)))
        for name, (_, program) in programs.items():
            take(name, seconds(lambda program=program: [program(a, b) for a, b in sample]) / SAMPLE * pairs)
        take(
            "differ",
            seconds(lambda: [(prediction[row:] != prediction[row]).sum(1) for row in some]) * models / len(some),
        )
        take("disagreement", seconds(lambda: disagreement_counts(prediction, prediction)))
        if len(taken.get("table", ())) < (5 if models <= MODELS else 2):
            take("table", seconds(lambda: whole_table(names, counts, THREADS)))

    size = f"{models:,} models × {images:,} images"
    fastest = min("product", "popcount", key=lambda name: np.median(taken[name]))
    limit = {"product": "float32 product", "popcount": "bits, by numpy"}[fastest]
    joint = f"four joint counts, {size}"
    yield Comparison("pairs", joint, taken["joint"], "float32 product of correctness", "one thread", taken["product"],
                     limit=limit, bare=taken[fastest], wanted="of the limit", bound=3)  # fmt: skip
    yield Comparison("pairs", joint, taken["joint"], "numpy bitwise_count of packed bits", "one thread, upper triangle",
                     taken["popcount"])  # fmt: skip
    for name, (settings, _) in programs.items():
        yield Comparison("pairs", f"κ of all pairs, {size}", taken["kappa"], name, settings, taken[name])
    yield Comparison("pairs", f"agreement of predictions, {size}", taken["disagreement"], "numpy !=, a row at a time",
                     "one thread, upper triangle, int32, every tenth row and multiplied", taken["differ"])  # fmt: skip
    whole = [one + statistic for one, statistic in zip(taken["table"], taken["disagreement"], strict=False)]
    yield Comparison("pairs", f"pairs.parquet but for joint counts (intervals, bounds, agreement), {size}, 2 threads",
                     whole, wanted="seconds", bound=most)  # fmt: skip


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        show([*compared(Options(Path(folder)))])
    print(f"peak resident memory: {peak_memory():.2f} GiB")


if __name__ == "__main__":
    main()
