"""Zero-shot classifiers agree with open_clip's own evaluation; a real ViT-B-32 with random weights, no hub asked."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from overlap.errors import CheckpointError, StudyError
from overlap.store import Location, Objects, open_objects
from overlap.study import load_study
from overlap.zoo.checkpoint import Candidate
from overlap.zoo.class_spaces import known_space
from overlap.zoo.fetching import fetch
from overlap.zoo.loading import load
from overlap.zoo.resolve import data_space, resolve
from overlap.zoo.sources import source
from overlap.zoo.weights import recall, stage
from tests.photographs import photographs

open_clip = pytest.importorskip("open_clip", reason="open_clip is not installed (extra clip)")

NAMES = ("tench", "goldfish", "a {curious} shark", "hen")
DATA = f'name = "s"\n[data.val]\nshards = "x.tar"\nclasses = 4\nnames = {[*NAMES]}\n'
TEMPLATES = ("a photo of a {}.", "itap of the {}.")


def resolved(folder: Path, entry: str, data: str = DATA) -> list[Candidate]:
    (folder / "study.toml").write_text(f'{data}[[checkpoint]]\nid = "clip"\n{entry}')
    study = load_study(folder / "study.toml")
    found = study.data["val"]
    candidates, rejected = resolve(study, found.classes, data_space("val", found), found.names)
    assert [one.reason for one in rejected] == []
    return candidates


def rejection(folder: Path, entry: str, data: str = DATA) -> str:
    with pytest.raises(AssertionError) as error:
        resolved(folder, entry, data)
    return str(error.value)


@pytest.fixture(scope="module")
def towers() -> nn.Module:
    """A whole CLIP whose features differ between images, and between texts."""
    torch.manual_seed(0)
    module: nn.Module = open_clip.create_model("ViT-B-32").eval()
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, parameter[0].numel() ** -0.5)
    return module


@pytest.fixture(scope="module")
def checkpoint(towers: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "epoch_1.pt"
    state = {f"module.{name}": tensor for name, tensor in towers.state_dict().items()}
    torch.save({"epoch": 1, "state_dict": state}, path)
    return path


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    return open_objects(Location(str(tmp_path / "store")))


def own_logits(module: nn.Module, images: torch.Tensor, names: Sequence[str], templates: Sequence[str]) -> torch.Tensor:
    """What open_clip itself makes of images: its classifier, its features, its scale."""
    with torch.inference_mode():
        tokenizer = open_clip.get_tokenizer("ViT-B-32")
        classifier = open_clip.build_zero_shot_classifier(module, tokenizer, names, templates)
        features = module.encode_image(images, normalize=True)
        logits: torch.Tensor = module.logit_scale.exp() * features @ classifier
        return logits


def test_logits_are_open_clips_own(towers: nn.Module, checkpoint: Path, tmp_path: Path, objects: Objects) -> None:
    entry = f'source = "open_clip:ViT-B-32"\nweights = "{checkpoint}"\ntemplates = {[*TEMPLATES]}\n'
    (candidate,) = resolved(tmp_path, entry)
    found = stage(candidate.weights, objects, None, candidate.zero_shot)
    module = load(candidate, fetch(found.digest, objects))
    assert sum(p.numel() for p in module.parameters()) < 0.6 * sum(p.numel() for p in towers.parameters())

    pictures = photographs()
    theirs = open_clip.transform.image_transform_v2(open_clip.transform.PreprocessCfg(size=224), is_train=False)
    batch = torch.stack([theirs(picture) for picture in pictures])
    prepare = candidate.preprocessing.transform()
    pixels = torch.from_numpy(np.stack([prepare(picture) for picture in pictures])).permute(0, 3, 1, 2) / 255
    mean, std = (
        torch.tensor(each).view(3, 1, 1) for each in (candidate.preprocessing.mean, candidate.preprocessing.std)
    )
    mine = (pixels - mean) / std
    assert torch.allclose(mine, batch, atol=1e-5)

    with torch.inference_mode():
        logits = module(mine)
    expected = own_logits(towers, batch, NAMES, TEMPLATES)
    assert logits.shape == (2, 4)
    assert expected.std(dim=0).min() > 1e-2  # images differ
    assert expected.std(dim=1).min() > 1e-2  # classes differ
    assert torch.allclose(logits, expected, atol=2e-4)


def test_a_head_is_made_once_and_belongs_to_its_texts(checkpoint: Path, tmp_path: Path, objects: Objects) -> None:
    entry = f'source = "open_clip:ViT-B-32"\nweights = "{checkpoint}"\n'
    (plain,) = resolved(tmp_path, entry)
    (other,) = resolved(tmp_path, entry + 'templates = "art of a {}."\n')
    assert plain.zero_shot is not None
    assert (plain.zero_shot.names, plain.zero_shot.templates) == (NAMES, ("a photo of a {}.",))
    references = [plain.weights, other.weights, plain.weights]
    texts = [plain.zero_shot, other.zero_shot, None]
    assert recall(references, objects, None, texts) == [None, None, None]
    staged = stage(plain.weights, objects, None, plain.zero_shot)
    assert recall(references, objects, None, texts) == [staged, None, None]
    again = stage(other.weights, objects, None, other.zero_shot)
    assert again.digest != staged.digest
    assert recall(references, objects, None, texts) == [staged, again, None]


def test_the_offset_of_logits_is_the_models(towers: nn.Module, tmp_path: Path, objects: Objects) -> None:
    """SigLIP has one."""
    path = tmp_path / "with_offset.pt"
    torch.save(towers.state_dict() | {"logit_bias": torch.tensor(-3.5)}, path)
    entry = f'source = "open_clip:ViT-B-32"\nweights = "{path}"\narguments = {{ init_logit_bias = -10 }}\n'
    (candidate,) = resolved(tmp_path, entry)
    found = stage(candidate.weights, objects, None, candidate.zero_shot)
    module = load(candidate, fetch(found.digest, objects))
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        logits = module(images)
    assert torch.allclose(logits, own_logits(towers, images, NAMES, ("a photo of a {}.",)) - 3.5, atol=2e-4)


def test_a_tower_of_timms() -> None:
    pixels = torch.rand(2, 3, 224, 224)
    name = "ViT-B-16-SigLIP"
    module = source("open_clip").build(f"{name}/webli", 4, {})
    assert module(pixels).shape == (2, 4)
    prepared = source("open_clip").preprocessing(f"{name}/webli")
    assert (prepared.crop_mode, prepared.crop_pct, prepared.resize, prepared.mean) == ("squash", 1.0, None, (0.5,) * 3)


def test_every_published_name_has_its_preprocessing() -> None:
    for model, tag in open_clip.list_pretrained():
        config = open_clip.get_pretrained_cfg(model, tag)
        found = source("open_clip").preprocessing(f"{model}/{tag}")
        side = open_clip.get_model_config(model)["vision_cfg"].get("image_size", 224)
        assert found.input_size == (side, side)
        assert (found.mean, found.std, found.interpolation) == (config["mean"], config["std"], config["interpolation"])
        assert (found.resize == side) == (config["resize_mode"] == "shortest")
    pictures = photographs()
    for name in ("ViT-L-16-SigLIP-384/webli", "ViT-B-32-256/datacomp_s34b_b86k", "MobileCLIP-S1/datacompdr"):
        model, _, tag = name.partition("/")
        found = source("open_clip").preprocessing(name)
        theirs = open_clip.transform.PreprocessCfg(
            size=found.input_size[0],
            **{
                key: open_clip.get_pretrained_cfg(model, tag)[key]
                for key in ("mean", "std", "interpolation", "resize_mode")
            },
        )
        transform = open_clip.transform.image_transform_v2(theirs, is_train=False)
        for picture in pictures:
            pixels = torch.from_numpy(found.transform()(picture).copy()).permute(2, 0, 1) / 255
            mean, std = (torch.tensor(each).view(3, 1, 1) for each in (found.mean, found.std))
            assert torch.allclose((pixels - mean) / std, transform(picture), atol=1e-5), name


def test_the_activation_is_that_of_the_tag() -> None:
    """open_clip only warns where ViT-B-32 is given the weights of OpenAI, which were trained with another one."""
    kinds = {
        name: {type(part).__name__ for part in source("open_clip").build(name, 4, {}).modules()}
        for name in ("ViT-B-32/openai", "ViT-B-32/laion2b_s34b_b79k")
    }
    assert "QuickGELU" in kinds["ViT-B-32/openai"]
    assert "QuickGELU" not in kinds["ViT-B-32/laion2b_s34b_b79k"]
    with_argument = source("open_clip").build("ViT-B-32", 4, {"quick_gelu": True})
    assert "QuickGELU" in {type(part).__name__ for part in with_argument.modules()}


def test_imagenets_classes_have_names_and_templates(tmp_path: Path) -> None:
    imagenet = 'name = "s"\n[data.val]\nshards = "x.tar"\nclasses = 1000\nclass_space = "imagenet-1k"\n'
    (candidate,) = resolved(tmp_path, 'source = "open_clip:ViT-B-32/openai"\n', imagenet)
    assert candidate.weights == "open_clip:ViT-B-32/openai"
    assert candidate.zero_shot is not None
    assert candidate.zero_shot.names == tuple(open_clip.IMAGENET_CLASSNAMES)
    assert len(candidate.zero_shot.templates) == 80
    assert candidate.zero_shot.templates[0] == open_clip.OPENAI_IMAGENET_TEMPLATES[0]("{}")
    renditions = imagenet.replace("1000", "200").replace("imagenet-1k", "imagenet-r")
    (few,) = resolved(tmp_path, 'source = "open_clip:ViT-B-32/openai"\n', renditions)
    assert few.zero_shot is not None
    place = known_space("imagenet-1k").classes.index(known_space("imagenet-r").classes[7])
    assert few.zero_shot.names[7] == open_clip.IMAGENET_CLASSNAMES[place]
    assert (few.classes, few.outputs) == (200, 200)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ('source = "open_clip:ViT-B-23/openai"\n', ["no model 'ViT-B-23'", "nearest: ViT-B-32"]),
        ('source = "open_clip:ViT-B-32/opeani"\n', ["no weights 'ViT-B-32/opeani'", "ViT-B-32/openai"]),
        ('source = "open_clip:ViT-B-32"\n', ["does not say which weights", "ViT-B-32/openai", "give weights a file"]),
        ('source = "open_clip:ViT-B-32/openai"\nclass_space = "imagenet-1k"\n', ["leave out its class space"]),
        ('source = "timm:resnet18"\nweights = "w"\ntemplates = "a {}"\n', ["templates", "zero-shot"]),
    ],
)
def test_what_cannot_be_run_says_why(tmp_path: Path, entry: str, said: list[str]) -> None:
    assert all(part in rejection(tmp_path, entry) for part in said)


def test_classes_without_names(tmp_path: Path) -> None:
    nameless = 'name = "s"\n[data.val]\nshards = "x.tar"\nclasses = 4\n'
    reason = rejection(tmp_path, 'source = "open_clip:ViT-B-32/openai"\n', nameless)
    assert "what the 4 classes are called" in reason
    assert "names" in reason


@pytest.mark.parametrize("template", ["a photo", "{} and {}", "{0}", "{name}"])
def test_a_template_has_one_place_for_the_name(tmp_path: Path, template: str) -> None:
    with pytest.raises(StudyError, match=r"checkpoint\.0\.templates"):
        resolved(tmp_path, f'source = "open_clip:ViT-B-32/openai"\ntemplates = "{template}"\n')


def test_weights_of_another_model(checkpoint: Path, tmp_path: Path, objects: Objects) -> None:
    (candidate,) = resolved(tmp_path, f'source = "open_clip:ViT-B-16"\nweights = "{checkpoint}"\n')
    with pytest.raises(CheckpointError, match=r"do not fit open_clip's ViT-B-16.*conv1") as error:
        stage(candidate.weights, objects, None, candidate.zero_shot)
    assert "\n" not in str(error.value)


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open_clip", None)
    monkeypatch.setattr("overlap.zoo.clip.version", lambda: "absent")
    reason = rejection(tmp_path, 'source = "open_clip:ViT-B-32/openai"\n')
    assert "open_clip_torch" in reason
    assert "overlap[clip]" in reason
