"""Greedy search on 1,000 classes, ours and what a user would run: python -m tests.benchmarks.greedy [PYTHON] [MODELS]

50 models × 10,000 images: the same picks as the full computation, step by step, beside the time of that and of
autogluon.core's EnsembleSelection (its defaults, accuracy, probabilities in memory). The latter is run by the
interpreter PYTHON, where autogluon.core is installed; without one it is left out. And MODELS (300; 100 among all the
benchmarks) × 20,000 images, the selection split of 50,000, twenty steps by two threads, from logits in a file; building
is timed apart.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from overlap.analysis.calibration import probabilities
from overlap.analysis.ensembles.forward import forward
from overlap.analysis.ensembles.largest import KEPT, Largest, largest
from overlap.analysis.ensembles.part import Full, Part
from overlap.analysis.ensembles.parts import Parts
from tests.benchmarks import autogluon
from tests.benchmarks.comparison import Comparison, Found, Said, show
from tests.benchmarks.options import Options
from tests.benchmarks.table import peak_memory

CLASSES, STEPS, PIECES = 1000, 20, 2
SHORT = 60.0
"""Seconds: if EnsembleSelection takes longer, it is run once."""
BARE = 9
"""Models of which the largest are also found by the bare loop."""


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


def compared(options: Options) -> Iterator[Found]:
    """Rows of both sizes; with `quick` of small ones alone."""
    python = autogluon.interpreter(options.cache)
    folders = [options.folder / name for name in ("small", "large")]
    for folder in folders:
        folder.mkdir()
    if options.quick:
        yield from small(folders[0], python, 2, models=6, images=400, steps=3)
        yield from large(folders[1], 6, 400)
        return
    yield from small(folders[0], python, options.rounds)
    shutil.rmtree(folders[0])
    yield from large(folders[1], 100)


def small(
    folder: Path, python: str | None, rounds: int, models: int = 50, images: int = 10_000, steps: int = 12
) -> Iterator[Found]:
    """The same picks as the full computation, beside autogluon.core's."""
    zoo = Zoo(folder, models, images)
    build, kept = timed(lambda: [zoo.largest(model) for model in range(models)])
    whole = timed(lambda: [probabilities(zoo.logits(model), np.ones(images)) for model in range(models)])[1]

    def held(model: int, some: np.ndarray) -> np.ndarray:  # as the others hold them
        return whole[model][some[0] : some[-1] + 1] if len(some) == some[-1] + 1 - some[0] else whole[model][some]

    if python:
        for model, one in enumerate(whole):
            np.save(folder / f"{model}.npy", one)
        np.save(folder / "labels.npy", zoo.labels)
    forward("warm", zoo.parts(kept, held), images, max_size=2)
    ours, building, theirs, selection = [], [], [], []
    for number in range(rounds):
        spent, found = timed(lambda: forward("x", zoo.parts(kept, held), images, max_size=steps, patience=steps))
        ours.append(spent)
        building.append(spent + timed(lambda: [zoo.largest(model) for model in range(models)])[0])
        if number == 0:
            full, picks = timed(lambda: in_full(whole, zoo.labels, steps))
            theirs.append(full)
        if python and (not selection or selection[0] < SHORT):
            spent, weights, error = autogluon.select(python, folder, models, steps)
            selection.append(spent)
    members, right = picks
    assert (list(found.members), [int(value) for value in found.values]) == (members, right), "not the same picks"
    what = f"{models} models × {images:,} images × {CLASSES:,} classes, {steps} steps"
    name = "autogluon.core EnsembleSelection"
    if selection:
        settings = f"{autogluon.SETTINGS}; runs: {len(selection)}, their median beside each round"
        median = [float(np.median(selection))]
        yield Comparison("greedy search", f"{what}, from the largest", ours, name, settings, median,
                         wanted="faster", bound=50)  # fmt: skip
        yield Comparison("greedy search", f"{what}, building the largest included (one thread)", building, name,
                         settings, median)  # fmt: skip
        chosen = sum(weight > 0 for weight in weights)
        said = f"{1 - error:.4f} with {chosen} models (ties at random)"
        best = found.values[found.best - 1] / images
        said += f"; overlap {best:.4f} with {len(found.chosen)}"
        yield Said("greedy search", "accuracy of EnsembleSelection", said)
    else:
        yield Comparison("greedy search", f"{what}, from the largest", ours, name, absent=autogluon.ABSENT,
                         wanted="faster", bound=50)  # fmt: skip
    settings = "every candidate in full, vectorised over images, one thread; run once"
    yield Comparison("greedy search", f"{what}, from the largest", ours, "the full computation", settings, theirs)
    share = f"{found.uncertified:.4%} at k = {KEPT}; the same picks as the full computation"
    yield Said("greedy search", "images that were not certified", share, {"share": found.uncertified})
    yield Said("greedy search", "the first building", f"{build:.1f} s", {"seconds": build})


def large(folder: Path, models: int, images: int = 20_000) -> Iterator[Found]:
    """Twenty steps from arrays of the largest, which are built from logits in a file."""
    zoo = Zoo(folder, models, images)
    zoo.largest(0)  # compile
    building, bare, kept = [], [], []
    for model in range(models):
        spent, one = timed(lambda model=model: zoo.largest(model))
        kept.append(one)
        building.append(spent)
        if model < BARE:
            bare.append(timed(lambda model=model: _bare(zoo.logits(model)))[0])
    size = f"{images:,} images × {CLASSES:,} classes"
    settings = f"read, softmax in float32 and argpartition by numpy, in blocks of 2,000 images; {len(bare)} models"
    what, name = f"building the {KEPT} largest of one model, {size}", "a bare loop of numpy"
    ours = building[: len(bare)]
    yield Comparison("greedy search", what, ours, name, settings, bare, name, bare, "of the limit", 1 / 0.7)
    parts = zoo.parts(kept)
    del kept
    spent, found = timed(lambda: forward("x", parts, images, max_size=STEPS, patience=STEPS))
    what = f"{models} models × {size} to select by, {STEPS} steps, two threads, once the largest are built"
    yield Comparison("greedy search", what, [spent], wanted="seconds", bound=60)
    looked = (
        f"{found.uncertified:.4%} uncertified at k = {KEPT}, {parts.looked_up:,} rows looked up of {parts.scored:,}"
    )
    yield Said("greedy search", "of the large one", f"{looked}; building took {sum(building):.0f} s, one thread")


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
        show([*large(Path(folder), models)])
    with tempfile.TemporaryDirectory() as folder:
        show([*small(Path(folder), python, 5)])
    print(f"peak resident memory: {peak_memory():.2f} GiB (limit 4)")


if __name__ == "__main__":
    main()
