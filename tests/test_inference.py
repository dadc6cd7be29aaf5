"""Logits over decoded batches: those of a plain evaluation, in the mode that was asked for, in the memory there is."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from overlap import inference
from overlap.errors import CheckpointError, DamagedObject
from overlap.inference import AUDIT, Predictor
from overlap.precision import in_force, keep_classifier_exact
from overlap.store import Location, Objects, layout, open_objects
from overlap.zoo.checkpoint import Checkpoint
from overlap.zoo.numeric import Numeric
from overlap.zoo.preprocessing import Preprocessing
from tests.candidates import factory_candidate, saved, staged, timm_candidate, timm_module
from tests.photographs import photographs

NETS = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, kind="plain"):
        super().__init__()
        self.kind = kind
        self.head = nn.Linear(192, 3)
        self.middle = nn.Linear(192, 192, bias=False)
        self.sizes = []
        self.precisions = set()

    def forward(self, images):
        self.sizes.append(len(images))
        self.precisions.add(torch.backends.mkldnn.matmul.fp32_precision)
        features = self.middle(images.flatten(1))
        if self.kind.startswith("at most ") and len(images) > int(self.kind.split()[-1]):
            raise torch.OutOfMemoryError("tried to allocate")
        if self.kind == "silent":
            raise AssertionError
        if self.kind == "loud":
            raise RuntimeError("first line\\nsecond line")
        if self.kind == "tuple":
            return self.head(features), features
        if self.kind == "flat":
            return self.head(features).sum(1)
        if self.kind == "functional":
            return features @ self.head.weight.T
        if self.kind == "double":
            return self.head(features).double()
        return self.head(features)


def build(kind="plain"):
    return Net(kind)
"""


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    return open_objects(Location(str(tmp_path / "store")))


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "inf_nets.py").write_text(NETS)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    sys.modules.pop("inf_nets", None)


