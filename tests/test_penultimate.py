"""Penultimate features from the pass that gives the logits, against networks whose classifier was taken off."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from overlap.errors import CheckpointError
from overlap.inference import Predictor
from overlap.penultimate import NoFeatures, Tap
from overlap.precision import keep_classifier_exact
from overlap.store import Location, Objects, open_objects
from overlap.zoo.checkpoint import Checkpoint
from overlap.zoo.numeric import Numeric
from tests.candidates import factory_candidate, saved, staged, timm_candidate, timm_module

CLASSES = 10
IMAGES = 5


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    return open_objects(Location(str(tmp_path / "store")))


def noise(size: int, images: int = IMAGES) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(1).integers(0, 256, (images, size, size, 3), np.uint8)


def tapped(module: nn.Module, images: Tensor, layer: str = "classifier") -> tuple[Tensor, Tensor]:
    """Features and logits of one pass, the classifier kept in float32 as it is when a checkpoint runs."""
    keep_classifier_exact(module.eval(), CLASSES)
    tap = Tap(module, CLASSES, layer)
    with torch.inference_mode():
        logits = module(images)
        return tap.taken(len(images)), logits


TIMM = [
    *("test_resnet", "test_vit", "test_efficientnet", "test_convnext", "test_byobnet", "test_mambaout", "test_nfnet"),
    *("efficientformer_l1", "sequencer2d_s", "caformer_s18", "repvit_m0_9", "levit_128s"),
]
"""Among them: two heads on one vector, a head that pools by itself, heads of several layers."""


@pytest.mark.parametrize("name", TIMM)
def test_timm_calls_the_same_its_pre_logits(name: str) -> None:
    module = timm_module(name)
    images = torch.rand(2, *module.default_cfg["input_size"])  # type: ignore[index]
    features, logits = tapped(module, images)
    with torch.inference_mode():
        expected = module.forward_head(module.forward_features(images), pre_logits=True)  # type: ignore[operator]
    torch.testing.assert_close(features, expected)
    assert features.dtype == torch.float32
    assert logits.shape == (2, CLASSES)


@pytest.mark.parametrize("name", ["deit_tiny_distilled_patch16_224", "crossvit_tiny_240"])
def test_of_two_classifiers_both_inputs(name: str) -> None:
    module = timm_module(name)
    images = torch.rand(2, *module.default_cfg["input_size"])  # type: ignore[index]
    features, logits = tapped(module, images)
    heads: Any = module.get_classifier()  # type: ignore[operator]
    halves = torch.split(features, [head.in_features for head in heads], dim=1)
    with torch.inference_mode():
        made = torch.stack([head(half) for head, half in zip(heads, halves, strict=True)]).mean(0)
    torch.testing.assert_close(made, logits)


def _less(name: str) -> Callable[[nn.Module], nn.Module]:
    def less(module: nn.Module) -> nn.Module:
        parent, _, last = name.rpartition(".")
        setattr(module.get_submodule(parent), last, nn.Identity())
        return module

    return less


def _pooled_map(module: Any) -> nn.Module:
    return nn.Sequential(module.features, nn.AdaptiveAvgPool2d(1), nn.Flatten())


TORCHVISION: dict[str, Callable[[nn.Module], nn.Module]] = {
    "resnet18": _less("fc"),
    "mobilenet_v3_small": _less("classifier.3"),
    "squeezenet1_1": _pooled_map,
    "googlenet": _less("fc"),
}


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision_without_its_last_layer(name: str) -> None:
    from torchvision.models import get_model

    torch.manual_seed(0)
    more = {"init_weights": False} if name == "googlenet" else {}  # it has auxiliary classifiers, which do not run
    module = get_model(name, weights=None, num_classes=CLASSES, **more)
    images = torch.rand(2, 3, 96, 96)
    features, _ = tapped(module, images)
    with torch.inference_mode():
        expected = TORCHVISION[name](module)(images)
    torch.testing.assert_close(features, expected)


def test_the_embedding_of_a_zero_shot_classifier() -> None:
    from overlap.zoo.zero_shot_classifier import ZeroShotClassifier

    torch.manual_seed(0)
    tower = nn.Sequential(nn.Flatten(), nn.Linear(48, 7))
    images = torch.rand(3, 3, 4, 4)
    features, _ = tapped(ZeroShotClassifier(tower, 7, CLASSES), images)
    torch.testing.assert_close(features, nn.functional.normalize(tower(images), dim=-1))


class Odd(nn.Module):
    """Logits by way of a layer as wide as there are classes, and a head of several layers."""

    def __init__(self, kind: str = "plain") -> None:
        super().__init__()
        self.kind = kind
        self.narrow = nn.Linear(48, CLASSES)
        self.middle = nn.Linear(CLASSES, 6)
        self.head = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, CLASSES))
        self.passes = 0

    def forward(self, images: Tensor) -> Tensor:
        self.passes += 1
        middle: Tensor = self.middle(self.narrow(images.flatten(1)))
        if self.kind == "functional":
            return middle @ torch.ones(6, CLASSES)
        if self.kind == "crops":
            return self.head(torch.cat([middle, middle])).unflatten(0, (2, -1)).mean(0)  # type: ignore[no-any-return]
        if self.kind == "tokens":
            return self.head(middle[:, None].repeat(1, 3, 1)).mean(1)  # type: ignore[no-any-return]
        logits: Tensor = self.head(middle)
        return logits


def before_last(module: Odd, images: Tensor) -> Tensor:
    found: Tensor = module.head[:3](module.middle(module.narrow(images.flatten(1))))
    return found


def test_the_last_of_several_that_could_be_it() -> None:
    module, images = Odd(), torch.rand(3, 3, 4, 4)
    features, _ = tapped(module, images)
    torch.testing.assert_close(features, before_last(module, images))
    assert module.passes == 1, "the pass that gives the logits gives the features"


def test_a_layer_that_the_study_names() -> None:
    images = torch.rand(3, 3, 4, 4)
    module = Odd()
    features, _ = tapped(module, images, "narrow")
    assert torch.equal(features, images.flatten(1))
    features, _ = tapped(module, images, "head")
    assert torch.equal(features, module.middle(module.narrow(images.flatten(1)))), "though the head writes over it"
    with pytest.raises(NoFeatures, match="no layer 'haed'"):
        Tap(module, CLASSES, "haed")


def test_tokens_are_averaged() -> None:
    module, images = Odd("tokens"), torch.rand(3, 3, 4, 4)
    torch.testing.assert_close(tapped(module, images)[0], before_last(module, images))


def test_where_there_is_nothing_to_catch() -> None:
    with pytest.raises(NoFeatures, match="given 6 vectors for 3 images"):
        tapped(Odd("crops"), torch.rand(3, 3, 4, 4))
    with pytest.raises(NoFeatures, match="no layer that could be the classifier of 10 classes was called"):
        tapped(nn.Sequential(nn.Flatten(), nn.Linear(48, 11), nn.MaxPool1d(2)), torch.rand(3, 3, 4, 4))


def test_what_a_pass_left_behind_is_not_taken_for_the_next() -> None:
    module = Odd()
    tap = Tap(module, CLASSES)
    images = torch.rand(3, 3, 4, 4)
    module(images)
    module(images[:2])
    features = tap.taken(2)
    with pytest.raises(NoFeatures, match="was called"):
        tap.taken(2)
    torch.testing.assert_close(features, before_last(module, images[:2]))


NETS = """
import torch
from tests.test_penultimate import Odd

