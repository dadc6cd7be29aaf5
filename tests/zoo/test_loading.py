"""From candidate and file to a module: exactly the file's tensors, or an error that names what does not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from overlap.errors import CheckpointError
from overlap.zoo.checkpoint import Candidate
from overlap.zoo.loading import load
from overlap.zoo.state_dicts import read_state_dict
from tests.candidates import factory_candidate, saved, timm_candidate, timm_module

NETS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.module = nn.Conv2d(3, width, 3)
        self.norm = nn.BatchNorm2d(width)
        self.head = nn.Linear(width, 3)

    @staticmethod
    def build(width=4):
        return Net(width)

    def forward(self, x):
        return self.head(self.norm(self.module(x)).mean((2, 3)))

class Half(Net):
    def __init__(self):
        super().__init__()
        self.half()

def broken():
    raise RuntimeError("no such option\\nand a second line")

def no_module():
    return [1]

def leaves():
    raise SystemExit(3)
"""


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a module of networks, importable for this test alone."""
    import sys

    (tmp_path / "loading_nets.py").write_text(NETS)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "loading_nets", raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return tmp_path


def refused(candidate: Candidate, weights: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load(candidate, weights)
    message = str(caught.value)
    assert message.startswith(f"checkpoint '{candidate.id}': ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet", "test_convnext"])
def test_a_timm_model_holds_the_files_tensors_bit_for_bit(name: str, tmp_path: Path) -> None:
    path = saved(timm_module(name), tmp_path / "w.safetensors")
    module = load(timm_candidate(name, path), path)
    held = module.state_dict()
    expected = load_file(path)
    assert set(held) == set(expected)
    assert all(torch.equal(held[key], expected[key]) for key in expected)
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())


def test_timms_silently_unloaded_head_cannot_happen(tmp_path: Path) -> None:
    """timm leaves a head of another number of classes as it was initialised, without a word; here it is named."""
    path = saved(timm_module("test_resnet", classes=1000), tmp_path / "w.safetensors")
    message = refused(timm_candidate("test_resnet", path, classes=10), path)
    assert "2 of another shape: fc.weight is (1000, " in message
    assert "(10, " in message
    assert "classes (10)" in message
    right = load(timm_candidate("test_resnet", path, classes=1000), path)
    assert torch.equal(right.get_classifier().weight, load_file(path)["fc.weight"])  # type: ignore[operator]


def test_missing_foreign_and_misshapen_tensors_are_all_named(tmp_path: Path) -> None:
    state = {name: tensor.clone() for name, tensor in timm_module("test_resnet").state_dict().items()}
    del state["conv1.0.weight"], state["bn1.weight"], state["bn1.bias"], state["bn1.running_mean"]
    state["extra.weight"] = torch.zeros(1)
    state["fc.bias"] = torch.zeros(7)
    save_file(state, tmp_path / "w.safetensors")
    message = refused(timm_candidate("test_resnet", tmp_path / "w.safetensors"), tmp_path / "w.safetensors")
    assert "4 missing: bn1.bias, bn1.running_mean, bn1.weight and 1 more" in message
    assert "1 not in the module: extra.weight" in message
    assert "1 of another shape: fc.bias is (7,) in the file, (10,) in the module" in message
    assert "do not fit test_resnet" in message
    assert "check architecture, arguments and classes" in message


def test_an_ancient_file_without_step_counters_loads(tmp_path: Path) -> None:
    state = dict(timm_module("test_resnet").state_dict())
    old = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    assert len(old) < len(state)
    torch.save(old, tmp_path / "w.pth")
    held = load(timm_candidate("test_resnet", tmp_path / "w.pth"), tmp_path / "w.pth").state_dict()
    assert all(torch.equal(held[name], old[name]) for name in old)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_files_of_wrapped_training_load(prefix: str, tmp_path: Path) -> None:
    state = timm_module("test_vit").state_dict()
    torch.save({"state_dict": {prefix + name: tensor for name, tensor in state.items()}}, tmp_path / "w.pth")
    held = load(timm_candidate("test_vit", tmp_path / "w.pth"), tmp_path / "w.pth").state_dict()
    assert all(torch.equal(held[name], state[name]) for name in state)


def test_weights_of_half_precision_become_float32(tmp_path: Path) -> None:
    state = timm_module("test_vit").state_dict()
    save_file({name: tensor.to(torch.bfloat16) for name, tensor in state.items()}, tmp_path / "w.safetensors")
    path = tmp_path / "w.safetensors"
    held = load(timm_candidate("test_vit", path), path).state_dict()
    assert {tensor.dtype for tensor in held.values()} == {torch.float32}
    assert all(torch.equal(held[name], state[name].to(torch.bfloat16).float()) for name in state)


def test_arguments_reach_the_architecture(tmp_path: Path) -> None:
    path = saved(timm_module("test_vit", img_size=64), tmp_path / "w.safetensors")
    assert "pos_embed" in refused(timm_candidate("test_vit", path), path)
    load(timm_candidate("test_vit", path, arguments={"img_size": 64}), path)
    assert "timm cannot build 'test_vit' with {'no_such': 1}: TypeError" in refused(
        timm_candidate("test_vit", path, arguments={"no_such": 1}), path
    )


def test_a_factory_whose_part_is_called_module(nets: Path) -> None:
    """A prefix is not cut off where the user's own network bears that name."""
    torch.manual_seed(0)
    weights = nets / "w.safetensors"
    candidate = factory_candidate(nets, "loading_nets:Net.build", weights, arguments={"width": 5})
    import importlib
    import sys

    sys.path.append(str(nets))
    state = importlib.import_module("loading_nets").Net(5).state_dict()
    save_file(state, weights)
    held = load(candidate, weights).state_dict()
    assert all(torch.equal(held[name], state[name]) for name in state)
    torch.save({f"module.{name}": tensor for name, tensor in state.items()}, nets / "parallel.pth")
    held = load(candidate, nets / "parallel.pth").state_dict()
    assert all(torch.equal(held[name], state[name]) for name in state)
    wide = replace(candidate, architecture=replace(candidate.architecture, arguments={"width": 6}))
    assert "module.weight is (5, 3, 3, 3) in the file, (6, 3, 3, 3) in the module" in refused(wide, weights)


