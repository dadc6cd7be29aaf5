"""Reductions over logits at 300 models × 50,000 images × 1,000 classes: python -m tests.benchmarks.logits

One model is calibrated whole; ensembles of pairs are timed on a sample of images, and said so.
"""

from __future__ import annotations

import numpy as np

from overlap.analysis.blocks import Block
from overlap.analysis.calibration import Calibration, calibrate
from overlap.analysis.combining import COMBINERS, count_ensembles
from overlap.analysis.ensembles.lanes import sample_size
from overlap.analysis.ensembles.soft_scores import score_tile
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
    weights = np.full((5, MODELS, MODELS), 0.5)
    count_ensembles([z[:2] for z in zoo], warm, labels[:2], folds[:2], weights=weights)  # compile
    spent = seconds(lambda: count_ensembles(zoo, warm, labels[some], folds[some], weights=weights))
    whole = spent / SAMPLE * IMAGES
    print(f"{len(COMBINERS)} combiners {whole:17.0f} s   of one core, all pairs and images (from {SAMPLE} images)")
    images = np.arange(sample_size(CLASSES))
    few = [sampled(logits[images], labels[images], model) for model in range(PAIRED)]
    sample = Block(few, warm[:PAIRED], labels[images], folds[images], np.ones(len(images), np.bool_))
    score_tile([sample], (range(2), range(2)))  # compile
    pairs = PAIRED * (PAIRED - 1) / 2
    whole = seconds(lambda: score_tile([sample], (range(PAIRED), range(PAIRED)))) / pairs * MODELS * (MODELS - 1) / 2
    print(f"temperatures, NLL, ECE {whole:8.0f} s   of one core, all pairs (from {pairs:.0f})")
    print(f"peak memory                 {peak_memory():8.2f} GiB")


if __name__ == "__main__":
    main()
