"""Probes, CKA and ridge R² at the demo's and at ImageNet's scale: python -m tests.benchmarks.probes [--imagenet]

The demo's is all of it for 12 pairs, one after the other on one thread: two workers take half as long. ImageNet's is
CKA of one minibatch for 300 models, ridge R² of one pair of 2048 features on 50,000 images, and one evaluation of a
probe's gradient there, on the GPU where there is one: a probe takes about `EVALUATIONS` of them. With
OMP_NUM_THREADS=1, since what is measured is the time of the processor.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from overlap.analysis.features.cka import BATCH, gram_sums, minibatches
from overlap.analysis.features.ridge import r_squared
from overlap.probes.compression import compression_rows
from overlap.probes.downstream import downstream_table, judged
from overlap.probes.logistic import Problem
from overlap.probes.mixing import mix_halves, mix_pair
from overlap.probes.trial import Sight, Trial
from tests.benchmarks.table import Row, peak_memory, show

PAIRS, IMAGES, TRAIN, WIDTH, CLASSES = 12, 1497, 300, 64, 10
EVALUATIONS = 150
"""Loss and gradient evaluations of a probe: five strengths, each from the last one's solution, and the final fit."""


def seconds(work: Callable[[], object]) -> float:
    """Processor time of one thread, which neighbours on a shared machine change little; with a GPU the clock's."""
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    start = clock()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return clock() - start


def demo() -> tuple[Trial, list[Sight]]:
    """A trial of the demo's size, and the features of a base model and its partners."""
    random = np.random.default_rng(0)
    world = random.standard_normal((CLASSES, 24)) * 0.7
    trial = Trial(
        random.integers(0, CLASSES, IMAGES),
        CLASSES,
        random.integers(0, 5, IMAGES).astype(np.int8),
        random.integers(0, CLASSES, TRAIN),
        random.integers(0, 5, TRAIN).astype(np.int8),
    )
    assert trial.train_labels is not None
    scenes = [
        world[labels] + random.standard_normal((len(labels), 24)) for labels in (trial.labels, trial.train_labels)
    ]
    maps = [random.standard_normal((24, WIDTH)) for _ in range(PAIRS + 1)]
    sights = [Sight(*(np.maximum(scene @ each, 0).astype(np.float32) for scene in scenes)) for each in maps]
    return trial, sights


def at_demo_scale() -> list[Row]:
    trial, sights = demo()
    names = [f"model-{number:02}" for number in range(len(sights))]
    trial.right(sights[0])  # torch's first call takes over a second
    base, others = sights[0], list(zip(names[1:], sights[1:], strict=True))
    found = {(name, None): judged(trial, sight) for name, sight in zip(names, sights, strict=True)}

    def concatenated(name: str, sight: Sight) -> None:
        found[names[0], name] = judged(trial, base, sight)

    def all_cka() -> None:
        gram_sums((sight.images for sight in sights), [part.stop - part.start for part in minibatches(IMAGES)])

    times = {
        "mixing and its shuffled control, a pair": [
            seconds(lambda n=n, s=s: mix_pair(names[0], n, "dataset", base, s, trial)) for n, s in others
        ],
        "halves, a model": [seconds(lambda n=n, s=s: mix_halves(n, s, trial)) for n, s in others],
        "compression, a pair": [
            seconds(lambda n=n, s=s: compression_rows(names[0], n, "dataset", base, s, trial)) for n, s in others
        ],
        "downstream, a pair": [seconds(lambda n=n, s=s: concatenated(n, s)) for n, s in others],
        "ridge R², a pair, five folds": [
            seconds(lambda s=s: r_squared(base.images, s.images, trial.folds)) for _, s in others
        ],
        f"CKA of all {PAIRS * (PAIRS + 1) // 2} pairs": [seconds(all_cka)],
        "downstream table": [seconds(lambda: downstream_table("other", trial, found))],
    }
    rows = [Row(name, of_each, "s") for name, of_each in times.items()]
    return [*rows, Row(f"everything for {PAIRS} pairs, limit 40", [sum(map(sum, times.values()))], "s")]


def at_imagenet_scale() -> list[Row]:
    random = np.random.default_rng(0)
    wide = (random.standard_normal((BATCH, 2048), np.float32) for _ in range(300))
    cka = seconds(lambda: gram_sums(wide, [BATCH]))
    a, b = (random.standard_normal((50_000, 2048), np.float32) for _ in range(2))
    folds = (np.arange(50_000) % 5).astype(np.int8)
    ridge = seconds(lambda: r_squared(a, b, folds))
    where = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    x = torch.from_numpy(a[:40_000]).to(where)
    problem = Problem(x, torch.arange(40_000, device=where) % 1000, 1000)
    solution = torch.zeros(1000, 2048, device=where)
    gradient = torch.zeros_like(solution)
    problem.loss(solution, gradient)
    each = [seconds(lambda: problem.loss(solution, gradient)) for _ in range(3)]
    return [
        Row("CKA of 300 models x 2048, one minibatch of 256", [cka], "s"),
        Row("the same of 50,000 images, by that", [cka * 50_000 / BATCH / 60], "min"),
        Row("ridge R² both ways, 50,000 x 2048, five folds", [ridge], "s"),
        Row(f"one gradient, 40,000 x 2048 x 1000 ({where})", each, "s"),
        Row("a probe of five folds, by that", [5 * EVALUATIONS * value / 60 for value in each], "min"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--imagenet", action="store_true", help="50,000 images x 2048 features: minutes on a CPU")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    show(f"{IMAGES:,} images, {TRAIN} for training, {WIDTH} features, {CLASSES} classes", at_demo_scale())
    if arguments.imagenet:
        show("ImageNet's scale", at_imagenet_scale())
    print(f"peak resident memory: {peak_memory():.2f} GiB (limit 6)")


if __name__ == "__main__":
    main()
