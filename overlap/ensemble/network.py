"""One member of an ensemble as a torch module: from pixels to calibrated probabilities."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from overlap.ensemble.description import Member


class Network(nn.Module):
    """A network with its normalisation, the mapping of its classes and its temperature.

    Guarantees the arithmetic of the study's own predictions, but for the float16 in which the study stores logits.
    """

    mean: Tensor
    std: Tensor
    columns: Tensor
    absent: Tensor
    present: Tensor

    def __init__(self, network: nn.Module, member: Member) -> None:
        super().__init__()
        self.network = network
        self.temperature = member.temperature
        self.is_mapped = member.class_map is not None
        self.lacks = member.class_map is not None and member.class_map.lacking > 0
        self.register_buffer("mean", torch.tensor(member.preprocessing.mean).mul_(255).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(member.preprocessing.std).mul_(255).view(1, 3, 1, 1))
        columns = torch.tensor([] if member.class_map is None else member.class_map.columns, dtype=torch.int64)
        self.register_buffer("columns", columns.clamp_min(0))
        self.register_buffer("absent", columns < 0)
        self.register_buffer("present", columns[columns >= 0])

    def logits(self, pixels: Tensor) -> Tensor:
        """Logits of the ensemble's classes, float32 (n, K), of pixels (n, 3, height, width) of 0-255."""
        found: Tensor = self.network((pixels.float() - self.mean) / self.std)
        found = found.float()
        if not self.is_mapped:
            return found
        mapped = found.index_select(1, self.columns)
        if self.lacks:  # as in `ClassMap.apply`: finite, and never the greatest
            least = found.index_select(1, self.present).amin(dim=1, keepdim=True) - 1
            mapped = torch.where(self.absent, least, mapped)
        return mapped

    def forward(self, pixels: Tensor) -> Tensor:
        """Calibrated probabilities, float32 (n, K), of pixels (n, 3, height, width) of 0-255, of any dtype."""
        return torch.softmax(self.logits(pixels) / self.temperature, dim=1)


class Program(nn.Module):
    """A member as a `torch.export` program, on the device it was traced on; not a part of what `eval` or `to` reach."""

    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        self._program = (program,)  # such a module refuses to be switched to evaluation, which it is for good

    def forward(self, pixels: Tensor) -> Tensor:
        """As of `Network`."""
        found: Tensor = self._program[0](pixels)
        return found
