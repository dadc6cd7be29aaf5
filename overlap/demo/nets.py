"""Small networks as anybody's own code: factories that a study file names, called with its `arguments`.

Every network maps normalised images (n, 3, size, size) float32 to logits (n, classes) float32. As in timm,
`forward_features` gives the features (n, width) that `head`, a linear layer, turns into logits. This file's digest is
part of the fingerprint of each checkpoint built from it, so nothing about training is in it.
"""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn


class Classifier(nn.Module):
    """An encoder, dropout, and a linear head."""

    def __init__(self, encoder: nn.Module, width: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, classes)

    def forward_features(self, images: Tensor) -> Tensor:
        """Features (n, width) of images (n, 3, size, size)."""
        features: Tensor = self.encoder(images)
        return features

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """Logits (n, classes) of features, or the features that the head sees."""
        dropped: Tensor = self.dropout(features)
        return dropped if pre_logits else self.head(dropped)

    def get_classifier(self) -> nn.Linear:
        """The head."""
        return self.head

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, classes) of images (n, 3, size, size)."""
        return self.forward_head(self.forward_features(images))


class Cnn(Classifier):
    """Three 3x3 convolutions with batch normalisation, one pooling, and the mean over positions."""

    @classmethod
    def build(cls, *, width: int = 16, classes: int = 10, dropout: float = 0.0) -> Self:
        """For images of any size from 4x4.

        Args:
            width: channels of the first convolution; the features have four times as many.
            classes: number of logits.
            dropout: probability with which a feature is dropped in training.
        """
        encoder = nn.Sequential(
            _convolution(3, width),
            _convolution(width, 2 * width),
            nn.MaxPool2d(2),
            _convolution(2 * width, 4 * width),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        return cls(encoder, 4 * width, classes, dropout)


class Residual(Classifier):
    """A convolution and three residual blocks, the last two at half the resolution of the one before."""

    @classmethod
    def build(cls, *, width: int = 8, classes: int = 10, dropout: float = 0.0) -> Self:
        """For images of any size from 4x4; the features have four times `width` channels."""
        encoder = nn.Sequential(
            _convolution(3, width),
            _Block(width, width, 1),
            _Block(width, 2 * width, 2),
            _Block(2 * width, 4 * width, 2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        return cls(encoder, 4 * width, classes, dropout)


class Mlp(Classifier):
    """Fully connected layers over all pixels; with depth 0 it is softmax regression."""

    @classmethod
    def build(cls, *, size: int = 8, width: int = 88, depth: int = 2, classes: int = 10, dropout: float = 0.0) -> Self:
        """For images of `size` x `size`; `depth` hidden layers of `width` units."""
        layers: list[nn.Module] = [nn.Flatten()]
        inputs = 3 * size * size
        for _ in range(depth):
            layers += [nn.Linear(inputs, width), nn.ReLU()]
            inputs = width
        return cls(nn.Sequential(*layers), inputs, classes, dropout)


class Vit(Classifier):
    """A vision transformer: patches, learned positions, pre-norm attention blocks, and the mean over tokens."""

    @classmethod
    def build(
        cls,
        *,
        size: int = 8,
        patch: int = 2,
        width: int = 48,
        depth: int = 2,
        heads: int = 4,
        classes: int = 10,
        dropout: float = 0.0,
    ) -> Self:
        """For images of `size` x `size`, cut into patches of `patch` x `patch`."""
        tokens = (size // patch) ** 2
        encoder = nn.Sequential(
            _Patches(patch, width, tokens), *(_Attention(width, heads) for _ in range(depth)), _MeanToken(width)
        )
        return cls(encoder, width, classes, dropout)


class Mixer(Classifier):
    """An MLP-Mixer: patches, then perceptrons over tokens and over channels in turn, and the mean over tokens."""

    @classmethod
    def build(
        cls, *, size: int = 8, patch: int = 2, width: int = 48, depth: int = 2, classes: int = 10, dropout: float = 0.0
    ) -> Self:
        """For images of `size` x `size`, cut into patches of `patch` x `patch`."""
        tokens = (size // patch) ** 2
        encoder = nn.Sequential(
            _Patches(patch, width, tokens), *(_Mixing(tokens, width) for _ in range(depth)), _MeanToken(width)
        )
        return cls(encoder, width, classes, dropout)


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


def _perceptron(width: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _convolution(inputs, outputs, stride),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut: nn.Module = (
            nn.Identity() if inputs == outputs and stride == 1 else nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        )

    def forward(self, images: Tensor) -> Tensor:
        summed: Tensor = self.body(images) + self.shortcut(images)
        return summed.relu()


class _Patches(nn.Module):
    def __init__(self, patch: int, width: int, tokens: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(3, width, patch, patch)
        self.position = nn.Parameter(torch.randn(1, tokens, width) * 0.02)

    def forward(self, images: Tensor) -> Tensor:
        patches: Tensor = self.project(images).flatten(2).transpose(1, 2)
        return patches + self.position


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.before_perceptron = nn.LayerNorm(width)
        self.perceptron = _perceptron(width, 2 * width)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attend(self.before_attention(tokens))
        return tokens.add(self.perceptron(self.before_perceptron(tokens)))

    def attend(self, tokens: Tensor) -> Tensor:
        images, count, width = tokens.shape
        split = self.queries_keys_values(tokens).reshape(images, count, 3, self.heads, width // self.heads)
        queries, keys, values = split.permute(2, 0, 3, 1, 4)
        weights = torch.softmax(queries @ keys.transpose(-2, -1) * (width // self.heads) ** -0.5, dim=-1)
        mixed: Tensor = self.project((weights @ values).transpose(1, 2).reshape(images, count, width))
        return mixed


class _Mixing(nn.Module):
    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.before_tokens = nn.LayerNorm(width)
        self.over_tokens = _perceptron(tokens, 2 * tokens)
        self.before_channels = nn.LayerNorm(width)
        self.over_channels = _perceptron(width, 2 * width)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.over_tokens(self.before_tokens(tokens).transpose(1, 2)).transpose(1, 2)
        return tokens.add(self.over_channels(self.before_channels(tokens)))


class _MeanToken(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        mean: Tensor = self.norm(tokens).mean(dim=1)
        return mean