def mine(nets: Path, objects: Objects, kind: str = "plain", *, seed: int = 0, dtype: str = "float32") -> Checkpoint:
    """A checkpoint of the networks above, 8x8 pixels to 3 classes."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {"head.weight": (3, 192), "head.bias": (3,), "middle.weight": (192, 192)}
    state = {name: torch.randn(shape, generator=generator) / 14 for name, shape in shapes.items()}
    path = nets / f"{seed}.safetensors"
    save_file(state, path)
    candidate = factory_candidate(nets, "inf_nets:build", path, arguments={"kind": kind}, dtype=dtype, id=kind)
    return staged(candidate, objects)


def noise(images: int, size: int = 8) -> np.ndarray[Any, np.dtype[np.uint8]]:
    pixels = np.random.default_rng(1).integers(0, 256, (images, size, size, 3), np.uint8)
    pixels.flags.writeable = False  # as Ray gives them
    return pixels


def resident(predictor: Predictor) -> list[str]:
    return list(predictor._resident)


def module_of(predictor: Predictor, checkpoint: Checkpoint) -> Any:
    return predictor._resident[checkpoint.fingerprint][0]


ARCHITECTURES = ["test_resnet", "test_vit", "test_efficientnet", "test_convnext", "test_byobnet", "test_mambaout"]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_logits_are_those_of_a_plain_evaluation_by_timm(name: str, objects: Objects, tmp_path: Path) -> None:
    from timm.data import create_transform, resolve_model_data_config

    module = timm_module(name)
    candidate = timm_candidate(name, saved(module, tmp_path / "w.safetensors"))
    images = [photograph.crop((x, 10, x + 300, 400)) for photograph in photographs() for x in (0, 100, 200)]
    transform = create_transform(**resolve_model_data_config(module), is_training=False)
    with torch.inference_mode():
        expected = module(torch.stack([transform(image) for image in images])).numpy()
    pixels = np.stack([candidate.preprocessing.transform()(image) for image in images])
    found = Predictor(objects, "cpu", 1 << 30).predict(staged(candidate, objects), pixels, 4)
    assert found.logits.dtype == np.float32
    assert found.audit == ()
    assert found.batch_size == 4
    assert found.seconds > 0
    assert expected.std() > 0.05, "a network that answers alike to everything tests nothing"
    np.testing.assert_allclose(found.logits, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("images", "batch"), [(1, 4), (4, 4), (9, 4), (9, 1), (5, 100)])
def test_every_image_has_its_row_whatever_the_batch(images: int, batch: int, nets: Path, objects: Objects) -> None:
    checkpoint = mine(nets, objects)
    predictor = Predictor(objects, "cpu", 1 << 30)
    found = predictor.predict(checkpoint, noise(images), batch)
    assert found.logits.shape == (images, 3)
    module = module_of(predictor, checkpoint)
    assert module.sizes == [min(batch, images - start) for start in range(0, images, batch)]
    again = Predictor(objects, "cpu", 1 << 30).predict(checkpoint, noise(images), batch)
    assert found.logits.tobytes() == again.logits.tobytes()
    scaled = (torch.from_numpy(noise(images).copy()).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.25
    weights = {name: tensor.double() for name, tensor in module.state_dict().items()}
    expected = scaled.flatten(1).double() @ weights["middle.weight"].T @ weights["head.weight"].T + weights["head.bias"]
    np.testing.assert_allclose(found.logits, expected.numpy(), atol=1e-4)


def test_read_only_batches_neither_warn_nor_change(nets: Path, objects: Objects) -> None:
    pixels = noise(6)
    before = pixels.tobytes()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Predictor(objects, "cpu", 1 << 30).predict(mine(nets, objects), pixels, 4)
    assert pixels.tobytes() == before


def test_memory_that_runs_out_halves_the_batch_and_loses_nothing(nets: Path, objects: Objects) -> None:
    tight, roomy = mine(nets, objects, "at most 3"), mine(nets, objects)
    predictor = Predictor(objects, "cpu", 1 << 30)
    expected = predictor.predict(roomy, noise(20), 16).logits
    found = predictor.predict(tight, noise(20), 16)
    assert found.batch_size == 2
    np.testing.assert_allclose(found.logits, expected, atol=1e-6)
    # The others left first (16 again), then 8, 4, and 2 that fits.
    assert module_of(predictor, tight).sizes == [16, 16, 8, 4, *[2] * 10]
    assert resident(predictor) == [tight.fingerprint]
    predictor.predict(tight, noise(5), 16)
    assert module_of(predictor, tight).sizes[-3:] == [2, 2, 1], "what was learnt is kept"
    another = Predictor(objects, "cpu", 1 << 30)
    another.predict(tight, noise(5), 16)
    assert module_of(another, tight).sizes == [2, 2, 1], "and remembered by the store for the next run"


def test_one_image_that_does_not_fit_is_the_checkpoints_fault(nets: Path, objects: Objects) -> None:
    with pytest.raises(CheckpointError, match=r"checkpoint 'at most 0': one image does not fit the memory of cpu; use"):
        Predictor(objects, "cpu", 1 << 30).predict(mine(nets, objects, "at most 0"), noise(3), 8)


def test_the_least_recently_used_leave_first(nets: Path, objects: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    load = inference.load
    monkeypatch.setattr(
        inference, "load", lambda candidate, path: (loaded.append(candidate.weights[-13]), load(candidate, path))[1]
    )
    checkpoints = [mine(nets, objects, seed=seed) for seed in range(3)]
    size = 4 * (3 * 192 + 3 + 192 * 192)
    predictor = Predictor(objects, "cpu", int(2.2 * size))
    for turn in (0, 1, 0, 2, 0, 1):
        predictor.predict(checkpoints[turn], noise(1), 1)
    assert loaded == ["0", "1", "2", "1"], "0 was used again before 2 came, so 1 had left"
    assert resident(predictor) == [checkpoints[0].fingerprint, checkpoints[1].fingerprint]
    lone = Predictor(objects, "cpu", 0)
    for checkpoint in checkpoints:
        lone.predict(checkpoint, noise(1), 1)
        assert resident(lone) == [checkpoint.fingerprint], "one larger than the limit still runs, alone"


def test_residents_are_weighed_as_float32(nets: Path, objects: Objects) -> None:
    checkpoint = mine(nets, objects)
    state = {name: torch.zeros(shape) for name, shape in (("head.weight", (3, 192)), ("head.bias", (3,)))}
    state["middle.weight"] = torch.zeros(192, 192)
    save_file({name: tensor.to(torch.bfloat16) for name, tensor in state.items()}, nets / "half.safetensors")
    half = staged(replace(checkpoint.candidate, weights=str(nets / "half.safetensors")), objects)
    size = 4 * (3 * 192 + 3 + 192 * 192)
    assert half.weights_bytes < size * 0.6
    predictor = Predictor(objects, "cpu", int(size * 1.8))
    predictor.predict(checkpoint, noise(1), 1)
    predictor.predict(half, noise(1), 1)
    assert resident(predictor) == [half.fingerprint]


def test_what_a_checkpoint_may_return(nets: Path, objects: Objects) -> None:
    predictor = Predictor(objects, "cpu", 1 << 30)
    assert predictor.predict(mine(nets, objects, "double"), noise(2), 2).logits.dtype == np.float32
    for kind, said in {
        "tuple": r"^checkpoint 'tuple' returned tuple, not logits of shape \(2, 3\)$",
        "flat": r"^checkpoint 'flat' returned \(2,\), not logits of shape \(2, 3\)$",
        "silent": r"^checkpoint 'silent': forward raised AssertionError$",
        "loud": r"^checkpoint 'loud': forward raised RuntimeError: first line$",
    }.items():
        with pytest.raises(CheckpointError, match=said):
            predictor.predict(mine(nets, objects, kind), noise(2), 2)


def test_a_network_of_another_size_is_told_by_its_own_complaint(nets: Path, objects: Objects) -> None:
    with pytest.raises(
        CheckpointError, match=r"^checkpoint 'plain': forward raised RuntimeError: mat1 and mat2 shapes"
    ):
        Predictor(objects, "cpu", 1 << 30).predict(mine(nets, objects), noise(1, 9), 1)


def test_weights_damaged_in_the_store_are_named(nets: Path, objects: Objects) -> None:
    checkpoint = mine(nets, objects)
    objects.put(layout.weights(checkpoint.weights_digest), b"other")
    with pytest.raises(DamagedObject, match=f"weights/{checkpoint.weights_digest} are damaged"):
        Predictor(objects, "cpu", 1 << 30).predict(checkpoint, noise(1), 1)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_bfloat16_is_audited_against_float32(name: str, objects: Objects, tmp_path: Path) -> None:
    path = saved(timm_module(name), tmp_path / "w.safetensors")
    size = 32 if name == "test_resnet" else 160
    candidate = timm_candidate(name, path, preprocessing=Preprocessing((size, size)))
    exact = staged(candidate, objects)
    reduced = staged(replace(candidate, numeric=Numeric.of("bfloat16")), objects)
    assert exact.fingerprint != reduced.fingerprint
    predictor = Predictor(objects, "cpu", 1 << 30)
    corners = [(7 * i % 500, 11 * i % 300) for i in range(AUDIT + 3)]
    crops = [photographs()[i % 2].crop((x, y, x + 100, y + 100)) for i, (x, y) in enumerate(corners)]
    pixels = np.stack([np.asarray(crop.resize((size, size))) for crop in crops])
    expected, found = predictor.predict(exact, pixels, 16), predictor.predict(reduced, pixels, 16)
    assert expected.audit == ()
    assert found.audit == tuple(expected.logits[:AUDIT].astype(np.float16).argmax(1))
    assert not np.array_equal(found.logits, expected.logits)
    np.testing.assert_allclose(found.logits, expected.logits, atol=0.1 * float(np.abs(expected.logits).max()))
    assert len(set(found.audit)) > 1
    again = predictor.predict(exact, pixels, 16)
    assert again.logits.tobytes() == expected.logits.tobytes(), "a reduced mode leaves nothing behind"


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["test_vit", "test_efficientnet", "squeezenet1_1", "factory"])
def test_the_classifier_is_float32_in_every_mode(kind: str, name: str, nets: Path) -> None:
    if name == "factory":
        sys.path.append(str(nets))
        import inf_nets  # type: ignore[import-not-found]

        module, size = inf_nets.build(), 8
        classifier, classes = module.head, 3
    elif name == "squeezenet1_1":
        import torchvision

        module, size, classes = torchvision.models.get_model(name, weights=None, num_classes=10), 64, 10
        classifier = module.classifier[1]
    else:
        module, size, classes = timm_module(name), 160, 10
        classifier = module.get_classifier()  # type: ignore[operator]
    seen: dict[str, torch.dtype] = {}
    keep_classifier_exact(module.eval(), classes)
    before = next(part for part in module.modules() if isinstance(part, torch.nn.Linear | torch.nn.Conv2d))
    if before is classifier:
        before = module.middle
    before.register_forward_hook(lambda _, inputs, output: seen.update(before=output.dtype))
    classifier.register_forward_hook(lambda _, inputs, output: seen.update(out=output.dtype))
    images = torch.rand(2, 3, size, size)
    with torch.inference_mode(), in_force(Numeric.of(kind), torch.device("cpu")):
        logits = module(images)
    assert seen["before"] == getattr(torch, kind), "what comes before runs in the reduced mode"
    assert seen["out"] == logits.dtype == torch.float32
    rounded = logits.to(getattr(torch, kind)).float()
    assert not torch.equal(rounded, logits), "logits are not merely widened"


def test_logits_that_no_layer_makes_are_refused_in_a_reduced_mode(nets: Path, objects: Objects) -> None:
    predictor = Predictor(objects, "cpu", 1 << 30)
    predictor.predict(mine(nets, objects, "functional"), noise(2), 2)
    with pytest.raises(CheckpointError, match=r"makes its logits in bfloat16.*set predict.dtype = \"float32\""):
        predictor.predict(mine(nets, objects, "functional", dtype="bfloat16"), noise(2), 2)


def precisions() -> dict[str, Any]:
    backends: Any = torch.backends
    return {
        "cuda.matmul": backends.cuda.matmul.fp32_precision,
        "cudnn.conv": backends.cudnn.conv.fp32_precision,
        "cudnn.rnn": backends.cudnn.rnn.fp32_precision,
        "mkldnn.matmul": backends.mkldnn.matmul.fp32_precision,
        "mkldnn.conv": backends.mkldnn.conv.fp32_precision,
        "mkldnn.rnn": backends.mkldnn.rnn.fp32_precision,
        "benchmark": backends.cudnn.benchmark,
        "deterministic": backends.cudnn.deterministic,
    }


@pytest.fixture
def _loose() -> Iterator[None]:
    """A process in which somebody's module has asked for speed before precision, in every way there is."""
    backends: Any = torch.backends
    general, conv = backends.fp32_precision, backends.cudnn.conv.fp32_precision
    torch.set_float32_matmul_precision("medium")
    backends.fp32_precision = backends.cudnn.conv.fp32_precision = "tf32"
    backends.cudnn.benchmark = True
    yield
    backends.cudnn.benchmark = False
    backends.fp32_precision, backends.cudnn.conv.fp32_precision = general, conv
    torch.set_float32_matmul_precision("highest")


@pytest.mark.usefixtures("_loose")
def test_tf32_is_off_unless_it_is_asked_for(nets: Path, objects: Objects) -> None:
    before = precisions()
    assert before["cuda.matmul"] == before["cudnn.conv"] == "tf32"
    assert before["mkldnn.matmul"] == "bf16"
    cpu = torch.device("cpu")
    with in_force(Numeric(), cpu):
        inside = precisions()
    assert {inside[name] for name in inside if "." in name} == {"ieee"}
    assert (inside["benchmark"], inside["deterministic"]) == (False, True)
    assert precisions() == before
    with in_force(Numeric.of("tf32"), cpu):
        inside = precisions()
    assert {name for name in inside if inside[name] == "tf32"} == {"cuda.matmul", "cudnn.conv", "cudnn.rnn"}
    with pytest.raises(ZeroDivisionError), in_force(Numeric(), cpu):
        raise ZeroDivisionError
    assert precisions() == before
    predictor, checkpoint = Predictor(objects, "cpu", 1 << 30), mine(nets, objects)
    predictor.predict(checkpoint, noise(2), 2)
    assert module_of(predictor, checkpoint).precisions == {"ieee"}
