"""Networks of the small study, copied beside its study file like anybody's own code; one of each kind of trouble."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

CLASSES = 10


class Net(nn.Module):
    """Mean over a grid of patches, one hidden layer, logits; any image size from 4x4."""

    def __init__(self, width: int, classes: int, delay: float, grid: int = 4) -> None:
        super().__init__()
        self.delay = delay
        self.pool = nn.AdaptiveAvgPool2d(grid)
        self.hidden = nn.Linear(3 * grid * grid, width)
        self.head = nn.Linear(width, classes)

    @classmethod
    def build(cls, width: int = 16, classes: int = CLASSES, delay: float = 0.0) -> Self:
        return cls(width, classes, delay)

    def forward(self, images: Tensor) -> Tensor:
        time.sleep(self.delay)
        logits: Tensor = self.head(torch.relu(self.hidden(self.pool(images).flatten(1))))
        return logits


class Waits(Net):
    """Goes on when a file is there, so that a test can look at what is under way."""

    @classmethod
    def build(cls, width: int = 16, classes: int = CLASSES, delay: float = 0.0, until: str = "") -> Self:
        net = cls(width, classes, delay)
        net.until = Path(until)  # type: ignore[assignment]
        return net

    def forward(self, images: Tensor) -> Tensor:
        while not Path(str(self.until)).exists():
            time.sleep(0.01)
        return super().forward(images)


class NotANumber(Net):
    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        logits[-1, 0] = torch.nan
        return logits


class TwoTooFew(Net):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images)[:, :-2]


class Raises(Net):
    def forward(self, images: Tensor) -> Tensor:
        raise RuntimeError("the forward pass gave up\nwith a second line")


class Crashes(Net):
    """Takes its whole process down, as a fault in native code does."""

    def forward(self, images: Tensor) -> Tensor:
        os._exit(7)


def refuse(**arguments: object) -> nn.Module:
    raise ValueError(f"no such arguments: {sorted(arguments)}")


def list_of_layers(**arguments: object) -> list[nn.Module]:
    return [nn.Linear(2, 2)]
