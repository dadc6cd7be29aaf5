"""How many parameters timm's architectures have, with a head for 1,000 classes.

`timm_parameters.csv` holds what `count` finds, so that hundreds of models are told without building one. What a newer
timm brings is counted when asked for; `python -m overlap.zoo.timm_parameters > FILE` writes the table anew.
"""

from __future__ import annotations

import csv
import sys
from functools import cache
from importlib import resources

CLASSES = 1000


@cache
def parameters(architecture: str) -> int:
    """Number of parameters of an architecture, from the table or else counted.

    Raises:
        RuntimeError: timm knows no such architecture.
    """
    counted = table().get(architecture)
    return count(architecture) if counted is None else counted


@cache
def table() -> dict[str, int]:
    """The table that ships with the package."""
    text = resources.files(__package__).joinpath("timm_parameters.csv").read_text(encoding="utf-8")
    return {row["architecture"]: int(row["parameters"]) for row in csv.DictReader(text.splitlines())}


def count(architecture: str) -> int:
    """Count the parameters of an architecture; its tensors are never allocated."""
    import timm
    import torch

    with torch.device("meta"):
        module = timm.create_model(architecture, pretrained=False, num_classes=CLASSES)
    return sum(parameter.numel() for parameter in module.parameters())


def main() -> None:
    """Write the table of the installed timm to standard output."""
    import timm

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["architecture", "parameters"])
    for architecture in sorted({name.partition(".")[0] for name in timm.list_pretrained()}):
        writer.writerow([architecture, count(architecture)])


if __name__ == "__main__":
    main()