def test_a_factory_of_half_precision_does_not_round_what_is_loaded(nets: Path) -> None:
    torch.manual_seed(0)
    weights = nets / "w.safetensors"
    import importlib
    import sys

    sys.path.append(str(nets))
    state = importlib.import_module("loading_nets").Net().state_dict()
    save_file(state, weights)
    held = load(factory_candidate(nets, "loading_nets:Half", weights), weights).state_dict()
    assert all(torch.equal(held[name], state[name]) for name in state)


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        ("loading_nets:broken", "factory 'loading_nets:broken' raised RuntimeError: no such option"),
        ("loading_nets:no_module", "returned list; it must return a torch.nn.Module"),
        ("loading_nets:leaves", "raised SystemExit: 3"),
        ("loading_nets:Nte", "raised AttributeError: module 'loading_nets' has no attribute 'Nte'"),
        ("no_such_module:f", "raised ModuleNotFoundError"),
    ],
)
def test_factories_that_fail(factory: str, said: str, nets: Path) -> None:
    assert said in refused(factory_candidate(nets, factory, nets / "w"), nets / "w")


@pytest.mark.parametrize("name", ["googlenet", "inception_v3", "squeezenet1_1"])
def test_torchvision_models_are_as_their_published_ones(name: str, tmp_path: Path) -> None:
    """What loading published weights changes beside tensors (no auxiliary heads, transformed input) is changed here."""
    import torchvision

    from overlap.zoo.checkpoint import Architecture
    from overlap.zoo.numeric import Numeric
    from overlap.zoo.sources import source

    torch.manual_seed(0)
    arguments = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    published = torchvision.models.get_model(name, weights=None, num_classes=10, **arguments)
    if name in ("googlenet", "inception_v3"):
        published.transform_input = True
    if name == "googlenet":
        published.aux_logits, published.aux1, published.aux2 = False, None, None
    path = saved(published, tmp_path / "w.safetensors")
    preprocessing = source("torchvision").preprocessing(name)
    module = load(Candidate(name, Architecture("torchvision", name), preprocessing, Numeric(), 10, str(path)), path)
    images = torch.rand(2, 3, 96, 96)
    with torch.inference_mode():
        torch.testing.assert_close(module(images), published.eval()(images), atol=0, rtol=0)


DRAWS = """
import torch
from torch import nn


class Draws(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 3)
        self.register_buffer("noise", torch.randn(4), persistent=False)
"""


def test_what_a_module_draws_is_the_same_whatever_was_built_before(nets: Path) -> None:
    (nets / "drawing_nets.py").write_text(DRAWS)
    save_file({"head.weight": torch.ones(3, 4), "head.bias": torch.zeros(3)}, nets / "w.safetensors")
    candidate = factory_candidate(nets, "drawing_nets:Draws", nets / "w.safetensors")
    before = torch.random.get_rng_state()
    first = load(candidate, nets / "w.safetensors")
    assert torch.equal(torch.random.get_rng_state(), before), "the generator is left as it was"
    torch.randn(5)
    again = load(candidate, read_state_dict(nets / "w.safetensors", "w.safetensors"))
    assert torch.equal(first.noise, again.noise)  # type: ignore[arg-type]
    assert torch.equal(again.head.weight, torch.ones(3, 4))  # type: ignore[union-attr, arg-type]
