"""Greedy search on 1,000 classes, ours and what a user would run: python -m tests.benchmarks.greedy [PYTHON] [MODELS]

First 50 models × 10,000 images: the same picks as the full computation, step by step, beside the time of that and of
autogluon.core's EnsembleSelection (its defaults, accuracy, probabilities in memory). The latter is run by the
interpreter PYTHON, where autogluon.core is installed; without one it is left out. Then MODELS (300) × 50,000 images, of
which 20,000 are the selection split, twenty steps by two threads, from logits in a file; building is timed apart.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from overlap.analysis.calibration import probabilities
from overlap.analysis.ensembles.forward import forward
from overlap.analysis.ensembles.largest import KEPT, Largest, largest
from overlap.analysis.ensembles.part import Full, Part
from overlap.analysis.ensembles.parts import Parts
from tests.benchmarks.table import Row, peak_memory, show

CLASSES, STEPS, PIECES = 1000, 20, 2

AUTOGLUON = """
import json, sys, time
import numpy as np
from autogluon.core.metrics import accuracy
from autogluon.core.models.greedy_ensemble.ensemble_selection import EnsembleSelection
folder, models, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
held = [np.load(f"{folder}/{model}.npy") for model in range(models)]
labels = np.load(f"{folder}/labels.npy")
search = EnsembleSelection(steps, "multiclass", accuracy)
start = time.perf_counter()
search.fit(held, labels)
print(json.dumps([time.perf_counter() - start, search.weights_.tolist(), float(search.train_score_)]))
"""


class Zoo:
    """Models that find the same images hard, as stored logits of the selection split in one file for each."""

    def __init__(self, folder: Path, models: int, images: int) -> None:
        random = np.random.default_rng(0)
        self.folder, self.models, self.images = folder, models, images
        self.labels = random.integers(0, CLASSES, images).astype(np.int32)
        common = 2.5 * random.standard_normal((images, CLASSES), np.float32)
        common[np.arange(images), self.labels] += random.normal(15, 6, images).astype(np.float32)
        for model in range(models):
            own = np.random.default_rng(model + 1)
            z = own.standard_normal((images, CLASSES), np.float32)
            z *= own.uniform(1, 2.5)
            z += common
            z.astype(np.float16).tofile(folder / f"{model}.logits")

    def logits(self, model: int) -> np.ndarray:
        return np.fromfile(self.folder / f"{model}.logits", np.float16).reshape(self.images, CLASSES)

    def largest(self, model: int) -> Largest:
        return largest([self.logits(model)], np.ones(self.images), self.labels)

    def full(self, model: int, images: np.ndarray) -> np.ndarray:
        """Reads a range at once, single images one by one."""
        row = 2 * CLASSES
        with (self.folder / f"{model}.logits").open("rb") as file:
            if images[-1] - images[0] + 1 == len(images):
                file.seek(int(images[0]) * row)
                data = file.read(len(images) * row)
            else:
                data = b"".join((file.seek(int(image) * row), file.read(row))[1] for image in images)
        z = np.frombuffer(data, np.float16).reshape(len(images), CLASSES)
        return probabilities(z, np.ones(len(z)))

    def parts(self, kept: list[Largest], full: Full | None = None) -> Parts:
        edges = np.array_split(np.arange(self.images), PIECES)
        parts = [
            Part([one.take(slice(e[0], e[-1] + 1)) for one in kept], self.labels[e], e, full or self.full, CLASSES)
            for e in edges
        ]
        return Parts.here(parts, threads=PIECES)


def in_full(held: list[np.ndarray], labels: np.ndarray, steps: int) -> tuple[list[int], list[int]]:
    """Every candidate in full, vectorised over images."""
    running, members, right = np.zeros_like(held[0], np.float64), [], []
    for _ in range(steps):
        counts = [int(((running + candidate).argmax(axis=1) == labels).sum()) for candidate in held]
        members.append(int(np.argmax(counts)))
        right.append(counts[members[-1]])
        running += held[members[-1]]
    return members, right


def timed(work):
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


def small(folder: Path, python: str | None, models: int = 50, images: int = 10_000, steps: int = 12) -> None:
    zoo = Zoo(folder, models, images)
    build, kept = timed(lambda: [zoo.largest(model) for model in range(models)])
    whole = timed(lambda: [probabilities(zoo.logits(model), np.ones(images)) for model in range(models)])[1]

    def held(model: int, some: np.ndarray) -> np.ndarray:  # as the others hold them
        return whole[model][some[0] : some[-1] + 1] if len(some) == some[-1] + 1 - some[0] else whole[model][some]

    forward("warm", zoo.parts(kept, held), images, max_size=2)
    ours = []
    for _ in range(5):
        spent, found = timed(lambda: forward("x", zoo.parts(kept, held), images, max_size=steps, patience=steps))
        ours.append(spent)
    theirs, (members, right) = timed(lambda: in_full(whole, zoo.labels, steps))
    assert (list(found.members), [int(value) for value in found.values]) == (members, right), "not the same picks"
    rows = [
        Row("certified search, from arrays of the largest to picks", ours, "s"),
        Row("building those arrays, one thread", [build], "s"),
        Row("the full computation, vectorised over images", [theirs], "s"),
        Row("full / certified", [theirs / one for one in ours], "x"),
    ]
    if python:
        for model, one in enumerate(whole):
            np.save(folder / f"{model}.npy", one)
        np.save(folder / "labels.npy", zoo.labels)
        command = [python, "-c", AUTOGLUON, str(folder), str(models), str(steps)]
        spent, weights, error = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        rows.append(Row("autogluon.core EnsembleSelection, in memory", [spent], "s"))
        rows.append(Row("EnsembleSelection / certified, limit 50", [spent / one for one in ours], "x"))
        rows.append(Row("EnsembleSelection / (building + certified)", [spent / (build + one) for one in ours], "x"))
        print(
            f"EnsembleSelection: {1 - error:.4f} with {sum(weight > 0 for weight in weights)} models (ties at random);"
        )
        print(f"ours: {found.values[found.best - 1] / images:.4f} with {len(found.chosen)} models")
    show(f"{models} models x {images:,} images x {CLASSES:,} classes, {steps} steps", rows)
    print(f"the same picks as the full computation; {found.uncertified:.4%} uncertified at k = {KEPT}")


def large(folder: Path, models: int, images: int = 20_000) -> None:
    zoo = Zoo(folder, models, images)
    start = time.perf_counter()
    kept = [zoo.largest(model) for model in range(models)]
    build = time.perf_counter() - start
    bare = timed(lambda: [_bare(zoo.logits(model)) for model in range(3)])[0] / 3 * models
    parts = zoo.parts(kept)
    del kept
    spent, found = timed(lambda: forward("x", parts, images, max_size=STEPS, patience=STEPS))
    show(
        f"{models} models x 50,000 images ({images:,} to select by) x {CLASSES:,} classes, {STEPS} steps, two threads",
        [
            Row("search once the arrays are built, limit 60", [spent], "s"),
            Row("building them, one thread", [build], "s"),
            Row("bare read + softmax + argpartition / building, limit 0.7", [bare / build], "x"),
        ],
    )
    print(f"{found.uncertified:.4%} uncertified at k = {KEPT}, {parts.looked_up:,} rows looked up of {parts.scored:,}")
    print(f"accuracy by step: {', '.join(f'{value / images:.4f}' for value in found.values)}")
    print(f"peak resident memory: {peak_memory():.2f} GiB (limit 4)")


def _bare(logits: np.ndarray) -> None:
    for start in range(0, len(logits), 2000):
        odds = logits[start : start + 2000].astype(np.float32)
        odds -= odds.max(axis=1, keepdims=True)
        np.exp(odds, out=odds)
        odds /= odds.sum(axis=1, keepdims=True)
        places = np.argpartition(odds, -KEPT, axis=1)[:, -KEPT:]
        np.take_along_axis(odds, places, 1)


def main() -> None:
    python = next((one for one in sys.argv[1:] if not one.isdigit()), None)
    models = next((int(one) for one in sys.argv[1:] if one.isdigit()), 300)
    with tempfile.TemporaryDirectory() as folder:
        large(Path(folder), models)
    with tempfile.TemporaryDirectory() as folder:
        small(Path(folder), python)


if __name__ == "__main__":
    main()
