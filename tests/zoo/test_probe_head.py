"""The place of a linear probe: a backbone with a head of zeros, and what is written into it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from overlap.errors import CheckpointError, StudyError
from overlap.study import load_study
from overlap.zoo.class_spaces import known_space
from overlap.zoo.probe_head import ProbeHead, classifier_of, fill, write
from overlap.zoo.resolve import resolve_for

CLASSES = 5
NETWORKS = ("vit_tiny_patch16_224", "resnet10t", "convnext_atto", "mobilenetv3_small_050")


def head(name: str) -> ProbeHead:
    return ProbeHead("timm", name, CLASSES)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_headless_backbone_gives_the_probes_logits(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    backbone = timm.create_model(name, num_classes=0).eval()
    blank, filled = tmp_path / "blank", tmp_path / "filled"
    write(head(name), backbone.state_dict(), name, blank)
    module = timm.create_model(name, num_classes=CLASSES).eval()
    module.load_state_dict(load_file(blank))
    images = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        features = backbone(images)
        assert not module(images).any()
    random = np.random.default_rng(0)
    weight = random.normal(size=(CLASSES, features.shape[1])).astype(np.float32)
    bias = random.normal(size=CLASSES).astype(np.float32)
    fill(head(name), blank, weight, bias, filled)
    module.load_state_dict(load_file(filled))
    with torch.inference_mode():
        np.testing.assert_allclose(module(images), features.numpy() @ weight.T + bias, rtol=1e-3, atol=1e-3)
    with pytest.raises(CheckpointError, match="its classifier takes"):
        fill(head(name), blank, weight[:, 1:], bias, filled)


def test_a_head_of_its_own_is_left_out_and_prefixes_are_taken_off(tmp_path: Path) -> None:
    whole = timm.create_model("resnet10t", num_classes=7).state_dict()
    write(head("resnet10t"), {f"module.{key}": tensor for key, tensor in whole.items()}, "w.pth", tmp_path / "blank")
    found = load_file(tmp_path / "blank")
    assert found["fc.weight"].shape[0] == CLASSES
    assert torch.equal(found["conv1.0.weight"], whole["conv1.0.weight"])


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    state = timm.create_model("resnet10t", num_classes=0).state_dict()
    short = {key: tensor for key, tensor in state.items() if key != "conv1.0.weight"}
    for wrong, told in ((short, "conv1.0.weight"), (state | {"more": torch.zeros(1)}, "more")):
        with pytest.raises(CheckpointError, match=f"no backbone of resnet10t with a linear probe: {told} do"):
            write(head("resnet10t"), wrong, "w.pth", tmp_path / "blank")
    distilled = timm.create_model("deit_tiny_distilled_patch16_224", num_classes=CLASSES)
    with pytest.raises(CheckpointError, match="no single linear classifier"):
        classifier_of(distilled, CLASSES)


def test_the_place_is_told_by_its_digest() -> None:
    one = head("resnet10t")
    assert one.digest == ProbeHead("timm", "resnet10t", CLASSES, allow_pickle=True).digest
    others = (head("resnet18"), ProbeHead("timm", "resnet10t", 6), ProbeHead("timm", "resnet10t", CLASSES, {"x": 1}))
    assert len({one.digest, *(other.digest for other in others)}) == 4


TRAIN = '[predict]\nfeatures = true\n[data.train]\nshards = "t.tar"\nclasses = 1000\nclass_space = "imagenet-1k"\n'
VAL = '[data.val]\nshards = "x.tar"\nclasses = 200\nclass_space = "imagenet-r"\n'
ENTRY = '[[checkpoint]]\nid = "a"\nsource = "timm:vit_small_patch16_224.dino"\nhead = "linear_probe"\n'


def study(folder: Path, text: str) -> Path:
    (folder / "study.toml").write_text(f'name = "s"\n{text}')
    return folder / "study.toml"


def test_a_published_backbone_resolves_with_the_training_sets_classes(tmp_path: Path) -> None:
    asked = load_study(study(tmp_path, VAL + TRAIN + ENTRY))
    (judged,), _ = resolve_for(asked, "val")
    (trained,), _ = resolve_for(asked, "train")
    assert judged.probe == trained.probe == ProbeHead("timm", "vit_small_patch16_224.dino", 1000)
    assert (trained.classes, trained.class_map, trained.features) == (1000, None, "classifier")
    assert judged.class_map is not None
    assert (judged.classes, judged.outputs) == (1000, len(known_space("imagenet-r")))
    assert judged.training.framework == "dino"


def test_without_a_fitting_training_set_the_reason_is_told(tmp_path: Path) -> None:
    _, (alone,) = resolve_for(load_study(study(tmp_path, VAL + ENTRY)), "val")
    assert "one set with the role train, and there is none" in alone.reason
    plain = TRAIN.replace('class_space = "imagenet-1k"\n', "")
    _, (other,) = resolve_for(load_study(study(tmp_path, VAL + plain + ENTRY)), "val")
    assert "tells the 1000 classes of data.train apart, the data has 200" in other.reason


@pytest.mark.parametrize("line", ["features = false", 'class_space = "imagenet-21k"', 'factory = "net:build"'])
def test_what_makes_no_sense_beside_a_probe_is_a_mistake(line: str, tmp_path: Path) -> None:
    text = VAL + TRAIN + ENTRY + f'weights = "w.pth"\n{line}\n'
    if "factory" in line:
        text = text.replace('source = "timm:vit_small_patch16_224.dino"\n', "")
    with pytest.raises(StudyError, match=r"linear_probe|linear probe"):
        load_study(study(tmp_path, text))


def test_a_backbone_file_is_staged_with_its_place(tmp_path: Path) -> None:
    from overlap.store import Location, open_objects
    from overlap.zoo.weights import recall, stage

    path = tmp_path / "w.safetensors"
    save_file(timm.create_model("resnet10t", num_classes=0).state_dict(), path)
    objects = open_objects(Location(str(tmp_path / "store")))
    staged = stage(str(path), objects, texts=head("resnet10t"))
    assert recall([str(path)], objects, texts=[head("resnet10t")]) == [staged]
    assert recall([str(path)], objects) == [None]
