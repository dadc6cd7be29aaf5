"""Reductions over logits at 300 models × 50,000 images × 1,000 classes: python -m tests.benchmarks.logits

One model is calibrated whole; ensembles of pairs are timed on a sample of images, and said so.
"""

from __future__ import annotations

import numpy as np

from overlap.analysis.blocks import Block
from overlap.analysis.calibration import Calibration, calibrate
from overlap.analysis.combining import COMBINERS, count_pairs
from overlap.analysis.ensembles.lanes import sample_size
from overlap.analysis.ensembles.shortlists import answered, most_said
from overlap.analysis.ensembles.soft_scores import score_pairs
from overlap.analysis.pairs import pair_indices
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
    said = most_said(np.stack([z.argmax(axis=1) for z in zoo]).astype(np.int32), CLASSES)
    known = [answered([z], labels[some], np.ones(SAMPLE), said=said) for z in zoo]
    first, second = pair_indices(MODELS)
    weights = np.full((len(first), 5, 2), 0.5)

    def look_up(model: int, images: np.ndarray) -> np.ndarray:
        return zoo[model][images]

    about = (labels[some].astype(np.int32), folds[some])
    few = [one.take(slice(0, 2)) for one in known]
    count_pairs(few, about[0][:2], about[1][:2], first, second, weights, look_up)  # compile
    spent = seconds(lambda: count_pairs(known, *about, first, second, weights, look_up))
    whole = spent / SAMPLE * IMAGES
    print(f"{len(COMBINERS)} combiners {whole:17.0f} s   of one core, all pairs and images (from {SAMPLE} images)")
    images = np.arange(sample_size(CLASSES))
    warm = [Calibration(1.0, np.ones(5), None, None, None)] * PAIRED
    tried = [sampled(logits[images], labels[images], model) for model in range(PAIRED)]
    sample = Block(tried, warm, labels[images], folds[images], np.ones(len(images), np.bool_))
    first, second = pair_indices(PAIRED)
    score_pairs([sample], first[:1], second[:1])  # compile
    whole = seconds(lambda: score_pairs([sample], first, second)) / len(first) * MODELS * (MODELS - 1) / 2
    print(f"temperatures, NLL, ECE {whole:8.0f} s   of one core, all pairs (from {len(first)})")
    print(f"peak memory                 {peak_memory():8.2f} GiB")


if __name__ == "__main__":
    main()
