from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from overlap.demo import digits, fonts
from overlap.demo.data import SHARDS, evaluation_folder, prepare_data, read_shards, training_folder
from overlap.errors import DataError
from overlap.images.packing import INDEX, Sample


def pixels(sample: Sample) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(sample.read())))


def test_nothing_that_is_evaluated_on_is_trained_on() -> None:
    evaluated = {sample.key for sample in digits.evaluation()}
    assert len(evaluated) == 1797 - 300
    for name in digits.TRAINING_SETS:
        assert not evaluated & {sample.key for sample in digits.training(name)}
    evaluated_pixels = {pixels(sample).tobytes() for sample in digits.evaluation()}
    for name in ("digits", "digits-disjoint"):
        assert not evaluated_pixels & {pixels(sample).tobytes() for sample in digits.training(name)}


def test_the_two_handwritten_parts_are_disjoint_and_balanced() -> None:
    first, second = digits.training("digits"), digits.training("digits-disjoint")
    assert not {sample.key for sample in first} & {sample.key for sample in second}
    for part in (first, second):
        assert np.bincount([sample.label for sample in part]).tolist() == [15] * 10


def test_pngs_hold_the_original_counts() -> None:
    original, labels = load_digits(return_X_y=True)
    for sample in digits.evaluation()[::50]:
        number = int(sample.key.removeprefix("digit-"))
        assert np.array_equal(np.rint(pixels(sample) / 255 * 16), original[number].reshape(8, 8))
        assert sample.label == labels[number]


def test_relabelled_has_the_same_images_and_a_fifth_of_other_labels() -> None:
    true = {sample.key: sample for sample in digits.training("digits")}
    noisy = {sample.key: sample for sample in digits.training("digits-relabelled")}
    assert true.keys() == noisy.keys()
    assert all(noisy[key].image == true[key].image for key in true)
    assert sum(noisy[key].label != true[key].label for key in true) == 30
    assert {sample.label for sample in noisy.values()} <= set(range(10))


def test_drawings_are_whole_distinct_and_look_like_what_they_are_called() -> None:
    drawn = list(fonts.drawings())
    assert len(drawn) == len(fonts.TYPEFACES) * len(fonts.ANGLES) * 10
    assert len({name for name, _, _ in drawn}) == len(drawn)
    assert len({counts.tobytes() for _, counts, _ in drawn}) > 0.95 * len(drawn)
    upright = {
        digit: np.mean([counts for name, counts, of in drawn if of == str(digit) and name.endswith("-p0")], axis=0)
        for digit in range(10)
    }
    for digit, mean in upright.items():
        assert mean.shape == (8, 8)
        assert 0 <= mean.min() <= mean.max() <= 16
        assert mean[:, :].sum(axis=1).min() > 0, f"{digit} does not reach from top to bottom"
    assert upright[0][3:5, 3:5].mean() < upright[8][3:5, 3:5].mean(), "a zero is hollow where an eight is not"
    assert upright[1].sum() < upright[8].sum()


def test_shards_are_made_once(demo: Path) -> None:
    shards = prepare_data(demo)
    assert len(shards) == SHARDS >= 8
    before = {path: path.stat().st_mtime_ns for path in demo.rglob("*.tar")}
    prepare_data(demo)
    assert {path: path.stat().st_mtime_ns for path in demo.rglob("*.tar")} == before
    index = json.loads((evaluation_folder(demo) / INDEX).read_text())
    assert index["samples"] == 1497 == len(read_shards(evaluation_folder(demo)).labels)


def test_damaged_shards_are_made_again_with_the_same_bytes(tmp_path: Path, demo: Path) -> None:
    prepare_data(tmp_path)
    damaged = evaluation_folder(tmp_path) / "digits-000003.tar"
    damaged.write_bytes(damaged.read_bytes()[:-512])
    prepare_data(tmp_path)
    for path in sorted((demo / "data").rglob("*.tar")):
        assert (tmp_path / path.relative_to(demo)).read_bytes() == path.read_bytes()


def test_reading_what_was_not_prepared_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="prepare the demo's data first"):
        read_shards(training_folder(tmp_path, "fonts"))
