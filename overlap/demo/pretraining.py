"""Frameworks without labels: an encoder pretrained on the training images alone, then a linear head on frozen features.

They work on the networks of `overlap.demo.nets`. Random numbers come from torch's global generator, which the caller
seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from overlap.demo.frameworks import Framework, Task, descend
from overlap.demo.nets import Classifier

TEMPERATURE: Final = 0.5
"""Of the contrastive loss."""

NOISE: Final = 0.7
"""Standard deviation of the noise that denoising removes, in standard deviations of a pixel."""

MASKED: Final = 0.5
"""Share of the 2x2 blocks (of the 8x8 original) that masked modelling hides."""

PENALTY: Final = 1e-3
"""Weight of the squared norm in the linear head's loss, on standardised features."""


def simclr(model: nn.Module, task: Task) -> None:
    """SimCLR (Chen et al. 2020): two random views of an image attract, all other views repel."""
    classifier = cast(Classifier, model)
    width = classifier.head.in_features
    projection = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 32))

    def loss(chosen: Tensor) -> Tensor:
        images = task.images[chosen]
        views = torch.cat([_view(images, task), _view(images, task)])
        return contrastive_loss(projection(classifier.forward_features(views)), TEMPERATURE)

    _pretrain(classifier, projection, loss, task)


def denoising(model: nn.Module, task: Task) -> None:
    """A denoising autoencoder: the clean image from the features of a noisy one."""
    classifier = cast(Classifier, model)
    decoder = _decoder(classifier, task)

    def loss(chosen: Tensor) -> Tensor:
        images = task.images[chosen]
        noisy = images + NOISE * torch.randn_like(images[:, :1])
        rebuilt = decoder(classifier.forward_features(noisy))
        return functional.mse_loss(rebuilt, images[:, 0].flatten(1))

    _pretrain(classifier, decoder, loss, task)


def masked(model: nn.Module, task: Task) -> None:
    """Masked image modelling: hidden blocks from the features of what is left; the loss counts hidden pixels alone."""
    classifier = cast(Classifier, model)
    decoder = _decoder(classifier, task)
    block = 2 * task.pixel

    def loss(chosen: Tensor) -> Tensor:
        images = task.images[chosen]
        side = images.shape[-1] // block
        hidden = (torch.rand(len(images), 1, side, side) < MASKED).float()
        hidden = hidden.repeat_interleave(block, 2).repeat_interleave(block, 3)
        rebuilt = decoder(classifier.forward_features(images * (1 - hidden) + task.black * hidden))
        squared = (rebuilt - images[:, 0].flatten(1)) ** 2
        missed: Tensor = (squared * hidden.flatten(1)).sum()
        return missed / hidden.sum().clamp(min=1)

    _pretrain(classifier, decoder, loss, task)


def contrastive_loss(projected: Tensor, temperature: float) -> Tensor:
    """NT-Xent over 2n projections (2n, d), of which i and i + n are two views of one image."""
    count = len(projected) // 2
    unit = functional.normalize(projected, dim=1)
    similarity = unit @ unit.T / temperature
    similarity = similarity.masked_fill(torch.eye(2 * count, dtype=torch.bool), float("-inf"))
    partner = torch.arange(2 * count).roll(count)
    return functional.cross_entropy(similarity, partner)


def fit_head(classifier: Classifier, task: Task) -> None:
    """Fit the head on frozen features by L-BFGS; they are standardised for it, and that is folded into the weights."""
    classifier.eval()
    with torch.no_grad():
        features = classifier.forward_features(task.images)
        mean, std = features.mean(dim=0), features.std(dim=0).clamp(min=1e-6)
        standardised = (features - mean) / std
    weight = torch.zeros(classifier.head.out_features, features.shape[1], requires_grad=True)
    bias = torch.zeros(classifier.head.out_features, requires_grad=True)
    solver = torch.optim.LBFGS([weight, bias], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        solver.zero_grad()
        logits = functional.linear(standardised, weight, bias)
        loss = functional.cross_entropy(logits, task.labels) + PENALTY * (weight**2).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    solver.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        classifier.head.weight.copy_(weight / std)
        classifier.head.bias.copy_(bias - (weight / std) @ mean)


def _pretrain(classifier: Classifier, extra: nn.Module, loss: Callable[[Tensor], Tensor], task: Task) -> None:
    classifier.train()
    parameters = [*classifier.encoder.parameters(), *extra.parameters()]
    descend(parameters, loss, task, task.hyper.pretraining_steps)
    fit_head(classifier, task)


def _decoder(classifier: Classifier, task: Task) -> nn.Module:
    """From features to the pixels of one channel; the three are equal."""
    width, pixels = classifier.head.in_features, task.images[0, 0].numel()
    return nn.Sequential(nn.Linear(width, 128), nn.ReLU(), nn.Linear(128, pixels))


def _view(images: Tensor, task: Task) -> Tensor:
    """Turned by up to 20 degrees, scaled by 0.8-1.2, moved by up to a pixel of the original; contrast and noise."""
    count = len(images)
    angle = (torch.rand(count) * 2 - 1) * (20 * torch.pi / 180)
    scale = 0.8 + 0.4 * torch.rand(count)
    move = (torch.rand(count, 2, 1) * 2 - 1) * 0.25  # the image is 2 wide in these coordinates
    cosine, sine = torch.cos(angle) / scale, torch.sin(angle) / scale
    turn = torch.stack([torch.stack([cosine, -sine], 1), torch.stack([sine, cosine], 1)], 1)
    grid = functional.affine_grid(torch.cat([turn, move], 2), list(images.shape), align_corners=False)
    moved = functional.grid_sample(images - task.black, grid, align_corners=False)
    contrast = 0.7 + 0.6 * torch.rand(count, 1, 1, 1)
    return moved * contrast + task.black + 0.1 * torch.randn_like(images[:, :1])


PRETRAINING: Final[Mapping[str, Framework]] = {"simclr": simclr, "denoising": denoising, "masked": masked}
"""Frameworks of this file by their name on the framework axis."""