class Tight(Odd):
    def forward(self, images):
        if len(images) > 2:
            super().forward(images)
            raise torch.OutOfMemoryError("tried to allocate")
        return super().forward(images)

def build(kind="plain"):
    return Tight() if kind == "tight" else Odd(kind)
"""


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "odd_nets.py").write_text(NETS)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    sys.modules.pop("odd_nets", None)


def odd(nets: Path, objects: Objects, kind: str = "plain", **changes: Any) -> Checkpoint:
    torch.manual_seed(0)
    candidate = factory_candidate(
        nets,
        "odd_nets:build",
        saved(Odd(), nets / "odd.safetensors"),
        size=4,
        classes=CLASSES,
        arguments={"kind": kind},
        **{"features": "classifier", **changes},
    )
    return staged(candidate, objects)


@pytest.mark.parametrize("kind", ["plain", "tight"])
def test_a_predictor_gives_both(kind: str, nets: Path, objects: Objects) -> None:
    predictor, checkpoint = Predictor(objects, "cpu", 1 << 30), odd(nets, objects, kind)
    found = predictor.predict(checkpoint, noise(4), 4)
    module = predictor._resident[checkpoint.fingerprint][0]
    scaled = (torch.from_numpy(noise(4)).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.25
    with torch.inference_mode():
        expected = before_last(module, scaled)  # type: ignore[arg-type]
        logits = module.head[3](expected)  # type: ignore[index,operator]
    assert found.features is not None
    assert found.features.dtype == np.float32
    np.testing.assert_allclose(found.features, expected.numpy(), atol=1e-6)
    np.testing.assert_allclose(found.logits, logits.numpy(), atol=1e-6)
    again = predictor.predict(checkpoint, noise(4)[:1], 4)
    assert again.features is not None
    np.testing.assert_allclose(again.features, found.features[:1], atol=1e-6)
    plain = odd(nets, objects, kind, features=None)
    without = predictor.predict(plain, noise(4), 4)
    assert without.features is None
    assert without.logits.tobytes() == found.logits.tobytes(), "to look does not change anything"
    assert plain.fingerprint != checkpoint.fingerprint


def test_a_checkpoint_without_any_says_what_mends_it(nets: Path, objects: Objects) -> None:
    predictor = Predictor(objects, "cpu", 1 << 30)
    for kind, layer, said in (
        ("crops", "classifier", "given 10 vectors for 5 images"),
        ("plain", "haed", "no layer 'haed'"),
    ):
        with pytest.raises(CheckpointError, match=rf"^checkpoint 'mine' has no penultimate features: .*{said}; name"):
            predictor.predict(odd(nets, objects, kind, features=layer), noise(4), 5)
    found = predictor.predict(odd(nets, objects, "functional", features="middle"), noise(4), 5).features
    assert found is not None
    assert found.shape == (IMAGES, CLASSES), "the layer may be any"


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_features_in_a_reduced_mode(name: str, objects: Objects, tmp_path: Path) -> None:
    candidate = timm_candidate(name, saved(timm_module(name), tmp_path / "w.safetensors"), features="classifier")
    predictor = Predictor(objects, "cpu", 1 << 30)
    size = candidate.preprocessing.input_size[0]
    exact = predictor.predict(staged(candidate, objects), noise(size), 2)
    reduced = predictor.predict(staged(replace(candidate, numeric=Numeric.of("bfloat16")), objects), noise(size), 2)
    assert exact.features is not None
    assert reduced.features is not None
    assert reduced.features.dtype == np.float32
    assert len(reduced.audit) == IMAGES
    assert not np.array_equal(reduced.features, exact.features)
    np.testing.assert_allclose(reduced.features, exact.features, atol=0.1 * float(np.abs(exact.features).max()))
