"""What the demo has beside its digits: a second truth from their neighbours, and letters with the shapes they have."""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from overlap.demo import digits, letters, neighbours
from overlap.demo.data import GROUPS, LOOPS, NEIGHBOURS, prepare_data
from overlap.demo.study_file import write_study
from overlap.images.class_groups import class_groups
from overlap.images.dataset import load
from overlap.images.truths import read_truth
from overlap.store.folder import Folder
from overlap.study import load_study


def test_neighbours_bear_what_is_accepted() -> None:
    pixels, labels = load_digits(return_X_y=True)
    pixels, labels = pixels.astype(np.int64), labels.astype(np.int64)
    found = neighbours.accepted(pixels, labels)
    for number in range(0, len(labels), 97):
        distance = [int(sum((p - q) ** 2 for p, q in zip(pixels[number], other, strict=True))) for other in pixels]
        others = sorted((place for place in range(len(labels)) if place != number), key=lambda place: distance[place])
        votes = Counter(int(labels[place]) for place in others[:10])
        ranked = sorted(votes, key=lambda label: (-votes[label], label))
        assert found[number] == [label for label in ranked if votes[label] >= 4]


def test_the_second_truth_differs_in_some_images() -> None:
    own = {sample.key: sample.label for sample in digits.evaluation()}
    rows = list(csv.DictReader(io.StringIO(neighbours.table(own.keys()))))
    assert {row["key"] for row in rows} == own.keys()
    sizes = Counter(len(row["label"].split()) for row in rows)
    assert sizes[0] >= 1
    assert sizes[2] > 10
    assert 10 < sum(str(own[row["key"]]) not in row["label"].split() for row in rows) < 40


def test_letters_have_the_shapes_they_are_said_to_have() -> None:
    drawn = [
        sample for sample in letters.letters() if sample.key.startswith("dejavusans-") and sample.key.count("-") == 2
    ]
    assert len(drawn) == 26
    shapes = [*letters.SHAPES]
    turns = {
        "mirrors left to right": lambda glyph: glyph[:, ::-1],
        "mirrors top to bottom": lambda glyph: glyph[::-1],
        "turns into itself": lambda glyph: glyph[::-1, ::-1],
    }
    for shape, turned in turns.items():
        number = shapes.index(shape)
        apart: dict[bool, list[float]] = {True: [], False: []}
        for sample in drawn:
            glyph = np.asarray(Image.open(io.BytesIO(sample.read())), float)
            apart[number in sample.classes].append(float(np.abs(glyph - turned(glyph)).mean()))
        assert np.median(apart[True]) < 0.5 * np.median(apart[False]), shape
    assert {sample.key.split("-")[1] for sample in drawn if not sample.classes} == {"g", "j"}


def test_the_study_reads_all_of_it(tmp_path: Path) -> None:
    prepare_data(tmp_path)
    study = load_study(write_study(tmp_path))
    assert (tmp_path / "data" / NEIGHBOURS).exists()
    groups = class_groups("digits", study.data["digits"])
    assert groups is not None
    assert (tmp_path / "data" / GROUPS).exists()
    assert [groups.names[group] for group in groups.of_class] == [
        "loops" if digit in LOOPS else "no loops" for digit in range(10)
    ]
    store = Folder(tmp_path / "store")
    data = load("digits", study.data["digits"], store)
    truth = read_truth("neighbours", study.data["digits"].truths["neighbours"], data.keys, 10)
    assert truth.known.sum() == 1495
    several = load("letters", study.data["letters"], store)
    assert several.labels.shape == (416, 4)
    assert (several.labels[:, 0] == -1).sum() == 2 * 16
    assert study.data["train"].role == "train"
