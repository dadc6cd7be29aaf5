"""What timm's networks of ImageNet's 1,000 classes cost: parameters, operations and preprocessing, as data for tests.

`timm_costs.csv` holds a row for each pretrained name that the installed timm lists with a head for 1,000 classes and
that can be counted on the meta device, where tensors have shapes and no numbers; written by
`python -m tests.workflows.timm_costs > tests/workflows/timm_costs.csv`, which says on stderr what it left out.
"""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_suffix(".csv")
CLASSES = 1000


@dataclass(frozen=True)
class Row:
    """One pretrained name."""

    name: str
    parameters: int
    gflops: float
    """Floating-point operations of one image, in thousand millions; a multiplication and an addition are two."""
    size: int
    """Side of the input in pixels."""
    crop: str
    """Crop share, crop mode and interpolation: networks that agree in it and in the size share decoded images."""

    @property
    def signature(self) -> tuple[tuple[str, object], ...]:
        """Stands for the signature of the preprocessing."""
        return (("size", self.size), ("crop", self.crop))

    @property
    def bytes_per_image(self) -> int:
        """Of a decoded image: three bytes a pixel."""
        return 3 * self.size * self.size

    @property
    def weights_bytes(self) -> int:
        """As float32."""
        return 4 * self.parameters


@cache
def rows() -> tuple[Row, ...]:
    """The table, in order of names."""
    with TABLE.open(encoding="utf-8") as file:
        return tuple(
            Row(row["name"], int(row["parameters"]), float(row["gflops"]), int(row["size"]), row["crop"])
            for row in csv.DictReader(file)
        )


@cache
def counted(architecture: str, size: int) -> tuple[int, float]:
    """Parameters and thousand millions of operations of an architecture on one image of this side."""
    import timm
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), torch.inference_mode():
        module = timm.create_model(architecture, pretrained=False, num_classes=CLASSES).eval()
        with FlopCounterMode(display=False) as counter:
            module(torch.empty(1, 3, size, size))
    return sum(tensor.numel() for tensor in module.parameters()), counter.get_total_flops() / 1e9


def main() -> None:
    """Write the table of the installed timm to standard output."""
    import timm

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["name", "parameters", "gflops", "size", "crop"])
    for name in sorted(timm.list_pretrained()):
        settings = timm.get_pretrained_cfg(name).to_dict()
        size = settings["input_size"][-1]
        if settings["num_classes"] != CLASSES or settings["input_size"] != (3, size, size):
            continue
        try:
            parameters, gflops = counted(name.partition(".")[0], size)
        except Exception as error:  # some compute with numbers, which meta tensors lack
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
            continue
        crop = f"{settings['crop_pct']:g} {settings['crop_mode'] or 'center'} {settings['interpolation']}"
        writer.writerow([name, parameters, f"{gflops:.4g}", size, crop])
        sys.stdout.flush()


if __name__ == "__main__":
    main()
