"""Reductions over logits at 300 models × 50,000 images × 1,000 classes: python -m tests.benchmarks.logits

One model is calibrated whole; ensembles of pairs are timed on a sample of images, and said so.
"""

from __future__ import annotations

import numpy as np

from overlap.analysis.blocks import Block
from overlap.analysis.calibration import Calibration
from overlap.analysis.combining import COMBINERS, count_pairs
from overlap.analysis.ensembles.lanes import sample_size
from overlap.analysis.ensembles.shortlists import Answered, answered
from overlap.analysis.ensembles.soft_scores import score_pairs
from overlap.analysis.pairs import pair_indices
from tests.analysis.zoo import calibrate
from tests.benchmarks.options import seconds
from tests.benchmarks.pairs import IMAGES, MODELS, hard_predictions
from tests.benchmarks.table import peak_memory

CLASSES = 1000
SAMPLE = 512  # images on which the work on all models is timed
PAIRED = 12  # models whose pairs are fitted


def sampled(logits: np.ndarray, labels: np.ndarray, model: int) -> np.ndarray:
    """Logits of another model that finds the same images hard."""
    noise = np.random.default_rng(model).normal(0, 2, len(labels)).astype(np.float16)
    others = np.roll(logits, 7 * model, axis=1)
    others[np.arange(len(labels)), labels] = logits[np.arange(len(labels)), labels] + noise
    return others


def main() -> None:
    _, labels = hard_predictions()
    random = np.random.default_rng(1)
    folds = random.integers(0, 5, IMAGES).astype(np.int8)
    logits = (2 * random.standard_normal((IMAGES, CLASSES), np.float32)).astype(np.float16)
    logits[np.arange(IMAGES), labels] += random.normal(9, 4, IMAGES).astype(np.float16)
    print(f"calibrate one model         {seconds(lambda: calibrate([logits], labels, folds)):8.2f} s")
    some = slice(0, SAMPLE)
    zoo = [sampled(logits[some], labels[some], model) for model in range(MODELS)]
    warm = [Calibration(1.0, np.ones(5), None, None, None)] * MODELS
    first, second = pair_indices(MODELS)
    given = (labels[some], folds[some], first, second, np.full((len(first), 5, 2), 0.5))

    def look_up(model: int, places: np.ndarray) -> np.ndarray:
        looked_up.append(len(places))
        return zoo[model][places]

    looked_up: list[int] = []
    kept: list[Answered] = []

    def shorten() -> None:
        kept[:] = [answered([z], labels[some], np.ones(SAMPLE)) for z in zoo]

    shorten()  # compile
    count_pairs([one.take(slice(0, 2)) for one in kept], *(part[:2] for part in given[:2]), *given[2:], look_up)
    looked_up.clear()
    whole = seconds(shorten) / SAMPLE * IMAGES
    print(f"shortlists  {whole:17.0f} s   of one core, all models and images (from {SAMPLE} images)")
    spent = seconds(lambda: count_pairs(kept, *given, look_up))
    whole = spent / SAMPLE * IMAGES
    print(f"{len(COMBINERS)} combiners {whole:17.0f} s   of one core, all pairs and images (from {SAMPLE} images)")
    print(f"looked up   {sum(looked_up):17} images of {MODELS * SAMPLE}")
    images = np.arange(sample_size(CLASSES))
    few = [sampled(logits[images], labels[images], model) for model in range(PAIRED)]
    sample = Block(few, warm[:PAIRED], labels[images], folds[images], np.ones(len(images), np.bool_))
    score_pairs([sample], np.array([0]), np.array([1]))  # compile
    pairs = PAIRED * (PAIRED - 1) / 2
    whole = seconds(lambda: score_pairs([sample], *pair_indices(PAIRED))) / pairs * MODELS * (MODELS - 1) / 2
    print(f"temperatures, NLL, ECE {whole:8.0f} s   of one core, all pairs (from {pairs:.0f})")
    print(f"peak memory                 {peak_memory():8.2f} GiB")


if __name__ == "__main__":
    main()
