from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import torch
from PIL import Image
from timm.data import create_transform

from overlap.demo.checkpoints import is_trained, record_path, weights_path
from overlap.demo.data import evaluation_folder, prepare_data, prepare_training_set
from overlap.demo.recipes import MEAN, STD, Recipe, recipe, recipes
from overlap.demo.study_file import write_study
from overlap.demo.training import accuracy, train
from overlap.errors import CheckpointError, StoreError
from overlap.study import load_study
from overlap.zoo.loading import load
from overlap.zoo.resolve import resolve

SHORT = recipe("cnn-short")


def through_timm(of: Recipe, folder: Path) -> float:
    """Accuracy as anybody would measure it: the study's entry, the ordinary loader, timm's transform, the shards."""
    candidates, _ = resolve(load_study(write_study(folder)), 10)
    candidate = next(candidate for candidate in candidates if candidate.id == of.id)
    model = load(candidate, Path(candidate.weights))
    transform = create_transform(
        (3, of.net.size, of.net.size),
        crop_pct=1.0,
        interpolation=of.net.interpolation,
        mean=(MEAN,) * 3,
        std=(STD,) * 3,
    )
    right = total = 0
    for path in sorted(evaluation_folder(folder).glob("*.tar")):
        images, labels = [], []
        with tarfile.open(path) as tar:
            for member in tar:
                data = tar.extractfile(member).read()
                if member.name.endswith(".cls"):
                    labels.append(int(data))
                else:
                    images.append(transform(Image.open(io.BytesIO(data)).convert("RGB")))
        with torch.no_grad():
            right += int((model(torch.stack(images)).argmax(dim=1) == torch.tensor(labels)).sum())
        total += len(labels)
    assert total == 1497
    return right / total


@pytest.mark.parametrize("name", ["cnn-short", "residual-1", "test_resnet-1", "mlp-fonts-1"])
def test_training_and_inference_agree_on_every_preprocessing(name: str, demo: Path) -> None:
    train(recipe(name), demo)
    measured = accuracy(recipe(name), demo)
    assert measured == pytest.approx(through_timm(recipe(name), demo), abs=1e-12)
    assert measured > 0.3, "far above chance: it was trained on digits, whichever way up they are"


@pytest.mark.parametrize("name", ["cnn-simclr-1", "cnn-denoising-1", "vit-masked-1", "cnn-distilled-1"])
def test_every_framework_gives_a_checkpoint_that_loads_as_anybodys(name: str, demo: Path) -> None:
    for needed in recipe(name).needs:
        train(recipe(needed), demo)
    path = train(recipe(name), demo)
    assert path == weights_path(recipe(name), demo)
    assert through_timm(recipe(name), demo) == pytest.approx(accuracy(recipe(name), demo), abs=1e-12)
    assert accuracy(recipe(name), demo) > 0.3


def test_the_same_recipe_gives_the_same_bytes_in_another_process_and_order(demo: Path, tmp_path: Path) -> None:
    names = ("mlp-1", "cnn-short")
    for name in names:
        train(recipe(name), demo)
    prepare_training_set(tmp_path, "digits")
    program = (
        "import sys; from pathlib import Path; import torch; torch.manual_seed(7); torch.rand(3)\n"
        "from overlap.demo.training import train; from overlap.demo.recipes import recipe\n"
        f"[train(recipe(name), Path(sys.argv[1])) for name in {names[::-1]!r}]"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
    for name in names:
        assert weights_path(recipe(name), tmp_path).read_bytes() == weights_path(recipe(name), demo).read_bytes()


def test_what_is_current_is_kept_and_what_is_not_is_trained_again(demo: Path) -> None:
    path = train(SHORT, demo)
    bytes_before, written = path.read_bytes(), path.stat().st_mtime_ns
    assert is_trained(SHORT, demo)
    assert train(SHORT, demo).stat().st_mtime_ns == written

    path.write_bytes(bytes_before[:-4])
    assert not is_trained(SHORT, demo)
    assert train(SHORT, demo).read_bytes() == bytes_before

    record = json.loads(record_path(SHORT, demo).read_text())
    record["recipe_digest"] = "0" * 64
    record_path(SHORT, demo).write_text(json.dumps(record))
    assert not is_trained(SHORT, demo)
    train(SHORT, demo)
    record_path(SHORT, demo).unlink()
    assert not is_trained(SHORT, demo)
    assert train(SHORT, demo).read_bytes() == bytes_before
    assert not list(path.parent.glob("*.tmp"))


def test_another_seed_or_teacher_is_another_checkpoint(tmp_path: Path) -> None:
    prepare_training_set(tmp_path, "digits")
    first, second = recipes()[:2]
    other = Recipe(first.id, first.architecture, second.seed)
    small = Recipe("small", "softmax-regression", 1, "short")
    train(small, tmp_path)
    assert not is_trained(Recipe("small", "softmax-regression", 2, "short"), tmp_path)
    assert other.contents() != first.contents()
    before = weights_path(small, tmp_path).read_bytes()
    assert train(Recipe("small", "softmax-regression", 2, "short"), tmp_path).read_bytes() != before


def test_a_student_waits_for_its_teacher(tmp_path: Path) -> None:
    prepare_training_set(tmp_path, "digits")
    student = recipe("cnn-distilled-1")
    assert not is_trained(student, tmp_path)
    with pytest.raises(CheckpointError, match=r"cnn-distilled-1.*train 'cnn-1' first"):
        train(student, tmp_path)


def test_a_retrained_teacher_makes_its_student_stale(demo: Path, tmp_path: Path) -> None:
    prepare_data(tmp_path)
    student = recipe("cnn-distilled-1")
    train(recipe("cnn-1"), tmp_path)
    train(student, tmp_path)
    weights_path(recipe("cnn-1"), tmp_path).write_bytes(train(SHORT, demo).read_bytes())
    assert not is_trained(student, tmp_path)


def test_the_process_is_left_as_it_was(demo: Path) -> None:
    weights_path(SHORT, demo).unlink(missing_ok=True)
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    before = (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
    train(SHORT, demo)
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before
    assert torch.equal(torch.rand(4), expected)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    prepare_training_set(tmp_path, "digits")
    (tmp_path / "weights").write_text("a file where the folder should be")
    with pytest.raises(StoreError, match=str(tmp_path)):
        train(Recipe("small", "softmax-regression", 1, "short"), tmp_path)


def test_asking_what_is_trained_imports_no_torch() -> None:
    program = "import sys, overlap.demo.checkpoints, overlap.demo.study_file; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ})
