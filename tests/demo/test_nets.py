from __future__ import annotations

import pytest
import torch

from overlap.demo.nets import Classifier
from overlap.demo.recipes import ARCHITECTURES, Recipe
from overlap.demo.training import build


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_images_to_logits(architecture: str) -> None:
    recipe = Recipe("net", architecture, 1)
    model = build(recipe).eval()
    images = torch.randn(5, 3, recipe.net.size, recipe.net.size)
    logits = model(images)
    assert logits.shape == (5, 10)
    assert torch.isfinite(logits).all()
    assert torch.allclose(model(images[2:3]), logits[2:3], atol=1e-5), "an image's logits depend on that image alone"
    assert not torch.allclose(logits[0], logits[1])


@pytest.mark.parametrize("architecture", [name for name, row in ARCHITECTURES.items() if row.factory])
def test_logits_are_the_head_of_the_features(architecture: str) -> None:
    recipe = Recipe("net", architecture, 1)
    model = build(recipe).eval()
    assert isinstance(model, Classifier)
    images = torch.randn(4, 3, recipe.net.size, recipe.net.size)
    features = model.forward_head(model.forward_features(images), pre_logits=True)
    assert features.shape == (4, model.head.in_features)
    assert torch.equal(model.get_classifier()(features), model(images))


def test_dropout_acts_in_training_alone() -> None:
    model = build(Recipe("net", "cnn", 1, "dropout"))
    images = torch.randn(4, 3, 8, 8)
    model.eval()
    assert torch.equal(model(images), model(images))
    model.train()
    assert not torch.equal(model(images), model(images))


def test_orthogonal_initialisation() -> None:
    model = build(Recipe("net", "mlp", 1, "orthogonal"))
    weight = model.get_parameter("encoder.3.weight")
    assert torch.allclose(weight @ weight.T, torch.eye(128), atol=1e-5)
